"""From trials to causes: which change brings a collapsed level back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from lucid.distributions import Gaussian
from lucid.evaluation import Use
from lucid.objectives import ELBO, Linear, objective_of
from lucid.report.diagnosis import Gain, Verdict
from lucid.training import Trial, Trials, introduction, level_weight

__all__ = ["find_causes"]

_MOST_ALONE = 4
"""At most this many levels are tried each on its own; more are tried together."""


class _Found(NamedTuple):
    verdicts: tuple[Verdict, ...]
    trials: tuple[Trial, ...]


def find_causes(lab: Trials, use: Use) -> _Found:
    """Find out why the collapsed levels of a run have collapsed.

    Args:
        lab: Makes the trials.
        use: The run's levels, measured by it.
    """
    return _Search(lab, use).found()


class _Search:
    """The trials made so far, and what follows from them."""

    def __init__(self, lab: Trials, use: Use) -> None:
        self.lab, self.use, self.depth = lab, use, len(use.levels)
        self.trials: list[Trial] = []
        self.verdicts: list[Verdict] = []

    def found(self) -> _Found:
        left = self._unable(self.use.collapsed)
        if left:
            introduced = self._note(self.lab.introduced())
            left = self._lost_to_the_schedule(left, introduced)
            if left:
                self._lost_to_the_objective(left, introduced)
        return _Found(tuple(self.verdicts), tuple(self.trials))

    def _note(self, trial: Trial) -> Trial:
        self.trials.append(trial)
        return trial

    # Each step takes levels, passes a verdict on some, and returns the others.

    def _unable(self, levels: Sequence[int]) -> list[int]:
        """Levels that carry nothing even where it costs nothing: the decoder, or the encoder."""
        order = self.use.order
        together = list(order) == sorted(order) or len(levels) > _MOST_ALONE
        able: list[int] = []
        for group in [tuple(levels)] if together else [(level,) for level in levels]:
            if self._note(self.lab.carry(group, order)).carries:
                able += group
            else:
                self._blame_a_network(group)
        return able

    def _blame_a_network(self, levels: tuple[int, ...]) -> None:
        usable = self._note(self.lab.free_latents(levels)).carries
        verdict = Verdict(levels, "encoder", "mute") if usable else Verdict(levels, "decoder", "deaf")
        if len(levels) == self.depth and self.lab.can_refer:
            units = self.use.levels[max(levels)].latent_units
            reference = self._note(self.lab.reference(units))
            verdict = replace(verdict, gain_over_run=self._over_run(reference))
        self.verdicts.append(verdict)

    def _lost_to_the_schedule(self, levels: Sequence[int], introduced: Trial) -> list[int]:
        """Levels that the run's own objective keeps once they are in use."""
        kept = _alive(introduced, levels)
        if kept:
            cold = self._note(self.lab.cold())
            again = _alive(cold, kept)
            if len(again) == len(kept):
                reason = "too short" if self.lab.total_steps < self.lab.steps else "not again"
            else:
                reason = "cold start"
            self.verdicts.append(
                Verdict(
                    tuple(kept),
                    "schedule",
                    reason,
                    gain=_gain(introduced, cold),
                    gain_over_run=self._over_run(introduced),
                    warm_up=self._warm_up(),
                )
            )
        return [level for level in levels if level not in kept]

    def _lost_to_the_objective(self, levels: Sequence[int], introduced: Trial) -> None:
        """Levels that the run's objective gives up again: the weight of the KL, the likelihood's scale, or its due."""
        lab, left, before = self.lab, list(levels), introduced
        replaced = None if isinstance(lab.objective, ELBO) else type(lab.objective).__name__
        weight = level_weight(lab.objective, lab.beta, self.depth)
        weighted = weight is None or weight > 1
        plain = self._plain_warm_up() if weighted else None
        if weighted:
            trial = self._note(lab.plain())
            back = _alive(trial, left)
            if back:
                gains: dict[str, Any] = {"gain": _gain(trial, before), "gain_over_run": self._over_run(trial)}
                self.verdicts.append(
                    Verdict(tuple(back), "objective", "weight", warm_up=plain, replaced=replaced, **gains)
                )
            left = [level for level in left if level not in back]
            before = trial
        likelihood = lab.model.likelihood
        if left and isinstance(likelihood, Gaussian):
            trial = self._note(lab.rescaled(plain=weighted))
            back = _alive(trial, left)
            if back:
                gains = {
                    "gain": _over_scale_alone(trial, before, likelihood),
                    "gain_over_run": self._over_run(trial),
                }
                self.verdicts.append(
                    Verdict(tuple(back), "objective", "scale", warm_up=plain, replaced=replaced, **gains)
                )
            left = [level for level in left if level not in back]
        if left:
            fading = any(set(left) & set(trial.falling) for trial in self.trials)
            self.verdicts.append(Verdict(tuple(left), "objective", "not worth it", falling=fading))

    def _warm_up(self) -> Linear | None:
        """The warm-up to the run's own β, where β is what its objective schedules."""
        return introduction(self.lab.steps, self.lab.beta) if isinstance(self.lab.objective, ELBO) else None

    def _plain_warm_up(self) -> Linear:
        """The warm-up to β = 1 on every level; where β is spread over the levels, to their number."""
        objective = self.lab.objective
        # In the place of any other objective it is the model's own configuration that counts.
        spread = (objective if isinstance(objective, ELBO) else objective_of(self.lab.model)).spread
        return introduction(self.lab.steps, float(self.depth if spread else 1))

    def _over_run(self, trial: Trial) -> Gain:
        assert trial.use is not None
        return Gain(*trial.use.gain_over(self.use), "the run itself")


def _alive(trial: Trial, levels: Sequence[int]) -> list[int]:
    """Levels that a trial has in use at its end, and will keep."""
    assert trial.use is not None
    return [level for level in levels if level not in trial.use.collapsed and level not in trial.falling]


def _gain(trial: Trial, before: Trial) -> Gain:
    assert trial.use is not None
    assert before.use is not None
    return Gain(*trial.use.gain_over(before.use), before.name)


def _over_scale_alone(trial: Trial, before: Trial, likelihood: Gaussian) -> Gain:
    """What the latents are worth once the scale is right: against the collapsed trial at the scale that is best for it.

    A collapsed trial's bound is the log-density of its one mean, −‖x−μ‖²/2s² − D/2·log 2πs², which gives each squared
    error, and with them the bound at the best scale.
    """
    assert trial.use is not None
    assert before.use is not None
    features, variance = trial.use.num_features, likelihood.scale**2
    squared = 2 * variance * (-before.use.per_example - 0.5 * features * math.log(2 * math.pi * variance))
    best = squared.mean() / features
    alone = -squared / (2 * best) - 0.5 * features * (2 * math.pi * best).log()
    gain = trial.use.per_example - alone
    return Gain(float(gain.mean()), float(gain.std() / math.sqrt(len(gain))), "the best scale without latents")

"""From trials to causes, each branch of it, with trials whose outcome is planted; and the history of a collapse."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from lucid import nn
from lucid.distributions import Bernoulli, Gaussian, Likelihood
from lucid.evaluation import Carried, LevelUse, Use
from lucid.models import VAE, VAEConfig
from lucid.objectives import ELBO, GECO, IWAE, BetaTC, Capacity, FreeBits, Objective
from lucid.report import Diagnosis, Since, Verdict
from lucid.report.diagnosis_causes import find_causes
from lucid.report.diagnosis_history import since_when
from lucid.report.diagnosis_words import _objective, _verdict
from lucid.training import Trial

ALIVE = LevelUse(kl=5.0, saved=9.0, saved_error=0.1, active_units=4, latent_units=4, is_divergence=True)
GONE = LevelUse(kl=0.0, saved=0.0, saved_error=0.01, active_units=0, latent_units=4, is_divergence=True)
NOISE = torch.randn(100, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def use(*alive: bool, elbo: float = -100.0, order: tuple[int, ...] | None = None, features: int = 6) -> Use:
    levels = tuple(ALIVE if one else GONE for one in alive)
    per_example = elbo + NOISE - NOISE.mean()
    order = tuple(reversed(range(len(alive)))) if order is None else order
    return Use(elbo, 0.1, -elbo, levels, order, 100, features, per_example)


class Planted:
    """Trials with outcomes decided beforehand; notes which were asked for."""

    def __init__(
        self,
        *,
        objective: Objective | None = None,
        likelihood: Likelihood | None = None,
        carries: bool | tuple[bool, ...] = True,
        free: bool = True,
        steps: int = 100,
        total_steps: int = 1000,
        falling: dict[str, tuple[int, ...]] | None = None,
        **outcomes: Use,
    ) -> None:
        self.objective = objective or ELBO()
        self.beta = self.objective.beta(total_steps - 1)
        self.steps, self.total_steps = steps, total_steps
        self.model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)], likelihood=likelihood))
        self.can_refer = True
        self.carries, self.free, self.outcomes = carries, free, outcomes
        self.falling = falling or {}
        self.asked: list[Any] = []

    def carry(self, levels: tuple[int, ...], order: tuple[int, ...]) -> Trial:
        self.asked.append(("carry", tuple(levels)))
        able = self.carries if isinstance(self.carries, bool) else self.carries[levels[0]]
        return Trial("carry", 100, carried=Carried(10.0, 20.0 if able else 10.0, 0.1))

    def free_latents(self, levels: tuple[int, ...]) -> Trial:
        self.asked.append(("free", tuple(levels)))
        return Trial("free", 100, carried=Carried(10.0, 20.0 if self.free else 10.0, 0.1))

    def _trial(self, name: str) -> Trial:
        self.asked.append(name)
        return Trial(name, 100, use=self.outcomes[name], falling=self.falling.get(name, ()))

    def introduced(self) -> Trial:
        return self._trial("introduced")

    def cold(self) -> Trial:
        return self._trial("cold")

    def plain(self) -> Trial:
        return self._trial("plain")

    def rescaled(self, *, plain: bool) -> Trial:
        self.asked.append(f"plain={plain}")
        return self._trial("rescaled")

    def reference(self, latents: int) -> Trial:
        self.asked.append(latents)
        return self._trial("reference")


def causes(lab: Planted, found: Use) -> list[tuple[tuple[int, ...], str, str]]:
    return [(v.levels, v.cause, v.reason) for v in find_causes(lab, found).verdicts]  # type: ignore[arg-type]


def test_a_decoder_that_cannot_and_an_encoder_that_does_not() -> None:
    for free, cause in ((False, ((0,), "decoder", "deaf")), (True, ((0,), "encoder", "mute"))):
        lab = Planted(carries=False, free=free, reference=use(True, elbo=-80))
        found = find_causes(lab, use(False))  # type: ignore[arg-type]
        assert causes(lab, use(False)) == [cause]
        (verdict,) = found.verdicts
        assert verdict.gain_over_run is not None
        assert verdict.gain_over_run.value == pytest.approx(20)
        assert "introduced" not in lab.asked


@pytest.mark.parametrize(
    ("before", "after", "carries"),
    [
        (None, Carried(10.0, 10.05, 0.01), False),  # a little, and that was all
        (Carried(10.0, 10.01, 0.001), Carried(10.0, 10.04, 0.001), True),
        (Carried(10.0, 10.01, 0.001), Carried(10.0, 10.015, 0.001), False),
        (Carried(10.0, 10.01, 0.001), Carried(10.0, 10.04, 0.03), False),  # not surely more
        (Carried(10.0, 10.09, 0.001), Carried(10.0, 10.15, 0.001), True),
    ],
)
def test_a_slow_learner_is_not_a_broken_one(before: Carried | None, after: Carried, carries: bool) -> None:
    assert Trial("at β = 0", 100, carried=after, halfway=before).carries is carries


def test_what_a_warm_up_keeps_was_lost_to_the_schedule() -> None:
    kept = {"introduced": use(True, elbo=-90), "cold": use(False, elbo=-99)}
    lab = Planted(**kept)
    (verdict,) = find_causes(lab, use(False)).verdicts  # type: ignore[arg-type]
    assert (verdict.cause, verdict.reason) == ("schedule", "cold start")
    assert verdict.gain is not None
    assert verdict.gain.value == pytest.approx(9)
    assert verdict.options == ("--beta-schedule linear:hold=20,steps=30",)
    assert lab.asked == [("carry", (0,)), "introduced", "cold"]


def test_a_collapse_that_does_not_happen_again_is_not_called_a_cold_start() -> None:
    again = {"introduced": use(True), "cold": use(True)}
    assert causes(Planted(**again), use(False)) == [((0,), "schedule", "not again")]
    assert causes(Planted(**again, total_steps=50), use(False)) == [((0,), "schedule", "too short")]


def test_the_weight_is_tried_only_where_it_is_more_than_the_bound_asks() -> None:
    outcomes = {"introduced": use(False), "plain": use(True, elbo=-70), "rescaled": use(True, elbo=-70)}
    heavy = Planted(objective=ELBO(4.0), **outcomes)
    assert causes(heavy, use(False)) == [((0,), "objective", "weight")]
    assert causes(Planted(objective=FreeBits(0.5), **outcomes), use(False)) == [((0,), "objective", "weight")]
    light = Planted(objective=ELBO(1.0), likelihood=Bernoulli(), **outcomes)
    assert causes(light, use(False)) == [((0,), "objective", "not worth it")]
    assert "plain" not in light.asked
    spread = Planted(objective=ELBO(2.0, spread=True), likelihood=Bernoulli(), introduced=use(False, False))
    assert causes(spread, use(False, False)) == [((0, 1), "objective", "not worth it")]


@pytest.mark.parametrize(
    ("objective", "why", "instead"),
    [
        (GECO(300.0), "the target of GECO is met without the latents", "keep GECO and lower its target"),
        (Capacity(0.1), "it holds the KL at its capacity C", "keep it and raise C"),
        (FreeBits(0.5), "free bits make a level pay its KL", "keep free bits, at β = 1"),
        (BetaTC(100, 40.0), "β-TC charges more", "keep it and lower β"),
        (IWAE(8), "of several draws one good one is enough", "fewer draws"),
    ],
)
def test_the_remedy_names_the_objective_that_was_tried(objective: Objective, why: str, instead: str) -> None:
    outcomes = {"introduced": use(False), "plain": use(True, elbo=-70)}
    (verdict,) = find_causes(Planted(objective=objective, **outcomes), use(False)).verdicts  # type: ignore[arg-type]
    assert verdict.options == ("--objective elbo", "--beta-schedule linear:hold=20,steps=30")
    said = _objective(diagnosis(verdict), verdict)
    assert f"The objective is why: {why}" in said
    assert "--objective elbo --beta-schedule linear:hold=20,steps=30 --out" in said
    assert instead in said
    in_python = _objective(diagnosis(verdict, from_command_line=False), verdict)
    assert "Try, in fit: objective=ELBO(Linear(steps=30, hold=20))." in in_python


def diagnosis(*verdicts: Verdict, from_command_line: bool = True) -> Diagnosis:
    gap: Any = None
    return Diagnosis("r", use(False), "validation", (None,), 9, gap, verdicts, from_command_line=from_command_line)


def test_a_level_that_is_on_its_way_down_is_not_kept() -> None:
    outcomes = {"introduced": use(True, elbo=-90), "cold": use(False), "plain": use(True, elbo=-70)}
    lab = Planted(objective=GECO(300.0), falling={"introduced": (0,)}, **outcomes)
    assert causes(lab, use(False)) == [((0,), "objective", "weight")]
    lab = Planted(likelihood=Bernoulli(), falling={"introduced": (0,)}, **outcomes)
    (verdict,) = find_causes(lab, use(False)).verdicts  # type: ignore[arg-type]
    assert (verdict.reason, verdict.falling, verdict.sure) == ("not worth it", True, False)
    assert _verdict(diagnosis(verdict), verdict).startswith("Not sure, give more --steps (steps=): a trial had it")


def test_without_a_sure_gain_it_is_not_sure() -> None:
    lab = Planted(introduced=use(True, elbo=-100), cold=use(False, elbo=-100))
    (verdict,) = find_causes(lab, use(False)).verdicts  # type: ignore[arg-type]
    assert not verdict.sure
    assert _verdict(diagnosis(verdict), verdict).startswith("Not sure, give more --steps (steps=): what the trials")


def test_the_gain_of_a_scale_is_over_that_scale_without_latents() -> None:
    # A collapsed unit-variance Gaussian with squared error s has the bound −s/2 − D/2·log 2π.
    features, squared, scale = 6, 1.2, 1.0
    bound = -squared / (2 * scale**2) - 0.5 * features * math.log(2 * math.pi * scale**2)
    before = use(False, elbo=bound)
    before.per_example.fill_(bound)
    best = squared / features
    alone = -0.5 * features * (math.log(2 * math.pi * best) + 1)
    lab = Planted(likelihood=Gaussian(scale), introduced=before, rescaled=use(True, elbo=alone + 3))
    (verdict,) = find_causes(lab, use(False)).verdicts  # type: ignore[arg-type]
    assert (verdict.cause, verdict.reason) == ("objective", "scale")
    assert verdict.gain is not None
    assert verdict.gain.value == pytest.approx(3)
    assert verdict.options == ("--likelihood optimal-scale-gaussian",)
    assert "plain=False" in lab.asked


def test_each_level_gets_its_own_verdict() -> None:
    lab = Planted(
        objective=ELBO(3.0),
        likelihood=Bernoulli(),
        carries=(True, False, True, True),
        free=False,
        introduced=use(True, False, False, False),
        cold=use(False, False, False, False),
        plain=use(True, False, True, False),
    )
    assert causes(lab, use(False, False, False, False)) == [
        ((1,), "decoder", "deaf"),
        ((0,), "schedule", "cold start"),
        ((2,), "objective", "weight"),
        ((3,), "objective", "not worth it"),
    ]
    assert lab.asked[:2] == [("carry", (0,)), ("carry", (1,))]


def test_levels_of_a_chain_or_many_levels_are_tried_together() -> None:
    outcomes = {"introduced": use(True, True), "cold": use(False, False)}
    chain = Planted(**outcomes)
    causes(chain, use(False, False, order=(0, 1)))
    assert chain.asked[0] == ("carry", (0, 1))
    many = Planted(introduced=use(*[True] * 9), cold=use(*[False] * 9))
    causes(many, use(*[False] * 9))
    assert many.asked == [("carry", tuple(range(9))), "introduced", "cold"]


def line(step: int, *kl: float, active: list[int] | None = None, split: str = "validation") -> dict[str, Any]:
    return {"split": split, "step": step, "kl": list(kl), **({} if active is None else {"active_units": active})}


def test_since_when_is_the_first_line_of_the_last_stretch() -> None:
    metrics = [
        line(10, 0.0, 9.0),
        line(20, 3.0, 0.05),
        line(30, 0.02, 0.0),
        line(40, 0.0, 9.0),
        line(40, 5, 5, split="train"),
    ]
    assert since_when(metrics, use(False, True)) == (Since(30, ever_alive=True), None)
    assert since_when(metrics, use(False, False)) == (Since(30, ever_alive=True), Since(None, ever_alive=True))
    assert since_when(metrics[2:3], use(False)) == (Since(30, ever_alive=False),)
    assert since_when([], use(False)) == (Since(None, ever_alive=False),)
    assert since_when([line(5, 0.0, split="train")], use(False)) == (Since(5, ever_alive=False),)
    assert since_when([{"split": "validation", "step": 1, "kl": [None]}], use(False)) == (
        Since(None, ever_alive=False),
    )


def test_a_level_without_a_divergence_is_judged_by_its_units() -> None:
    chain = Use(-1.0, 0.1, 1.0, (GONE.__class__(0.3, 0.0, 0.0, 0, 4, False),), (0,), 9, 6, NOISE)
    assert since_when([line(10, 0.0), line(20, 0.0)], chain) == (Since(None, ever_alive=False),)
    lines = [line(10, 0.0, active=[3]), line(20, 4.0, active=[0]), line(30, 4.0, active=[0])]
    assert since_when(lines, chain) == (Since(20, ever_alive=True),)

"""What is wrong with a run's latents: which levels have collapsed, since when, why, what it costs, what to change."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from lucid.evaluation import AggregateGap, Use, aggregate_gap

if TYPE_CHECKING:
    from lucid.data import Dataset
    from lucid.models import LatentModel
    from lucid.objectives import Linear, Objective
    from lucid.training import Run, Settings, Trial

__all__ = ["Cause", "Diagnosis", "Gain", "Since", "Verdict", "diagnose"]

Cause = Literal["decoder", "encoder", "objective", "schedule"]
Reason = Literal["deaf", "mute", "weight", "scale", "not worth it", "cold start", "too short", "not again"]


class Since(NamedTuple):
    """Since when a level has been collapsed.

    Attributes:
        step: Of the first line of metrics.jsonl from which on it was, in every line; None if no line shows it.
        ever_alive: Whether an earlier line shows it in use.
    """

    step: int | None
    ever_alive: bool


class Gain(NamedTuple):
    """How much better one bound is than another at β = 1 on the same examples, nats per example.

    Attributes:
        value: The mean difference; positive is better.
        error: Its standard error, over the examples.
        over: What it is better than, in words.
    """

    value: float
    error: float
    over: str

    @property
    def sure(self) -> bool:
        """Whether it is more than two standard errors above 0."""
        return self.value > 2 * self.error


@dataclass(frozen=True)
class Verdict:
    """Why some levels have collapsed, and what to do.

    Attributes:
        levels: Which.
        cause: What it is due to.
        reason: In what way: a decoder that is "deaf" cannot use a latent, an encoder that is "mute" does not send one;
            of the objective, the "weight" of the KL, the "scale" of the likelihood, or that the bound has nothing to
            gain ("not worth it"); of the schedule, a "cold start", a run that was "too short", or a collapse that does
            "not again" happen when the run is repeated.
        gain: What the proposed change brought in a trial of as many steps; None where no trial could tell.
        gain_over_run: What it brought over the run itself; at least that much if the run was longer.
        warm_up: The schedule of β with which the change was tried; None where no schedule is part of it.
        replaced: The objective of the run, by its class, where the change was tried with the ELBO in its place; None
            where that is the run's own.
        falling: Whether levels were in use at the end of a trial, but less and less: more steps may say otherwise.
    """

    levels: tuple[int, ...]
    cause: Cause
    reason: Reason
    gain: Gain | None = None
    gain_over_run: Gain | None = None
    warm_up: Linear | None = None
    replaced: str | None = None
    falling: bool = False

    @property
    def sure(self) -> bool:
        """Whether the trials can tell: none of them was cut short, and what they gained, if anything, is sure."""
        told = [gain for gain in (self.gain, self.gain_over_run) if gain is not None]
        return not self.falling and (not told or any(gain.sure for gain in told))

    @property
    def options(self) -> tuple[str, ...]:
        """What to add to the command line of `lucid train`; () where no option mends it."""
        options = ["--likelihood optimal-scale-gaussian"] if self.reason == "scale" else []
        if self.replaced is not None:
            options.append("--objective elbo")
        if self.warm_up is not None:
            end = "" if self.warm_up.end == 1 else f",end={self.warm_up.end:g}"
            options.append(f"--beta-schedule linear:hold={self.warm_up.hold},steps={self.warm_up.steps}{end}")
        return tuple(options)


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found.

    Attributes:
        run: The run's folder.
        use: What each level costs and saves.
        part: The part of the data it was measured on.
        since: For each level, since when it has been collapsed; None for one that is not.
        last_step: The last step that metrics.jsonl knows.
        gap: How far the deepest latents of all examples together are from the prior.
        verdicts: Why levels have collapsed; () for a healthy run, or without trials.
        trials: The trials the verdicts rest on, in the order in which they were made.
        tried: Whether trials were made, or would have been, had a level collapsed.
        from_command_line: Whether the run was described by `lucid train`, whose options can mend it.
    """

    run: str
    use: Use
    part: str
    since: tuple[Since | None, ...]
    last_step: int | None
    gap: AggregateGap
    verdicts: tuple[Verdict, ...] = ()
    trials: tuple[Trial, ...] = ()
    tried: bool = True
    from_command_line: bool = True

    @property
    def healthy(self) -> bool:
        """Whether no level has collapsed."""
        return not self.use.collapsed

    def explain(self) -> str:
        """The diagnosis in plain language, with the figures behind each statement."""
        from lucid.report.diagnosis_words import explain

        return explain(self)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "run": self.run,
            "healthy": self.healthy,
            "part": self.part,
            "last_step": self.last_step,
            "use": self.use.to_json(),
            "since": [None if since is None else since._asdict() for since in self.since],
            "verdicts": [_verdict_json(verdict) for verdict in self.verdicts],
            "trials": [trial.to_json() for trial in self.trials],
            "gap": self.gap.to_json(),
            "explanation": self.explain(),
        }


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    def gain(found: Gain | None) -> dict[str, Any] | None:
        return None if found is None else found._asdict()

    said = {**asdict(verdict), "gain": gain(verdict.gain), "gain_over_run": gain(verdict.gain_over_run)}
    return {**said, "options": list(verdict.options), "sure": verdict.sure}


def diagnose(
    folder: str | os.PathLike[str],
    *,
    data: Dataset | None = None,
    make: Callable[[], LatentModel] | None = None,
    objective: Objective | None = None,
    trials: bool = True,
    steps: int = 1000,
    examples: int = 1000,
    seed: int = 0,
    tell: Callable[[str], None] = lambda _: None,
) -> Diagnosis:
    """Say what is collapsed in a run, since when, why, what it costs, and what to change.

    The cause is not guessed. Short trainings, each from new weights of the run's architecture and on its own data,
    change one thing at a time:

    1. β = 0. If nothing about x gets through even where it costs nothing, the decoder (or the encoder) cannot carry it;
       latents that are free parameters, without an encoder, tell the two apart.
    2. The run's own objective after a warm-up. A level that stays in use was lost to the schedule.
    3. For the others, the bound itself (β = 1), then a likelihood whose scale is learned: what brings a level back is
       what took it away. If nothing does, the level is not worth its cost to this objective.

    The run is left as it was.

    Args:
        folder: The run.
        data: Its data, where it was given from Python; None reads it again.
        make: Returns a new model as the run's was before its first step, the same at each call. None builds the
            architecture again, with weights drawn by PyTorch's own rules.
        objective: What the run minimised, where the run cannot say: None is what run.json describes.
        trials: Whether to find out why, by trials; without, only what is collapsed, and since when.
        steps: Training steps of a trial.
        examples: At most this many validation examples are measured.
        seed: Of everything random here.
        tell: Told in a few words what is being done.

    Raises:
        FileNotFoundError: If it is not the folder of a run, or has no model yet.
        ValueError: If the data or the objective of the run was given from Python, and is not given here; or a setting
            is out of range.

    Example:
        >>> import tempfile, torch, lucid.nn as nn
        >>> from lucid import data
        >>> from lucid.models import VAE, VAEConfig
        >>> from lucid.training import fit
        >>> vectors = data.load(torch.randn(300, 6, generator=torch.Generator().manual_seed(0)))
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)], kl_weight=30.0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = fit(model, vectors, out=folder, steps=200, learning_rate=0.02, progress=False, compile=False)
        ...     found = diagnose(folder, data=vectors, trials=False)
        >>> found.healthy, found.use.collapsed
        (False, (0,))
    """
    from lucid.report.diagnosis_causes import find_causes
    from lucid.report.diagnosis_history import since_when
    from lucid.training import Run, Trials, fresh_copy

    run = Run(os.fspath(folder))
    model = run.model()
    dataset = run.dataset() if data is None else data
    minimised = _objective(run, model, objective, needed=trials)
    settings = _settings(run)
    metrics = run.metrics()
    last_step = max((int(line["step"]) for line in metrics), default=None)
    lab = Trials(
        model,
        make or (lambda: fresh_copy(model, settings.seed)),
        dataset,
        minimised,
        settings,
        total_steps=_total_steps(run, settings, dataset, last_step),
        steps=steps,
        examples=examples,
        seed=seed,
        tell=tell,
    )
    tell("measuring the levels")
    use = lab.measure(model)
    found = find_causes(lab, use) if trials and use.collapsed else ((), ())
    return Diagnosis(
        run=os.fspath(folder),
        use=use,
        part=lab.part.part,
        since=since_when(metrics, use),
        last_step=last_step,
        verdicts=found[0],
        trials=found[1],
        tried=trials,
        gap=aggregate_gap(model, lab.part, max_examples=examples, seed=seed),
        from_command_line="model" in run.description,
    )


def _objective(run: Run, model: LatentModel, given: Objective | None, *, needed: bool) -> Objective:
    """What the run minimised."""
    from lucid.objectives import objective_of
    from lucid.training import describe_objective

    described = given or run.objective()
    if described is not None:
        return described
    stated = objective_of(model)
    said = (run.description.get("identity") or {}).get("objective")
    if needed and said is not None and said != describe_objective(stated):
        raise ValueError(
            f"the run minimised {' '.join(said)}, which was given from Python: pass it again (objective=…), or leave "
            "the trials out (trials=False, --no-trial)"
        )
    return stated


def _settings(run: Run) -> Settings:
    """How the run was trained; what an older or newer lucid called otherwise is left at its default."""
    from lucid.training import Settings

    known = {field.name for field in fields(Settings)}
    return Settings.of(**{name: value for name, value in run.description["training"].items() if name in known})


def _total_steps(run: Run, settings: Settings, dataset: Dataset, last_step: int | None) -> int:
    finished = run.finished()
    if finished is not None and finished.step > 0:
        return finished.step
    return last_step or settings.total_steps(dataset.train.size)

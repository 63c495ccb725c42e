"""`lucid evaluate`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lucid import io
from lucid.cli.errors import UsageError
from lucid.cli.evaluate_asked import Asked, asked_for
from lucid.cli.evaluate_kept import stamped
from lucid.cli.evaluate_parts import Parts
from lucid.cli.evaluate_subject import Subject, check_json, check_together, open_subject
from lucid.cli.evaluated import print_evaluation, print_trainings
from lucid.cli.shown import Shown
from lucid.evaluation import SEEDED, Evaluation, Figure, Material, Team, ais_figures, further_figures, over_seeds
from lucid.evaluation import evaluate as measure
from lucid.training import evaluating_together

__all__ = ["evaluate"]

_FAILED, _INTERRUPTED = 1, 130


def evaluate(args: argparse.Namespace) -> int:
    """Measure a run's model, or a model by itself; print the table, and leave the figures where the model is."""
    asked = asked_for(args)
    check_json(args.json)
    places = [os.path.realpath(folder) for folder in args.folders]
    twice = sorted({folder for folder, place in zip(args.folders, places, strict=True) if places.count(place) > 1})
    if twice:
        raise UsageError(f"each training is measured once; received twice: {', '.join(twice)}")
    subjects = [open_subject(folder, args, asked) for folder in args.folders]
    check_together(subjects)
    measured: list[_Measured] = []
    with evaluating_together() as team:
        for subject in subjects:
            measured.append(_Measured(subject, asked, args, team, len(subjects) > 1, measured[:]))
            measured[-1].measure()
            if measured[-1].parts.interrupted:
                break
    if team is not None and team.share.rank != 0:
        return 0
    complete = len(measured) == len(args.folders)
    trainings = _over_trainings(measured) if complete and len(measured) > 1 else ()
    _write_json(args, measured, trainings)
    found = [one.found for one in measured]
    if trainings:
        print_trainings(args.folders, found, trainings)
    else:
        for one in measured:
            print_evaluation(one.found, one.subject.folder if len(args.folders) > 1 else None)
    _print_parts(measured)
    run = subjects[0].run
    if len(args.folders) == 1 and run is not None and not args.no_report:
        from lucid.report import write_report

        print(f"report: {write_report(run.folder.path)}")
    if any(one.parts.interrupted for one in measured):
        return _INTERRUPTED
    return _FAILED if any(one.parts.failed for one in measured) else 0


class _Measured:
    """The evaluation of one model, which is kept as it grows.

    Args:
        subject: What is measured.
        asked: How.
        args: The command line.
        team: The processes that torchrun has started.
        several: Whether other models are measured too.
        before: Those that were, for the file of --json.
    """

    def __init__(
        self,
        subject: Subject,
        asked: Asked,
        args: argparse.Namespace,
        team: Team | None,
        several: bool,
        before: list[_Measured],
    ) -> None:
        self.subject, self.asked, self.args, self.team = subject, asked, args, team
        self.several, self.before = several, before
        self.parts = Parts()
        self.parts.left_out.update(subject.lacks)
        self.notes: list[str] = []
        self._evaluations: list[Evaluation] = []
        self._main = team is None or team.share.rank == 0
        self._kept = False

    @property
    def found(self) -> Evaluation:
        """What was measured so far: at the first seed, and over the seeds."""
        first, *others = self._evaluations
        over = over_seeds(self._evaluations) if others else ()
        return stamped(replace(first, over_seeds=over), self.subject.card)

    def measure(self) -> None:
        """The bounds at each seed, then every other part; after each, the figures are kept."""
        for seed in self.asked.seeds:
            bounds = partial(self._bounds, seed)
            if not self._evaluations:
                # Without any figure there is nothing to keep: an error here is the command's.
                with Shown("bounds") as progress:
                    self._evaluations.append(self.parts.timed("bounds", partial(bounds, progress)))
            else:
                found = self.parts.attempt(f"bounds at seed {seed}", f"bounds at seed {seed}", bounds)
                if found is None:
                    break
                self._evaluations.append(found)
            self._keep()
        if self.asked.annealing is not None:
            self._add("ais", "annealed importance sampling", self._annealed, self._evaluations)
        if self._main:
            for name in self.subject.parts:
                at = self._evaluations if name in SEEDED else self._evaluations[:1]
                self._add(name, name, partial(self._further, name), at, asked=name in self.asked.also)

    def _add(
        self,
        name: str,
        says: str,
        measure: Callable[[Evaluation, Shown], list[Figure]],
        evaluations: list[Evaluation],
        *,
        asked: bool = True,
    ) -> None:
        """The figures of one part at each of some seeds: of all of them, or none."""
        figures: list[list[Figure]] = []
        for evaluation in evaluations:
            at = f"{says}, seed {evaluation.seed}" if len(evaluations) > 1 else says
            some = self.parts.attempt(name, at, partial(measure, evaluation), asked=asked)
            if some is None:
                return
            figures.append(some)
        for place, some in enumerate(figures):
            self._evaluations[place] = self._evaluations[place].with_figures(some)
        self._keep()

    def _bounds(self, seed: int, progress: Shown) -> Evaluation:
        return measure(
            self.subject.model,
            self.subject.split,
            num_samples=self.asked.counts,
            seed=seed,
            split=self.subject.split.part,
            device=self.asked.device,
            progress=progress.update,
            workers=self.args.workers,
            team=self.team,
        )

    def _annealed(self, found: Evaluation, progress: Shown) -> list[Figure]:
        assert self.asked.annealing is not None, "only then it is called"
        return ais_figures(
            self.subject.model,
            self.subject.split,
            self.args.ais,
            replace(self.asked.annealing, seed=found.seed),
            importance_samples=found.log_likelihood.num_samples,
            tell=progress.update,
            workers=self.args.workers,
            team=self.team,
        )

    def _further(self, name: str, found: Evaluation, _: Shown) -> list[Figure]:
        factors = self.subject.factors
        material = Material(
            self.subject.split,
            self.subject.dataset,
            factors=None if factors is None else factors.part,
            factors_of_parts=None if factors is None else factors.parts,
            features=self.asked.features,
            seed=found.seed,
        )
        return further_figures(self.subject.model, material, [name]).figures

    def _keep(self) -> None:
        """Leave the figures in the run, in the card of the model, and in the file of --json."""
        if not self._main:
            return
        found = self.found
        for note in self.subject.card.keep(found, self.subject.model, first=not self._kept):
            if note not in self.notes:
                self.notes.append(note)
        self._kept = True
        _write_json(self.args, [*self.before, self], ())


def _over_trainings(measured: list[_Measured]) -> tuple[Figure, ...]:
    def summary(found: Evaluation) -> Evaluation:
        return replace(found, figures=found.over_seeds, over_seeds=()) if found.over_seeds else found

    return over_seeds([summary(one.found) for one in measured], "trainings")


def _write_json(args: argparse.Namespace, measured: list[_Measured], trainings: tuple[Figure, ...]) -> None:
    if not args.json:
        return
    record: dict[str, Any] = measured[0].found.to_json()
    if len(args.folders) > 1:
        record = {
            "runs": {one.subject.folder: one.found.to_json() for one in measured},
            "over_trainings": [figure.to_json() for figure in trainings],
        }
    Path(args.json).parent.mkdir(parents=True, exist_ok=True)
    io.write_json(args.json, record)


def _print_parts(measured: list[_Measured]) -> None:
    """What each part took, what was not measured and why, and what became of older figures."""
    for one in measured:
        of = f"{one.subject.folder}: " if one.several else ""
        print(f"{of}seconds: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in one.parts.seconds.items()))
        for name, why in one.parts.left_out.items():
            print(f"{of}not measured: {name}: {why}")
        for note in one.notes:
            print(note)

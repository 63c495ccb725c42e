"""`lucid evaluate`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lucid import data, io
from lucid.cli.errors import UsageError
from lucid.cli.evaluate_asked import Asked, asked_for
from lucid.cli.evaluated import print_evaluation, print_trainings
from lucid.cli.factors import read_factors
from lucid.cli.opening import is_model_alone, open_model, protocol_of
from lucid.cli.shown import Shown
from lucid.data import Dataset, Split
from lucid.evaluation import Evaluation, Material, Team, ais_figures, further_figures, over_seeds
from lucid.evaluation import evaluate as measure
from lucid.models import LatentModel
from lucid.training import Run, evaluating_together

__all__ = ["evaluate"]


@dataclass(frozen=True)
class _Subject:
    """A model and what it is measured on."""

    folder: str
    run: Run | None
    model: LatentModel
    split: Split
    dataset: Dataset | None


def evaluate(args: argparse.Namespace) -> int:
    """Measure a run's model, or a model by itself; print the table, and leave the figures where the model is."""
    asked = asked_for(args)
    twice = {folder for folder in args.folders if args.folders.count(folder) > 1}
    if twice:
        raise UsageError(f"each training is measured once; received twice: {', '.join(sorted(twice))}")
    found: list[Evaluation] = []
    left_out: Mapping[str, str] = {}
    subject: _Subject | None = None
    with evaluating_together() as team:
        main = team is None or team.share.rank == 0
        for folder in args.folders:
            subject = _subject(folder, args)
            evaluations = [_annealed(subject, asked, args, team, one) for one in _bounds(subject, asked, args, team)]
            if not main:
                continue
            evaluations, left_out = _besides(subject, asked, args, evaluations)
            over = over_seeds(evaluations) if len(evaluations) > 1 else ()
            found.append(replace(evaluations[0], over_seeds=over))
            _keep(subject, found[-1])
    if not main:
        return 0
    trainings = over_seeds([_summary(one) for one in found], "trainings") if len(found) > 1 else ()
    _write_json(args, found, [figure.to_json() for figure in trainings])
    if len(found) > 1:
        print_trainings(args.folders, found, trainings)
        return 0
    print_evaluation(found[0], left_out)
    if subject is not None and subject.run is not None and not args.no_report:
        from lucid.report import write_report

        print(f"report: {write_report(subject.run.folder.path)}")
    return 0


def _subject(folder: str, args: argparse.Namespace) -> _Subject:
    run = None if is_model_alone(folder) else Run(folder)
    if run is not None:
        if (args.data, args.labels) != (None, None):
            raise UsageError(f"{folder} is a run, which knows its data: leave --data and --label out")
        model, dataset = run.model(), run.dataset()
        return _Subject(folder, run, model, getattr(dataset, args.split or "test"), dataset)
    model = open_model(folder)
    if args.data is not None:
        split = data.load_like(args.data, protocol_of(model, folder), part=args.split, labels=args.labels)
        return _Subject(folder, None, model, split, None)
    said = model.figures.get("fit_prior", {}).get("data")
    if said is None:
        raise UsageError(f"{folder} is a model, which does not say where its data is: give --data DATA")
    dataset = data.load(**said)
    return _Subject(folder, None, model, getattr(dataset, args.split or "test"), dataset)


def _bounds(subject: _Subject, asked: Asked, args: argparse.Namespace, team: Team | None) -> list[Evaluation]:
    """The bounds at each seed."""
    found: list[Evaluation] = []
    for seed in asked.seeds:
        with Shown("evaluating") as progress:
            found.append(
                measure(
                    subject.model,
                    subject.split,
                    num_samples=asked.counts,
                    seed=seed,
                    split=subject.split.part,
                    device=asked.device,
                    progress=progress.update,
                    workers=args.workers,
                    team=team,
                )
            )
    return found


def _annealed(
    subject: _Subject, asked: Asked, args: argparse.Namespace, team: Team | None, found: Evaluation
) -> Evaluation:
    """The same with the figures of annealed importance sampling, if they were asked for."""
    if asked.annealing is None:
        return found
    with Shown("annealing") as progress:
        figures = ais_figures(
            subject.model,
            subject.split,
            args.ais,
            replace(asked.annealing, seed=found.seed),
            importance_samples=found.log_likelihood.num_samples,
            tell=progress.update,
            workers=args.workers,
            team=team,
        )
    return found.with_figures(figures)


def _besides(
    subject: _Subject, asked: Asked, args: argparse.Namespace, evaluations: list[Evaluation]
) -> tuple[list[Evaluation], Mapping[str, str]]:
    """The same with what --also names, at each seed."""
    if not asked.also:
        return evaluations, {}
    factors = None if args.factors is None else read_factors(args.factors, subject.split, subject.dataset)
    if factors is not None and factors.parts is None and "probe" in asked.also:
        raise UsageError(
            f"--also probe learns on the training part: --factors must have a row for each example of all parts; "
            f"{args.factors} has those of the {subject.split.part} part"
        )
    left_out: Mapping[str, str] = {}
    found: list[Evaluation] = []
    for evaluation in evaluations:
        material = Material(
            subject.split,
            subject.dataset,
            factors=None if factors is None else factors.part,
            factors_of_parts=None if factors is None else factors.parts,
            features=asked.features,
            seed=evaluation.seed,
        )
        figures, left_out = further_figures(subject.model, material, asked.also)
        found.append(evaluation.with_figures(figures))
    return found, left_out


def _keep(subject: _Subject, found: Evaluation) -> None:
    """Leave the figures in the run, and in the card of the model."""
    figures = found.to_json()
    if subject.run is not None:
        io.write_json(subject.run.folder.evaluation, figures)
    folder = subject.folder if subject.run is None else subject.run.folder.model
    io.save(subject.model.cpu(), folder, {**subject.model.figures, subject.split.part: figures})


def _summary(found: Evaluation) -> Evaluation:
    return replace(found, figures=found.over_seeds, over_seeds=()) if found.over_seeds else found


def _write_json(args: argparse.Namespace, found: list[Evaluation], trainings: list[dict[str, Any]]) -> None:
    if not args.json:
        return
    record = found[0].to_json()
    if trainings:
        runs = {folder: one.to_json() for folder, one in zip(args.folders, found, strict=True)}
        record = {"runs": runs, "over_trainings": trainings}
    Path(args.json).parent.mkdir(parents=True, exist_ok=True)
    io.write_json(args.json, record)

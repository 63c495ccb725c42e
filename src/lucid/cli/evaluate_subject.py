"""What `lucid evaluate` measures, and on what: opened and checked before anything is computed."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lucid import data
from lucid.cli.errors import UsageError
from lucid.cli.evaluate_asked import Asked
from lucid.cli.evaluate_kept import Card
from lucid.cli.factors import FactorsOf, read_factors
from lucid.cli.opening import is_model_alone, open_model, protocol_of
from lucid.data import Dataset, Split
from lucid.evaluation import parts_named
from lucid.evaluation.samples import feature_space
from lucid.models import LatentModel
from lucid.training import Run

__all__ = ["Subject", "check_json", "check_together", "open_subject"]


@dataclass(frozen=True)
class Subject:
    """A model, what it is measured on, and what can be measured.

    Attributes:
        folder: As it was given.
        run: The run; None for a model alone.
        model: The model.
        split: The part that is measured.
        dataset: All parts, where there are.
        card: Where its figures are kept.
        parts: What is measured besides the bounds.
        lacks: What "all" leaves out, and why.
        factors: As --factors gives them.
    """

    folder: str
    run: Run | None
    model: LatentModel
    split: Split
    dataset: Dataset | None
    card: Card
    parts: tuple[str, ...]
    lacks: dict[str, str]
    factors: FactorsOf | None


def open_subject(folder: str, args: argparse.Namespace, asked: Asked) -> Subject:
    """Open a run or a model, and see that everything asked for can be measured on it.

    Raises:
        UsageError: If something cannot.
    """
    if is_model_alone(folder):
        run, card = None, Card.of(Path(folder).resolve())
        model = open_model(folder)
        split, dataset = _data_of(model, folder, args)
    else:
        run = Run(folder)
        if (args.data, args.labels) != (None, None):
            raise UsageError(f"{folder} is a run, which knows its data: leave --data and --label out")
        model, dataset = run.model(), run.dataset()
        card = Card.of(run.folder.model.resolve(), run.folder.evaluation.resolve())
        split = getattr(dataset, args.split or "test")
    factors = None if args.factors is None else read_factors(args.factors, split, dataset)
    lacks: dict[str, str] = {}
    parts = parts_named(asked.also)
    for part in parts:
        why = _lacks(part, split, dataset, factors, args, asked)
        # A file or a feature space that somebody gave is not left out in silence.
        if why is not None and (part in asked.also or (part == "samples" and args.features is not None)):
            raise UsageError(f"--also {part}: {why}")
        if why is not None:
            lacks[part] = why
    wanted = tuple(part for part in parts if part not in lacks)
    return Subject(folder, run, model, split, dataset, card, wanted, lacks, factors)


def check_together(subjects: Sequence[Subject]) -> None:
    """See that several runs are several trainings, of the same data.

    Raises:
        UsageError: If they are not.
    """
    first = subjects[0]
    for place, subject in enumerate(subjects):
        for other in subjects[:place]:
            if subject.card.weights == other.card.weights:
                raise UsageError(
                    f"each training is measured once; {other.folder} and {subject.folder} hold the same weights"
                )
        of_each = [f"{one.split.protocol.describe()}, {len(one.split):,} examples" for one in (first, subject)]
        if of_each[0] != of_each[1]:
            raise UsageError(
                f"a table over trainings is of one kind of data; {first.folder} is of {of_each[0]}, and "
                f"{subject.folder} is of {of_each[1]}"
            )


def check_json(file: str | None) -> None:
    """See that the file of --json can be written.

    Raises:
        UsageError: If it cannot.
    """
    if file is None:
        return
    path = Path(file)
    if path.is_dir():
        raise UsageError(f"--json takes a file to write; {file} is a folder")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir():
        raise UsageError(f"--json {file} cannot be written: {above} is not a folder")
    if not os.access(above, os.W_OK):
        raise UsageError(f"--json {file} cannot be written: nobody lets you write into {above}")


def _data_of(model: LatentModel, folder: str, args: argparse.Namespace) -> tuple[Split, Dataset | None]:
    if args.data is not None:
        return data.load_like(args.data, protocol_of(model, folder), part=args.split, labels=args.labels), None
    said = model.figures.get("fit_prior", {}).get("data")
    if said is None:
        raise UsageError(f"{folder} is a model, which does not say where its data is: give --data DATA")
    dataset = data.load(**said)
    return getattr(dataset, args.split or "test"), dataset


def _lacks(
    part: str,
    split: Split,
    dataset: Dataset | None,
    factors: FactorsOf | None,
    args: argparse.Namespace,
    asked: Asked,
) -> str | None:
    """What a part needs and does not have here, in the words of the command; None where it has all."""
    if part == "disentanglement" and factors is None and split.labels is None:
        return "scores are against known factors, and the data has no labels: give --factors FILE"
    if part == "probe":
        return _probe_lacks(split, dataset, factors, args)
    if part == "samples":
        try:
            feature_space(asked.features, split.protocol)
        except (ValueError, ImportError) as error:
            return f"--features {asked.features}: {error}"
    return None


def _probe_lacks(
    split: Split, dataset: Dataset | None, factors: FactorsOf | None, args: argparse.Namespace
) -> str | None:
    if dataset is None:
        return "a probe learns on a training part, and the data given is one part only: measure a run"
    parts = (dataset.train, dataset.validation, dataset.test)
    empty = [part.part for part in parts if part.size == 0]
    if empty:
        return f"a probe learns on the training part and is chosen on validation; the {empty[0]} part holds no example"
    if factors is not None and factors.parts is None:
        return (
            f"a probe learns on the training part: --factors must have a row for each example of all parts; "
            f"{args.factors} has those of the {split.part} part"
        )
    if factors is None and any(part.labels is None for part in parts):
        return "a probe tells labels or factors, and the data has no labels: give --factors FILE"
    return None

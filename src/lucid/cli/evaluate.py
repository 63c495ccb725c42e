"""`lucid evaluate`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.table import Table

from lucid import data, io
from lucid.cli.errors import UsageError
from lucid.cli.opening import is_model_alone, open_model, protocol_of
from lucid.data import Split
from lucid.evaluation import Evaluation
from lucid.evaluation import evaluate as measure
from lucid.models import LatentModel
from lucid.training import Run

__all__ = ["evaluate"]


def evaluate(args: argparse.Namespace) -> int:
    """Measure a run's model, or a model by itself; print the table, and leave the figures where the model is."""
    if args.num_samples < 1:
        raise UsageError(f"--num-samples must be at least 1; received {args.num_samples}")
    run = None if is_model_alone(args.folder) else Run(args.folder)
    if run is not None and (args.data, args.labels) != (None, None):
        raise UsageError(f"{args.folder} is a run, which knows its data: leave --data and --label out")
    model = open_model(args.folder) if run is None else run.model()
    split: Split = _split_of(model, args) if run is None else getattr(run.dataset(), args.split or "test")
    part = split.part
    with _Shown() as progress:
        result = measure(
            model, split, num_samples=args.num_samples, seed=args.seed, split=part, progress=progress.update
        )
    figures = result.to_json()
    if run is not None:
        io.write_json(run.folder.evaluation, figures)
    io.save(model, args.folder if run is None else run.folder.model, {**model.figures, part: figures})
    if args.json:
        Path(args.json).parent.mkdir(parents=True, exist_ok=True)
        io.write_json(args.json, figures)
    _print(result)
    if run is not None and not args.no_report:
        from lucid.report import write_report

        print(f"report: {write_report(run.folder.path)}")
    return 0


def _split_of(model: LatentModel, args: argparse.Namespace) -> Split:
    """What a model without a run is measured on: the data said, or that of the run its prior was fitted to."""
    if args.data is not None:
        return data.load_like(args.data, protocol_of(model, args.folder), part=args.split, labels=args.labels)
    said = model.figures.get("fit_prior", {}).get("data")
    if said is None:
        raise UsageError(f"{args.folder} is a model, which does not say where its data is: give --data DATA")
    return getattr(data.load(**said), args.split or "test")


def _print(result: Evaluation) -> None:
    console = Console()
    table = Table(title=result.protocol, title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    table.add_column("value", justify="right")
    table.add_column("unit")
    table.add_column("how to read it", overflow="fold", style="dim")
    for row in result.to_table():
        table.add_row(row.name, row.value, row.unit, row.meaning)
    console.print(table)


class _Shown:
    """A bar on stderr where a person is looking."""

    def __init__(self) -> None:
        from rich.progress import Progress

        self._bar = Progress(console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("evaluating", total=None)

    def update(self, done: int, total: int | None) -> None:
        """Say how many of how many examples are done."""
        self._bar.update(self._task, completed=done, total=total)

    def __enter__(self) -> Self:
        if self._bar.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar.console.is_terminal:
            self._bar.stop()

"""`lucid diagnose`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lucid import io
from lucid.cli.errors import UsageError
from lucid.cli.train import model_of
from lucid.report import Diagnosis, diagnosis_rows
from lucid.report import diagnose as find_out
from lucid.training import Run

__all__ = ["diagnose"]


def diagnose(args: argparse.Namespace) -> int:
    """Say what is collapsed in a run, since when, why, what it costs, and what to change."""
    if args.steps < 20:
        raise UsageError(f"--steps must be at least 20, for a trial to find anything out; received {args.steps}")
    run = Run(args.folder)
    dataset = run.dataset()
    made_here = "model" in run.description
    found = find_out(
        args.folder,
        data=dataset,
        make=(lambda: model_of(run, dataset)) if made_here else None,
        trials=not args.no_trial,
        steps=args.steps,
        seed=args.seed,
        tell=_tell,
    )
    _tell("")
    if args.json:
        Path(args.json).parent.mkdir(parents=True, exist_ok=True)
        io.write_json(args.json, found.to_json())
    _print(found)
    return 0


def _print(found: Diagnosis) -> None:
    console = Console()
    table = Table(box=None, pad_edge=False)
    for name in ("level", "KL", "saves", "active units", "state"):
        table.add_column(name, justify="left" if name == "state" else "right")
    for row in diagnosis_rows(found):
        table.add_row(*row)
    console.print(table)
    console.print(f"\n{found.explain()}", highlight=False, markup=False, soft_wrap=not console.is_terminal)


def _tell(what: str) -> None:
    """One line where a person is looking, replaced by the next; an empty one clears it."""
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)

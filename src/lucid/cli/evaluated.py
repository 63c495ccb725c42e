"""What `lucid evaluate` prints: the figures of one model, over seeds, and over trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lucid.evaluation import Evaluation, Figure

__all__ = ["print_evaluation", "print_trainings"]


def print_evaluation(found: Evaluation, left_out: Mapping[str, str]) -> None:
    """The table, what speaks against figures, and what was not measured."""
    console = _console()
    over = {figure.name: figure for figure in found.over_seeds}
    table = Table(title=found.protocol, title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    table.add_column("value", justify="right", no_wrap=True)
    if over:
        table.add_column("over seeds", justify="right", no_wrap=True)
    table.add_column("unit")
    table.add_column("how to read it", overflow="fold", style="dim")
    for row in found.to_table():
        seeds = [over[row.name].rounded() if row.name in over else ""] if over else []
        table.add_row(row.name, row.value, *seeds, row.unit, row.meaning)
    console.print(table)
    lines = [f"± is one standard error over {found.num_examples:,} {found.split} examples, or what the figure says"]
    if over:
        seeds = len(next(iter(over.values())).details["values"])
        lines.append(f"over seeds: mean and standard error over {seeds} repetitions of the draws, on the same examples")
    lines += [f"warning: {warning}" for warning in found.warnings]
    lines += [f"not measured: {name}: {why}" for name, why in left_out.items()]
    console.print("\n" + "\n".join(lines), highlight=False, markup=False, soft_wrap=not console.is_terminal)


def print_trainings(names: Sequence[str], found: Sequence[Evaluation], over: Sequence[Figure]) -> None:
    """One column a training, and what they say together."""
    console = _console()
    table = Table(title=found[0].protocol, title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    short = [Path(name).name for name in names]
    names = short if len(set(short)) == len(short) else names
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(f"{len(names)} trainings", justify="right", style="bold", no_wrap=True)
    table.add_column("unit")
    of_each = [{figure.name: figure for figure in one.over_seeds or one.figures} for one in found]
    for figure in over:
        each = [figures[figure.name].rounded() for figures in of_each]
        table.add_row(figure.name, *each, figure.rounded(), figure.unit)
    console.print(table)
    lines = ["± of all trainings together is one standard error over trainings; of each, over examples (or draws)"]
    lines += [f"warning: {name}: {warning}" for name, one in zip(names, found, strict=True) for warning in one.warnings]
    console.print("\n" + "\n".join(lines), highlight=False, markup=False, soft_wrap=not console.is_terminal)


def _console() -> Console:
    """Wide where nobody is looking: a file has no edge to fold lines at."""
    console = Console()
    return console if console.is_terminal else Console(width=160)

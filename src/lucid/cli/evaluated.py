"""What `lucid evaluate` prints: the figures of one model, over seeds, and over trainings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lucid.evaluation import Evaluation, Figure

__all__ = ["print_evaluation", "print_trainings", "provenance", "unit_of"]


def print_evaluation(found: Evaluation, name: str | None = None) -> None:
    """The table, and what speaks against figures.

    Args:
        found: What was measured.
        name: Of the model, where there are several.
    """
    over = {figure.name: figure for figure in found.over_seeds}
    title = found.protocol if name is None else f"{name}: {found.protocol}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    table.add_column("value", justify="right", no_wrap=True)
    if over:
        table.add_column("over seeds", justify="right", no_wrap=True)
    table.add_column("unit")
    for column in ("draws", "examples", "seed"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("by", no_wrap=True)
    table.add_column("how to read it", overflow="fold", style="dim")
    notes = _Notes()
    effective = {
        figure.num_samples: figure for figure in found.figures if figure.name.startswith("effective sample size")
    }
    for figure in found.figures:
        if figure in effective.values():
            continue  # the rows of the bounds say it
        value, meaning = figure.rounded(), figure.meaning
        if "of" in figure.details:
            value += f" of {figure.details['of']}"
        if figure.name.startswith("log-likelihood, k") and figure.num_samples in effective:
            meaning += f"; effective sample size {effective[figure.num_samples].value:.1f}"
        seeds = [over[figure.name].rounded() if figure.name in over else ""] if over else []
        how = provenance(figure)
        table.add_row(figure.name, value, *seeds, unit_of(figure), *how, notes.letter(figure.estimator), meaning)
    if found.bits_per_dim is None:
        table.add_row("bits/dim", "—", *([""] if over else []), "bits", "", "", "", "", found.bits_per_dim_note)
    lines = notes.lines()
    if over:
        seeds = len(next(iter(over.values())).details["values"])
        lines.append(f"over seeds: mean and standard error over {seeds} repetitions of the draws, on the same examples")
    _print(table, [*lines, *_warnings((None, figure) for figure in found.figures)])


def print_trainings(names: Sequence[str], found: Sequence[Evaluation], over: Sequence[Figure]) -> None:
    """One column a training, and what they say together."""
    table = Table(title=found[0].protocol, title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    short = [Path(name).name for name in names]
    names = short if len(set(short)) == len(short) else names
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(f"{len(names)} trainings", justify="right", style="bold", no_wrap=True)
    table.add_column("unit")
    for column in ("draws", "examples", "seed"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("by", no_wrap=True)
    of_each = [{figure.name: figure for figure in one.over_seeds or one.figures} for one in found]
    notes = _Notes()
    for figure in over:
        each = [figures[figure.name].rounded() for figures in of_each]
        letter = notes.letter(of_each[0][figure.name].estimator)
        table.add_row(figure.name, *each, figure.rounded(), unit_of(figure), *provenance(figure), letter)
    lines = [
        *notes.lines(),
        "± of all trainings together is one standard error over trainings; of each, as its letter says",
    ]
    _print(table, [*lines, *_warnings((n, f) for n, one in zip(names, found, strict=True) for f in one.figures)])


def provenance(figure: Figure) -> tuple[str, str, str]:
    """Draws, examples and seed, as far as there are."""
    seeds = [seed for seed in figure.details.get("seeds", ()) if seed is not None]
    seed = "" if figure.seed is None else str(figure.seed)
    if len(set(seeds)) > 1:
        seed = f"{min(seeds)}–{max(seeds)}"
    draws = "" if figure.num_samples is None else f"{figure.num_samples:,}"
    return draws, f"{figure.num_examples:,}", seed


def unit_of(figure: Figure) -> str:
    """The unit; what every figure is per, nobody needs to read in each row."""
    return figure.unit.removesuffix(" per example")


class _Notes:
    """Estimators below a table, each once, by a letter."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def letter(self, estimator: str) -> str:
        number = len(self._said)
        letter = chr(97 + number % 26) * (1 + number // 26)
        return self._said.setdefault(estimator, letter)

    def lines(self) -> list[str]:
        return [f"{letter}: {estimator}" for estimator, letter in self._said.items()]


def _warnings(figures: Iterable[tuple[str | None, Figure]]) -> list[str]:
    """What speaks against figures: of figures of one name, or for one reason, once."""
    models: dict[str, list[str]] = {}
    reasons: dict[str, str] = {}
    for model, figure in figures:
        if figure.warning:
            models.setdefault(figure.name, []).extend([model] if model else [])
            reasons.setdefault(figure.name, figure.warning)
    lines: list[str] = []
    for reason in dict.fromkeys(reasons.values()):
        names = [
            f"{name} ({', '.join(models[name])})" if models[name] else name
            for name, why in reasons.items()
            if why == reason
        ]
        lines.append(f"warning: {'; '.join(names)}: {reason}")
    return lines


def _print(table: Table, lines: Sequence[str]) -> None:
    """Wide where nobody is looking: a file has no edge to fold lines at."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=180)
    console.print(table)
    console.print("\n" + "\n".join(lines), highlight=False, markup=False, soft_wrap=not console.is_terminal)

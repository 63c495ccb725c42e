"""What a person sees while a model trains: one line, on stderr, drawn at most four times a second."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from lucid.evaluation import COLLAPSED_BELOW
from lucid.training.window import Averages

__all__ = ["Progress", "ProgressBar", "Silent"]


_MOST_LEVELS = 6
"""Levels that are shown one by one: the line must stay one."""


class Progress(Protocol):
    """Is told how training goes."""

    def begin(self, step: int, total_steps: int) -> None: ...

    def wants_update(self) -> bool:
        """Whether `update` would be looked at now; finding the numbers makes the host wait for the device."""
        ...

    def update(self, step: int, averages: Averages, beta: float, examples_per_second: float, skipped: int) -> None: ...

    def units(self, active: Sequence[int], total: Sequence[int]) -> None:
        """After a validation: active and all latent units of each level."""
        ...

    def message(self, text: str) -> None: ...

    def end(self) -> None: ...


class Silent:
    """Shows nothing."""

    def begin(self, step: int, total_steps: int) -> None: ...

    def wants_update(self) -> bool:
        return False

    def update(self, step: int, averages: Averages, beta: float, examples_per_second: float, skipped: int) -> None: ...

    def units(self, active: Sequence[int], total: Sequence[int]) -> None: ...

    def message(self, text: str) -> None: ...

    def end(self) -> None: ...


class ProgressBar:
    """A bar with loss, ELBO, KL and active units of each level, β, examples per second and time left, drawn by rich.

    Of more than six levels it shows the sum of their KL, and how many are collapsed.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._console = Console(stderr=True)
        self._bar = RichProgress(
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[numbers]}"),
            console=self._console,
            auto_refresh=False,
        )
        self._task = self._bar.add_task("training", total=None, numbers="")
        self._units = ""
        self._next = 0.0
        # A file or a pipe gets a line every few seconds in the place of a moving bar.
        self._interval = 0.25 if self._console.is_terminal else 10.0

    def begin(self, step: int, total_steps: int) -> None:
        self._bar.update(self._task, total=total_steps, completed=step)
        if self._console.is_terminal:
            self._bar.start()
        self._next = time.monotonic() + self._interval

    def wants_update(self) -> bool:
        return time.monotonic() >= self._next

    def update(self, step: int, averages: Averages, beta: float, examples_per_second: float, skipped: int) -> None:
        self._next = time.monotonic() + self._interval
        bound = f"loss {averages.loss:.2f}  elbo {averages.elbo:.2f}  kl {_kl_in_words(averages.kl)}{self._units}"
        left_out = f"  skipped {skipped}" if skipped else ""
        numbers = f"{bound}  β {beta:.2g}  {examples_per_second:,.0f} ex/s{left_out}"
        if self._console.is_terminal:
            self._bar.update(self._task, completed=step, numbers=numbers)
            self._bar.refresh()
        else:
            total = self._bar.tasks[0].total
            self._console.print(f"step {step}/{total:.0f}  {numbers}", highlight=False)

    def units(self, active: Sequence[int], total: Sequence[int]) -> None:
        self._units = f"  au {_units_in_words(active, total)}"

    def message(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)

    def end(self) -> None:
        if self._console.is_terminal:
            self._bar.stop()


def _kl_in_words(kl: Sequence[float]) -> str:
    if len(kl) <= _MOST_LEVELS:
        return " ".join(f"{value:.2f}" for value in kl)
    collapsed = sum(value < COLLAPSED_BELOW for value in kl)
    return f"{sum(kl):.2f} in {len(kl)} levels, {collapsed} collapsed"


def _units_in_words(active: Sequence[int], total: Sequence[int]) -> str:
    if len(total) <= _MOST_LEVELS:
        return " ".join(f"{some}/{all_}" for some, all_ in zip(active, total, strict=True))
    return f"{sum(active)}/{sum(total)}"

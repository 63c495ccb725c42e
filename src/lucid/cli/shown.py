"""A bar on stderr where a person is looking."""

from __future__ import annotations

from typing import Self

from rich.console import Console

__all__ = ["Shown"]


class Shown:
    """How far something is.

    Args:
        what: What is being done, such as "compressing".
    """

    def __init__(self, what: str) -> None:
        from rich.progress import Progress

        self._bar = Progress(console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(what, total=None)

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

"""The parts of an evaluation, one after the other: each shown, timed, and losing only itself where it fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from lucid.cli.shown import Shown

__all__ = ["Parts"]

Result = TypeVar("Result")


class Parts:
    """What became of each part.

    Attributes:
        seconds: That each took, by name.
        left_out: What was not measured, and why.
        failed: Those among them that were asked for by name.
        interrupted: Whether somebody stopped it; nothing is begun after that.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.left_out: dict[str, str] = {}
        self.failed: list[str] = []
        self.interrupted = False

    def attempt(self, name: str, says: str, measure: Callable[[Shown], Result], *, asked: bool = True) -> Result | None:
        """Measure one part; None where it fails or is interrupted.

        Args:
            name: As it is listed at the end.
            says: What is being done, for whoever looks.
            measure: Does it, given where to show how far it is.
            asked: Whether it was asked for by name: its failure is the command's then.
        """
        if self.interrupted:
            self.left_out[name] = "interrupted before it began"
            return None
        try:
            with Shown(says) as progress:
                return self.timed(name, lambda: measure(progress))
        except KeyboardInterrupt:
            self.interrupted = True
            self.left_out[name] = "interrupted"
        except (ValueError, NotImplementedError, ImportError, ArithmeticError, MemoryError, RuntimeError) as error:
            self.left_out[name] = " ".join(str(error).split()) or type(error).__name__
            if asked:
                self.failed.append(name)
        return None

    def timed(self, name: str, measure: Callable[[], Result]) -> Result:
        """Do it, and count its seconds, whatever comes of it."""
        began = time.perf_counter()
        try:
            return measure()
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

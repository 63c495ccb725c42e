"""The KL of each level through a short training: whether what is in use at its end will stay so."""

from __future__ import annotations

from collections.abc import Sequence

from lucid.evaluation import COLLAPSED_BELOW
from lucid.training.progress import Silent
from lucid.training.window import Averages

__all__ = ["KLCurve"]

_PARTS = 5


class KLCurve(Silent):
    """Is told how a training goes, shows nothing, and remembers the KL of each fifth of it.

    Args:
        steps: Training steps; at least 5.

    Example:
        >>> curve = KLCurve(steps=50)
        >>> curve.parts = [[9.0, 9.0], [9.0, 8.0], [9.0, 5.0], [9.0, 2.0], [9.0, 1.0]]
        >>> curve.falling
        (1,)
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.every = max(1, steps // _PARTS)
        self.parts: list[Sequence[float]] = []
        self._seen = 0

    def wants_update(self) -> bool:
        """At the end of each part; the loop asks after each step."""
        self._seen += 1
        return self._seen % self.every == 0

    def update(self, step: int, averages: Averages, beta: float, examples_per_second: float, skipped: int) -> None:
        self.parts.append(tuple(averages.kl))

    @property
    def falling(self) -> tuple[int, ...]:
        """Levels less than half as much in use at the end as half-way, which would be gone in as many steps again."""
        if len(self.parts) < _PARTS:
            return ()
        halfway, before, end = self.parts[len(self.parts) // 2], self.parts[-2], self.parts[-1]
        return tuple(
            level
            for level, kl in enumerate(end)
            if 2 * kl < halfway[level] and kl - (before[level] - kl) * len(self.parts) < COLLAPSED_BELOW
        )

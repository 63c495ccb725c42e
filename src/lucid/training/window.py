"""Sums of the terms of the loss over batches, gathered without waiting for the device."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lucid.objectives import Terms

__all__ = ["Averages", "Window"]


class Averages(NamedTuple):
    """Means over some examples, nats per example; `kl` is unweighted, indexed by level."""

    loss: float
    elbo: float
    reconstruction: float
    kl: list[float]


class Window:
    """Sums of `Terms` over batches. Adding costs nothing: the numbers stay on the device until someone asks for them.

    Batches whose terms are not finite are not counted: their update was left out too.

    Args:
        sums: Sums to go on from, as `state` gave them.
    """

    def __init__(self, sums: Sequence[float] = ()) -> None:
        self._sums = list(sums)
        self._waiting: list[Tensor] = []
        self._examples: list[int] = []

    def add(self, terms: Terms, examples: int) -> None:
        """Count a batch, each example with equal weight; one without examples makes the number of levels known."""
        # A copy: what a captured step leaves is overwritten by the next.
        self._waiting.append(torch.stack((terms.loss.detach(), terms.reconstruction, *terms.kl)))
        self._examples.append(examples)

    def state(self) -> list[float]:
        """The sums of loss, −log p(x|z) and each level's KL, and the number of examples; [] before the first."""
        if self._waiting:
            rows = torch.stack(self._waiting).tolist()
            sums = self._sums or [0.0] * (len(rows[0]) + 1)
            # One after the other, so that the sums do not depend on when someone asked.
            for row, count in zip(rows, self._examples, strict=True):
                if count and all(map(math.isfinite, row)):
                    sums = [total + value * count for total, value in zip(sums, [*row, 1.0], strict=True)]
            self._sums, self._waiting, self._examples = sums, [], []
        return list(self._sums)

    def averages(self, together: Callable[[Sequence[float]], list[float]] = list) -> Averages:
        """Means over all examples counted; NaN if there are none.

        Args:
            together: Sums the numbers over the processes.
        """
        *sums, count = together(self.state()) or [math.nan, math.nan, math.nan, 0.0]
        loss, reconstruction, *kl = (value / count if count else math.nan for value in sums)
        return Averages(loss, -reconstruction - sum(kl), reconstruction, kl)

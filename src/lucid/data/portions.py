"""How a pass over data is divided among processes: every batch is, so that all of them together see what one would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Pass", "Portion", "Share", "Visit"]


class Share(NamedTuple):
    """Which process's rows of every batch: number `rank` of `of` processes."""

    rank: int = 0
    of: int = 1

    def rows(self, whole: int) -> tuple[int, int]:
        """First row and end of this process's part of a batch of `whole` rows; the parts make up the batch in order."""
        return whole * self.rank // self.of, whole * (self.rank + 1) // self.of


class Portion(NamedTuple):
    """One process's rows of a batch.

    Attributes:
        x: In model space, `(rows, *shape)`; of a small last batch a process may have no row at all.
        first: Where they begin in the batch.
        whole: Rows of the batch, over all processes.
        condition: The label of each row, int64 (rows,), where labels were asked for.
    """

    x: Tensor
    first: int
    whole: int
    condition: Tensor | None = None

    def cut(self, begin: int, end: int) -> Portion:
        """Rows `begin` up to `end` of these."""
        condition = None if self.condition is None else self.condition[begin:end]
        return Portion(self.x[begin:end], self.first + begin, self.whole, condition)


class Pass(NamedTuple):
    """What one pass over a part is to give: the arguments of `Split.portions`, checked."""

    batch_size: int
    device: torch.device
    seed: int | None = None
    epoch: int = 0
    start: int = 0
    drop_last: bool = False
    share: Share = Share()
    condition: bool = False

    def rows(self, number: int, size: int) -> tuple[int, int, int, int]:
        """First and end of this process's rows of batch `number` of `size` examples, then `first` and `whole`."""
        start = number * self.batch_size
        whole = min(self.batch_size, size - start)
        first, end = self.share.rows(whole)
        return start + first, start + end, first, whole


class Visit(NamedTuple):
    """One process's rows of a batch as a split stores them.

    Attributes:
        number: Number of the batch in the epoch.
        values: Raw values.
        first: Where the rows begin in the batch.
        whole: Rows of the batch, over all processes.
        drawn: Of data that is binarised once: whether the values are the bits already.
        rows: Else which examples they belong to.
        labels: Of the rows, where they were asked for.
    """

    number: int
    values: Tensor
    first: int
    whole: int
    drawn: bool = False
    rows: Sequence[int] = ()
    labels: Tensor | None = None

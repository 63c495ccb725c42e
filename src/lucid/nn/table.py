"""What a network reads of a table: numbers, categories one-hot, and which values are missing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["TableInput"]


class TableInput(nn.Module):
    """The first layer of an encoder of tables: NaN becomes 0 and a mark, the number of a category becomes one-hot.

    Args:
        levels: Of each column its number of categories, at least 2; 0 for numbers.
        counts: Which columns hold counts, whose logarithm log(1 + x) is read.
        dropout: Fraction of the observed values that are hidden in training, as if they were missing, in [0, 1): the
            encoder learns to do without any of them. What a likelihood makes of them is not changed by it.

    Raises:
        ValueError: If an argument is outside its range.

    Attributes:
        out_features: Width of the output: a number for each column of numbers, one for each category, and a mark for
            each column, 1 where the value is there.

    Shape:
        (N, columns) to (N, out_features).

    Example:
        >>> import torch, lucid.nn as nn
        >>> layer = nn.TableInput([0, 3])
        >>> layer(torch.tensor([[0.5, 2.0], [float("nan"), 0.0]]))
        tensor([[0.5000, 0.0000, 0.0000, 1.0000, 1.0000, 1.0000],
                [0.0000, 1.0000, 0.0000, 0.0000, 0.0000, 1.0000]])
    """

    def __init__(self, levels: Sequence[int], counts: Sequence[int] = (), dropout: float = 0.0) -> None:
        super().__init__()
        if not levels or any(n == 1 or n < 0 for n in levels):
            raise ValueError(f"levels must be 0 or at least 2 for each of one or more columns; received {list(levels)}")
        if any(not 0 <= i < len(levels) or levels[i] for i in counts):
            raise ValueError(f"counts must be places of columns of numbers; received {list(counts)}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1); received {dropout}")
        self.levels = tuple(levels)
        self.counts = tuple(counts)
        self.dropout = dropout
        numbers = [i for i, n in enumerate(self.levels) if not n]
        self._others = [i for i in numbers if i not in self.counts]
        self._classes = [i for i, n in enumerate(self.levels) if n]
        self.in_features = len(self.levels)
        self.out_features = len(numbers) + sum(self.levels) + len(self.levels)

    def forward(self, x: Tensor) -> Tensor:
        there = ~x.isnan()
        if self.training and self.dropout > 0:
            there = there & (torch.rand_like(x) >= self.dropout)
        filled = torch.where(there, x, 0.0)
        parts = [filled[:, self._others], filled[:, list(self.counts)].clamp(min=0).log1p()]
        for i in self._classes:
            classes = torch.arange(self.levels[i], device=x.device, dtype=x.dtype)
            parts.append(((filled[:, i : i + 1] == classes) & there[:, i : i + 1]).to(x.dtype))
        return torch.cat([*parts, there.to(x.dtype)], dim=1)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, dropout={self.dropout:g}"

"""What varied when the data was made: the factors that a representation is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["NUM_BINS", "Factors", "equal_width_bins"]

NUM_BINS = 20
"""Bins of a continuous quantity, as the published studies have them (Locatello et al. 2019)."""

_MIN_EXAMPLES = 10


@dataclass(frozen=True)
class Factors:
    """Factors of variation, one row for each example.

    Args:
        values: (N, F), or (N,) for one factor; a tensor, an array of NumPy's or a nested list.
        names: Of the factors; by default "factor 0", "factor 1" …
        continuous: Whether each factor is a quantity rather than one of several values. By default, floating-point
            values are quantities, and integers and booleans are not.

    Raises:
        ValueError: If the shapes do not fit, there are fewer than ten examples, a value is not finite, a factor takes
            one value only, or a factor that is no quantity takes another value for almost every example.

    Example:
        >>> factors = Factors([[0, 0], [0, 1], [1, 0], [1, 1]] * 5, names=["shape", "colour"])
        >>> factors.num_factors, factors.continuous, factors.codes[:3].tolist()
        (2, (False, False), [[0, 0], [0, 1], [1, 0]])
    """

    values: Any
    names: Sequence[str] = ()
    continuous: Sequence[bool] | bool | None = None

    def __post_init__(self) -> None:
        given = torch.as_tensor(self.values).detach().cpu()
        if given.dim() not in (1, 2) or given.numel() == 0:
            raise ValueError(f"factors must be (examples, factors); received shape {tuple(given.shape)}")
        columns = given[:, None] if given.dim() == 1 else given
        count = columns.shape[1]
        continuous = given.is_floating_point() if self.continuous is None else self.continuous
        flags = (continuous,) * count if isinstance(continuous, bool) else tuple(continuous)
        names = tuple(self.names) or tuple(f"factor {i}" for i in range(count))
        for what, values in (("names", names), ("continuous", flags)):
            if len(values) != count:
                raise ValueError(f"{what} must say something of each of the {count} factors; received {len(values)}")
        object.__setattr__(self, "values", columns.double())
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "continuous", flags)
        self._check()

    @property
    def num_examples(self) -> int:
        """N."""
        return len(self.values)

    @property
    def num_factors(self) -> int:
        """F."""
        return self.values.shape[1]

    @property
    def codes(self) -> Tensor:
        """Each value as a number 0 … K − 1, (N, F) int64; quantities in `NUM_BINS` bins of equal width."""
        return torch.stack([self.code(i) for i in range(self.num_factors)], 1)

    def code(self, factor: int) -> Tensor:
        """The codes of one factor, (N,) int64, of which each that is below the greatest occurs."""
        column = self.values[:, factor]
        if self.is_continuous(factor):
            column = equal_width_bins(column[:, None])[:, 0]
        return column.unique(return_inverse=True)[1]

    def is_continuous(self, factor: int) -> bool:
        """Whether a factor is a quantity."""
        assert isinstance(self.continuous, tuple), "the constructor has said it of each"
        return self.continuous[factor]

    def take(self, rows: Tensor) -> Factors:
        """The factors of some examples."""
        return Factors(self.values[rows], self.names, self.continuous)

    def _check(self) -> None:
        if self.num_examples < _MIN_EXAMPLES:
            raise ValueError(f"factors need at least {_MIN_EXAMPLES} examples; received {self.num_examples}")
        if not bool(self.values.isfinite().all()):
            raise ValueError("factors must be finite; received NaN or infinity: leave out the examples they are of")
        for i, name in enumerate(self.names):
            met = len(self.values[:, i].unique())
            if met < 2:
                raise ValueError(f"{name} takes one value only, which no representation can tell: leave it out")
            if not self.is_continuous(i) and met > self.num_examples // 2:
                raise ValueError(
                    f"{name} takes {met:,} values over {self.num_examples:,} examples, too many to learn from examples "
                    "of each: if it is a quantity, say so with continuous="
                )


def equal_width_bins(values: Tensor, num_bins: int = NUM_BINS) -> Tensor:
    """Each column in bins of equal width between its least and its greatest value.

    Args:
        values: (N, U).
        num_bins: How many.

    Returns:
        (N, U) int64 in 0 … num_bins − 1; a constant column is in one bin.
    """
    values = values.double()
    low, high = values.amin(0), values.amax(0)
    steps = torch.arange(num_bins, dtype=torch.float64)
    edges = steps * ((high - low) / num_bins)[:, None] + low[:, None]  # rounded as NumPy's histogram rounds
    bins = torch.searchsorted(edges, values.T.contiguous(), right=True).T - 1
    return torch.where(high > low, bins, 0)

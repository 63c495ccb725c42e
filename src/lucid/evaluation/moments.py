"""Mean and variance of a stream, in one pass, in float64, in the memory of one value."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["Moments"]


class Moments:
    r"""The running mean and variance of values that arrive in batches; each value may have any shape.

    Batches are merged by their own means, so that no sum of squares is ever cancelled against another:

    .. math:: M_2 \leftarrow M_2^a + M_2^b + (\bar x^b - \bar x^a)^2 \, \frac{n_a n_b}{n_a + n_b}

    Chan, Golub, LeVeque: Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979,
    http://i.stanford.edu/pub/cstr/reports/cs/tr/79/773/CS-TR-79-773.pdf.

    Attributes:
        count: Values seen.
        mean: Their mean, float64, on the CPU; NaN before the first.

    Example:
        >>> import torch
        >>> moments = Moments()
        >>> moments.add(torch.tensor([1.0, 2.0]))
        >>> moments.add(torch.tensor([6.0]))
        >>> moments.count, moments.mean.item(), moments.variance.item()
        (3, 3.0, 7.0)
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.tensor(math.nan, dtype=torch.float64)
        self._squares = torch.zeros((), dtype=torch.float64)

    @classmethod
    def unpacked(cls, count: int, mean: Tensor, squares: Tensor) -> Moments:
        """Those that `packed` wrote down."""
        moments = cls()
        moments.count, moments.mean, moments._squares = count, mean, squares
        return moments

    def packed(self) -> tuple[int, Tensor, Tensor]:
        """All there is to know: count, mean, and sum of squared deviations."""
        return self.count, self.mean, self._squares

    def add(self, values: Tensor) -> None:
        """Add a batch of values, (B, ...)."""
        values = values.detach().cpu().double()
        mean = values.mean(0)
        self._join(values.shape[0], mean, (values - mean).square().sum(0))

    def merge(self, others: Moments) -> None:
        """Add all values that others have seen: what adding them as one batch would do."""
        if others.count:
            self._join(others.count, others.mean, others._squares)

    def _join(self, added: int, mean: Tensor, squares: Tensor) -> None:
        if self.count:
            total = self.count + added
            gap = mean - self.mean
            mean = self.mean + gap * (added / total)
            squares = self._squares + squares + gap.square() * (self.count * added / total)
        self.count += added
        self.mean = mean
        self._squares = squares

    @property
    def variance(self) -> Tensor:
        """Unbiased variance (divisor n − 1); NaN for fewer than two values."""
        return self._squares / (self.count - 1) if self.count > 1 else torch.full_like(self.mean, math.nan)

    @property
    def standard_error(self) -> Tensor:
        """Standard error of the mean; NaN for fewer than two values."""
        return (self.variance / max(self.count, 1)).sqrt()

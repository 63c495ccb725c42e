"""A latent under a Gaussian with a full covariance: number by number, each given those before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lucid.codec.coding.exact import Floats, Ints
from lucid.codec.coding.gaussian import GaussianCode
from lucid.codec.coding.stack import Stack, Symbols

__all__ = ["FullGaussian", "FullGaussianCode", "GridNumbers"]

_MOST_NOISE = 1e4


class FullGaussian:
    r"""N(loc, L Lᵀ) as `FullCovarianceGaussian` has it, one conditional after another.

    With :math:`n_i = \sqrt{1 + \sum_{j<i} a_{ij}^2}` and standard normal noise e,
    :math:`z_i = \mu_i + \sigma_i (e_i + \sum_{j<i} a_{ij} e_j) / n_i`.

    Args:
        loc: μ, (n, D).
        scale: Marginal standard deviations σ, (n, D).
        lower: a, (n, D, D), of which what lies strictly below the diagonal is read.
    """

    def __init__(self, loc: Floats, scale: Floats, lower: Floats) -> None:
        self._loc = loc
        self._lower = np.tril(lower, -1)
        # Accumulated, not summed: one addition after the other, in one order on every machine.
        squares = np.add.accumulate(self._lower * self._lower, axis=-1)[..., -1]
        self.std = scale / np.sqrt(1.0 + squares)
        self._noise = np.zeros_like(loc)

    def mean(self, i: int) -> Floats:
        """Of number i given those before it, (n,)."""
        told = np.add.accumulate(self._lower[:, i] * self._noise, axis=-1)[:, -1]
        return self._loc[:, i] + self.std[:, i] * told

    def tell(self, i: int, mean: Floats, z: Floats) -> None:
        """That number i is z, (n,)."""
        self._noise[:, i] = np.clip((z - mean) / self.std[:, i], -_MOST_NOISE, _MOST_NOISE)


class GridNumbers(NamedTuple):
    """Grids of D numbers.

    Attributes:
        centre: (n, D).
        step: (n, D).
        half: The greatest integers, (D,).
    """

    centre: Floats
    step: Floats
    half: Ints


class FullGaussianCode:
    """Integers on grids under a Gaussian with a full covariance, flattened from (n, D).

    Args:
        gaussian: The Gaussian, of whose numbers none has been told yet.
        grid: Where the integers lie.
    """

    def __init__(self, gaussian: FullGaussian, grid: GridNumbers) -> None:
        self._gaussian = gaussian
        self._grid = grid

    def push(self, stack: Stack, symbols: Symbols) -> None:
        table = symbols.reshape(self._grid.centre.shape)
        codes: list[GaussianCode] = []
        for i, mean, code in self._conditionals():
            self._tell(i, mean, table[:, i])
            codes.append(code)
        for i in reversed(range(len(codes))):
            codes[i].push(stack, np.ascontiguousarray(table[:, i]))

    def pop(self, stack: Stack) -> Symbols:
        table = np.empty(self._grid.centre.shape, dtype=np.int32)
        for i, mean, code in self._conditionals():
            table[:, i] = code.pop(stack)
            self._tell(i, mean, table[:, i])
        return table.reshape(-1)

    def _conditionals(self) -> Iterator[tuple[int, Floats, GaussianCode]]:
        """Number, mean and code of each given those before it, which must have been told by then."""
        grid = self._grid
        for i, half in enumerate(grid.half.tolist()):
            mean = self._gaussian.mean(i)
            cells = (mean - grid.centre[:, i]) / grid.step[:, i]
            yield i, mean, GaussianCode(cells, self._gaussian.std[:, i] / grid.step[:, i], half)

    def _tell(self, i: int, mean: Floats, symbols: Symbols) -> None:
        self._gaussian.tell(i, mean, self._grid.centre[:, i] + symbols * self._grid.step[:, i])

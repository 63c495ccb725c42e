"""Numbers on a grid under Gaussians: the latents."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import numpy as np

from lucid.codec.coding.exact import Floats, exp
from lucid.codec.coding.stack import STREAM, Stack, Symbols

__all__ = ["GaussianCode", "StandardCode", "standard_masses"]

_LEAST_STD = 0.125
"""In cells. A narrower Gaussian holds but one cell anyway, and constriction's loses its way in it."""

_TABLES = 64
"""Kept at a time. A codec has a few; those of many codecs must not pile up."""


@cache
def _family(half: int) -> Any:
    return STREAM.model.QuantizedGaussian(-half, half)


class GaussianCode:
    """Integers in ±half, each under a Gaussian of its own.

    Args:
        mean: In cells, (M,). Outside the grid it is held to its end.
        std: Likewise; at most half the grid.
        half: The greatest integer.
    """

    def __init__(self, mean: Floats, std: Floats, half: int) -> None:
        self._family = _family(half)
        self._mean = np.clip(mean, -half, half)
        self._std = np.clip(std, _LEAST_STD, half)

    def push(self, stack: Stack, symbols: Symbols) -> None:
        stack.push(symbols, self._family, self._mean, self._std)

    def pop(self, stack: Stack) -> Symbols:
        return stack.pop(len(self._mean), self._family, self._mean, self._std)


@lru_cache(_TABLES)
def standard_masses(half: int, step: float) -> Floats:
    """Masses of the cells −half … half, `step` wide, under N(0, 1), to a common factor: densities at their centres."""
    at = np.arange(-half, half + 1, dtype=np.float64) * step
    return exp(-0.5 * at * at)


@lru_cache(_TABLES)
def _standard(half: int, step: float) -> Any:
    return STREAM.model.Categorical(standard_masses(half, step), perfect=False)


class StandardCode:
    """Integers in ±half under N(0, 1).

    Args:
        count: How many, M.
        half: The greatest integer.
        step: The width of a cell.
    """

    def __init__(self, count: int, half: int, step: float) -> None:
        self._model = _standard(half, step)
        self._count = count
        self._half = half

    def push(self, stack: Stack, symbols: Symbols) -> None:
        stack.push(symbols + np.int32(self._half), self._model)

    def pop(self, stack: Stack) -> Symbols:
        return stack.pop(self._count, self._model) - np.int32(self._half)

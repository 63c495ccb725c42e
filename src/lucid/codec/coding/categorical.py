"""One of a few symbols, each with a mass of its own."""

from __future__ import annotations

from functools import cache

import numpy as np

from lucid.codec.coding.bits import DECISIONS
from lucid.codec.coding.code import Code, PartedCode
from lucid.codec.coding.exact import Floats, exp
from lucid.codec.coding.stack import Stack, Symbols

__all__ = ["RowCode", "categorical_code", "relative_masses"]

_RESOLUTION, _REACH = 256, 32
"""Steps of a table of the exponential in a nat, and where it ends: below the least mass of the coder."""
_PART = 1 << 17


@cache
def _decay() -> Floats:
    return exp(-np.arange(_REACH * _RESOLUTION + 1, dtype=np.float64) / _RESOLUTION)


def relative_masses(logits: Floats) -> Floats:
    """Masses, (M, L), of unnormalised log-masses, (M, L), in units of the greatest of their row."""
    index = logits.max(axis=1, keepdims=True) - logits
    index *= _RESOLUTION
    index += 0.5
    # Before the cast: what a number beyond int64 becomes differs between processors.
    np.minimum(index, _REACH * _RESOLUTION, out=index)
    return np.take(_decay(), index.astype(np.int64), mode="clip")


class RowCode:
    """Symbols 0 … L − 1.

    Args:
        masses: (M, L), of each row one greater than 0; rows need not sum to one.
    """

    def __init__(self, masses: Floats) -> None:
        self._masses = np.ascontiguousarray(masses)

    def push(self, stack: Stack, symbols: Symbols) -> None:
        stack.push(symbols, DECISIONS, self._masses)

    def pop(self, stack: Stack) -> Symbols:
        return stack.pop(len(self._masses), DECISIONS, self._masses)


def categorical_code(logits: Floats) -> Code:
    """The code of symbols 0 … L − 1 with the given unnormalised log-masses, (M, L)."""
    rows = max(1, _PART // logits.shape[1])
    return PartedCode(len(logits), rows, lambda where: RowCode(relative_masses(logits[where])))

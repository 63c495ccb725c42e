"""Yes-or-no decisions, the cheapest symbols there are."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from lucid.codec.coding.exact import Floats, sigmoid_table
from lucid.codec.coding.stack import STREAM, Stack, Symbols

__all__ = ["DECISIONS", "BernoulliCode"]

DECISIONS = STREAM.model.Categorical(perfect=False)
"""Symbols with a row of masses each. For two symbols it is three times as fast as the family of Bernoulli models."""

_RESOLUTION, _REACH = 128, 18
"""Steps of a table of σ in a unit of log-odds, and where it ends. A step of 1/128 costs less than 10⁻⁶ nats a decision;
σ(−18) is below the least mass of the coder."""


@cache
def _rows() -> NDArray[np.complex128]:
    """The masses of 0 and 1 at every step; a row is taken in one piece as if it were a complex number."""
    one = sigmoid_table(_RESOLUTION, _REACH, 50)
    return np.stack([1.0 - one, one], axis=-1).view(np.complex128)[:, 0]


class BernoulliCode:
    """Zeros and ones.

    Args:
        logits: Log-odds of 1, (M,).
    """

    def __init__(self, logits: Floats) -> None:
        index = logits * _RESOLUTION
        index += _REACH * _RESOLUTION + 0.5
        # Before the cast: what a number beyond int64 becomes differs between processors.
        np.clip(index, 0.0, 2.0 * _REACH * _RESOLUTION, out=index)
        self._masses = np.take(_rows(), index.astype(np.int64), mode="clip").view(np.float64).reshape(-1, 2)

    def push(self, stack: Stack, symbols: Symbols) -> None:
        stack.push(symbols, DECISIONS, self._masses)

    def pop(self, stack: Stack) -> Symbols:
        return stack.pop(len(self._masses), DECISIONS, self._masses)

"""Random numbers that encoder and decoder both know: what collapsed latents are made of."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from lucid.codec.coding.exact import Floats
from lucid.codec.coding.gaussian import standard_masses

__all__ = ["shared_normal"]

_HALF, _STEP = 512, 1.0 / 64
_UNSIGNED = NDArray[np.uint64]


def shared_normal(level: int, elements: NDArray[np.int64], first: int, rows: int) -> Floats:
    """Draws from N(0, 1), on a grid of 1/64, that depend on the place of a number alone.

    Args:
        level: Of the latent.
        elements: Places in one example, (D,).
        first: Number of the first example in its block.
        rows: Examples.

    Returns:
        (rows, D).
    """
    examples = np.arange(first, first + rows, dtype=np.uint64)[:, None]
    counter = (examples << np.uint64(32)) ^ (elements.astype(np.uint64) << np.uint64(8)) ^ np.uint64(level)
    uniform = (_mixed(_mixed(counter)) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    upto = _cumulative()
    return (np.searchsorted(upto, uniform * upto[-1], side="right") - _HALF) * _STEP


@cache
def _cumulative() -> Floats:
    return np.cumsum(np.rint(standard_masses(_HALF, _STEP) * 2.0**40))


def _mixed(x: _UNSIGNED) -> _UNSIGNED:
    """The finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))

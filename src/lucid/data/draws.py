"""Draws that are made once: each number a pure function of the example it belongs to, in whatever order it is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["uniform"]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def uniform(purpose: tuple[int | str, ...], rows: Sequence[int] | Tensor, num_features: int) -> Tensor:
    """Uniform numbers in [0, 1) for some examples, float32 `(len(rows), num_features)`.

    A counter-based generator: SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators",
    2014, https://doi.org/10.1145/2660193.2660195), started from a hash of the purpose and evaluated at
    row · num_features + feature. So an example's numbers are the same whether it lies in memory, in a file or in a
    stream, and whatever is asked beside it.

    Args:
        purpose: What the numbers are for, for instance (seed, "binarise", "test").
        rows: Numbers of the examples.
        num_features: Numbers of each.
    """
    digest = hashlib.blake2b(repr(purpose).encode(), digest_size=8).digest()
    numbers = np.asarray(rows, dtype=np.int64).astype(np.uint64)
    state = numbers[:, None] * np.uint64(num_features) + np.arange(1, num_features + 1, dtype=np.uint64)
    state *= _STEP
    state += np.uint64(int.from_bytes(digest, "little"))
    shifted = np.empty_like(state)
    for shift, factor in _ROUNDS:
        np.right_shift(state, np.uint64(shift), out=shifted)
        state ^= shifted
        state *= np.uint64(factor)
    np.right_shift(state, np.uint64(31), out=shifted)
    state ^= shifted
    # The upper 24 bits: as many as a float32 in [0, 1) holds evenly.
    state >>= np.uint64(40)
    return torch.from_numpy(state.astype(np.float32) * np.float32(2**-24))

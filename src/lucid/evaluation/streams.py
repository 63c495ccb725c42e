"""Streams of random numbers that are told apart by what they are for."""

from __future__ import annotations

import hashlib

import torch

__all__ = ["stream_of"]


def stream_of(device: torch.device | str, *key: int | str) -> torch.Generator:
    """A generator of its own for a key, such as (seed, "chains", 3).

    PyTorch's generator on the CPU keeps the low 32 bits of what it is seeded with, so seed + 2³² would be the stream of
    `seed` again. Here all of the key is hashed to 32 bits; two of n keys meet with a probability of about n²/2³³.

    Args:
        device: Of the generator.
        key: What the stream is for; 1 and "1" are different.

    Example:
        >>> import torch
        >>> one, other, again = (stream_of("cpu", seed, "pilot").initial_seed() for seed in (0, 2**32, 0))
        >>> one == again, one == other
        (True, False)
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=4).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "little"))

"""What data is, in sixteen hexadecimal digits: cheap enough to be taken at every start of a run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

__all__ = ["fingerprint", "sampled_rows"]

_EXAMPLES = 4096
_BYTES = 1 << 25  # hashed of one part: about 20 ms
_BLOCK = 1 << 23


def fingerprint(said: Iterable[object], values: Iterable[Tensor]) -> str:
    """A hash over facts and values.

    Args:
        said: Facts, each with a `repr` that says it.
        values: Tensors; their shapes, types and bytes count.
    """
    digest = hashlib.sha256(repr(tuple(said)).encode())
    for x in values:
        digest.update(repr((tuple(x.shape), str(x.dtype))).encode())
        digest.update(memoryview(x.detach().cpu().reshape(-1).view(torch.uint8).numpy()))  # pyright: ignore[reportArgumentType]
    return digest.hexdigest()[:16]


def sampled_rows(size: int, example_bytes: int, read: Callable[[Tensor], Tensor]) -> tuple[Tensor, Iterable[Tensor]]:
    """Which of `size` examples are hashed, and their values in pieces.

    All of them if they make at most 32 MiB; else up to 4,096, evenly spaced, of at most that many bytes.

    Args:
        size: Number of examples.
        example_bytes: Bytes of each.
        read: Gives the values of some examples, by their place in the part.
    """
    affordable = _BYTES // max(example_bytes, 1)
    count = size if size <= affordable else max(1, min(_EXAMPLES, affordable))
    places = torch.linspace(0, max(size - 1, 0), count, dtype=torch.float64).round().long()
    return places, (read(some) for some in places.split(max(1, _BLOCK // max(example_bytes, 1))) if len(some))

"""What is asked of the computer while a model trains, and given back afterwards."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Generator
from contextlib import contextmanager

import torch

__all__ = ["keep_large_blocks", "without_denormals"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT = 1 << 30
_OWN_SETTINGS = ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")


def keep_large_blocks() -> bool:
    """Have glibc's allocator keep freed blocks of up to 1 GiB, in the place of returning each to the system.

    A training step frees and asks again for the same large tensors; given back, every page of them faults and is
    zeroed anew at each step: 20,000 page faults a step of a small convolutional net, a third of its time. It stays so
    after training, since glibc's own moving threshold cannot be turned on again. Whoever has set the allocator by
    glibc's environment variables has decided already: then nothing is changed.

    Returns:
        Whether it was done; not without glibc.
    """
    if any(name in os.environ for name in _OWN_SETTINGS):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc; on Windows there is no library named None
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _KEPT)) and bool(mallopt(_M_TRIM_THRESHOLD, _KEPT))


@contextmanager
def without_denormals() -> Generator[None]:
    """Numbers too small for full precision count as 0: the moments of weights that no longer change become such.

    Arithmetic on them is many times slower. Afterwards they count again, if they did before.
    """
    flushed = _denormals_count() and torch.set_flush_denormal(True)
    try:
        yield
    finally:
        if flushed:
            torch.set_flush_denormal(False)


def _denormals_count() -> bool:
    return (torch.tensor(2e-40) * 0.5).view(torch.int32).item() != 0

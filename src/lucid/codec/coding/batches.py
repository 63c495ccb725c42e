"""How a block is cut into batches: small at first, since each takes its first bits from those before it."""

from __future__ import annotations

from itertools import pairwise

__all__ = ["batch_slices"]


def batch_slices(n: int, divisor: int, most: int) -> list[slice]:
    """Batches of n examples, each at most 1/divisor of those before it, at least 1, at most `most`.

    Example:
        >>> [batch.stop - batch.start for batch in batch_slices(40, 2, 8)]
        [1, 1, 1, 1, 2, 3, 4, 6, 8, 8, 5]
    """
    starts = [0]
    while starts[-1] < n:
        starts.append(min(n, starts[-1] + max(1, min(most, starts[-1] // divisor))))
    return [slice(*ends) for ends in pairwise(starts)]

"""From which example on a weak latent is coded: a young stack cannot pay for everything."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lucid.codec.coding.exact import Flags, Floats

__all__ = ["DRAWN", "ENTRIES", "PACE", "drawn", "entered", "marks_of"]

ENTRIES = (*range(1, 8), *(step << octave for octave in range(1, 7) for step in range(4, 8)), 512)
"""Examples that must be on the stack for each example of a batch before the numbers of a tier are coded in it."""
PACE = 8
"""A pace of 8 takes these as they are; what an encoder writes is how many eighths of them it needed."""
DRAWN = 1
"""The mark of what is always drawn by both sides; 0 is always coded, and DRAWN + t coded once t tiers have entered."""
_TOGETHER = 5.0
"""What numbers cost that are drawn together, in units of what they cost one by one: 2 to 5 were measured."""
_FREE = 56.0
"""Bits that may be popped off the shortest seed."""


def entered(first: int, rows: int, pace: int) -> int:
    """How many tiers have entered in a batch of `rows` examples after `first` others."""
    return sum(PACE * first >= pace * rows * entry for entry in ENTRIES)


def drawn(marks: NDArray[np.uint8], tiers: int) -> Flags:
    """What both sides draw, and do not code, once `tiers` tiers have entered."""
    return (marks == DRAWN) | (marks > DRAWN + tiers)


def marks_of(cost: Floats, popped: Floats, added: float) -> NDArray[np.uint8]:
    """The marks of numbers that are coded sooner or later: 0, or DRAWN and the tier.

    What gains most for each bit that it pops comes first, and each number as soon as the stack can pay for it and all
    before it; or at once, on a seed so much longer, where to wait would cost more than that.

    Args:
        cost: What to draw a number and not to code it costs in each example, bits, (M,); infinite if it is impossible.
        popped: Bits that an example pops off the stack for it, (M,).
        added: Bits that an example adds to the stack in the end.
    """
    cost = _TOGETHER * cost
    marks = np.zeros(len(cost), dtype=np.uint8)
    before, seed = 0.0, _FREE
    for place in np.argsort(-cost / np.maximum(popped, 1e-9), kind="stable"):
        before += popped[place]
        tier = _tier(float(before - seed) / max(added, 1.0), ENTRIES)
        if tier and cost[place] * ENTRIES[tier - 1] < popped[place]:
            marks[place] = DRAWN + tier
        elif tier:
            seed = before
    return marks


def _tier(examples: float, entries: Sequence[int]) -> int:
    """The first tier that waits for so many examples, or the last; 0 if none need be waited for."""
    if examples <= 0:
        return 0
    return next((tier for tier, entry in enumerate(entries, 1) if entry >= math.ceil(examples)), len(entries))

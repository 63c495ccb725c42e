"""Where a distribution's random numbers come from."""

from __future__ import annotations

from typing import NamedTuple

from torch import Generator

__all__ = ["Rows", "Stream"]


class Rows(NamedTuple):
    """A part of a batch that draws the numbers it would have drawn within the whole batch.

    So the processes that share a batch, or the parts of it that are computed one after the other, draw what one
    process would draw at once. A distribution of PyTorch's own kind, which knows nothing of it, draws numbers that
    depend on `first` instead: each part other ones, the same each time.

    Where several draws of each row are laid out draw-major along the batch, `draws` says how many.

    Attributes:
        generator: The stream of random numbers, in the same state for every part.
        first: Where the part begins.
        whole: Rows of the whole batch.
        draws: Draws of each row that are rows of a distribution's batch.
    """

    generator: Generator
    first: int
    whole: int
    draws: int = 1


Stream = Generator | Rows | None
"""Where random numbers come from; None is PyTorch's global stream."""

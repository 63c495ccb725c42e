"""The order of a pass over shards: a pure function of (seed, epoch), worked out a block at a time at any position."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from lucid.data.seeds import generator

__all__ = ["Addresses", "Integers", "Order"]

Integers = np.ndarray[Any, np.dtype[np.int64]]


class Addresses(NamedTuple):
    """Where examples lie.

    Attributes:
        pieces: Number of the piece of each.
        rows: Row of each in its piece.
    """

    pieces: Integers
    rows: Integers

    def cut(self, first: int, end: int) -> Addresses:
        """Those from place `first` up to `end`."""
        return Addresses(self.pieces[first:end], self.rows[first:end])


class Order:
    """One pass over the examples of many pieces (tar shards, or row groups of parquet shards).

    With a seed, the pieces are permuted, and of the row of examples this gives, each block of `buffer` is permuted by
    itself. Any block can be worked out without those before it. What is held grows with the number of pieces and with
    the buffer, not with the number of examples.

    Args:
        counts: Examples of each piece; zeros are fine.
        buffer: Examples in a block.
        seed: None for the stored order.
        epoch: Number of the pass.
    """

    def __init__(self, counts: Integers, buffer: int, seed: int | None, epoch: int) -> None:
        self.buffer = buffer
        self._seed = seed
        self._epoch = epoch
        source = None if seed is None else generator(seed, "pieces", epoch)
        whole = torch.arange(len(counts)) if source is None else torch.randperm(len(counts), generator=source)
        self._pieces: Integers = whole.numpy()
        # Of the permuted pieces: where each ends, and begins, among all examples.
        self._ends: Integers = np.cumsum(counts[self._pieces], dtype=np.int64)
        self._starts: Integers = self._ends - counts[self._pieces]
        self.size = int(self._ends[-1]) if len(counts) else 0

    def block(self, number: int) -> Addresses:
        """The examples of one block, in their order."""
        first = number * self.buffer
        positions = np.arange(first, min(first + self.buffer, self.size))
        if self._seed is not None:
            source = generator(self._seed, "block", self._epoch, number)
            positions = positions[torch.randperm(len(positions), generator=source).numpy()]
        # The first piece that ends after the position: one without examples never is.
        places = np.searchsorted(self._ends, positions, side="right")
        return Addresses(self._pieces[places], positions - self._starts[places])

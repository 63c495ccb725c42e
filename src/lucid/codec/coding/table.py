"""Tables: to each kind of columns its own code, and where values are missing, which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lucid.codec.coding.bits import DECISIONS
from lucid.codec.coding.code import Code, Run
from lucid.codec.coding.data import data_code
from lucid.codec.coding.exact import Flags, Floats
from lucid.codec.coding.stack import STREAM, Stack, Symbols
from lucid.codec.layout import Described

__all__ = ["MissingCounts", "TableCode"]


class MissingCounts:
    """How many values each column of a block misses: what the codes of its batches take their probabilities from.

    Args:
        counts: By column.
        n: Examples in the block.
    """

    def __init__(self, counts: Symbols, n: int) -> None:
        self.counts = counts
        self.n = n

    @classmethod
    def of(cls, levels: Symbols) -> MissingCounts:
        """Of the levels of a block, (n, columns), −1 where a value is missing."""
        return cls((levels < 0).sum(0).astype(np.int32), len(levels))

    def push(self, stack: Stack) -> None:
        """One bit for each column, and where it misses any, log2 n for how many."""
        some = self.counts > 0
        self._push_counts(stack, self.counts[some] - np.int32(1))
        stack.push(some.astype(np.int32), STREAM.model.Uniform(2))

    @classmethod
    def pop(cls, stack: Stack, columns: int, n: int) -> MissingCounts:
        """What `push` pushed."""
        counts = stack.pop(columns, STREAM.model.Uniform(2))
        some = counts > 0
        if n > 1 and some.any():
            counts[some] += stack.pop(int(some.sum()), STREAM.model.Uniform(n))
        return cls(counts, n)

    def _push_counts(self, stack: Stack, less_one: Symbols) -> None:
        if self.n > 1 and len(less_one):
            stack.push(less_one, STREAM.model.Uniform(self.n))


class TableCode:
    """Rows of a table, flattened; −1 stands for a missing value.

    Args:
        run: An evaluation of the network.
        described: The likelihood, with the columns of each part in its settings.
        rows: Rows n of this batch.
        missing: Of the whole block.
    """

    def __init__(self, run: Run, described: Described, rows: int, missing: MissingCounts) -> None:
        self._run = run
        self._parts = described.parts
        self._columns: Sequence[Sequence[int]] = described.settings["columns"]
        self._shape = (rows, len(missing.counts))
        self._missing = missing
        self._incomplete = np.flatnonzero(missing.counts)

    def push(self, stack: Stack, symbols: Symbols) -> None:
        table = symbols.reshape(self._shape)
        there = table >= 0
        for number in reversed(range(len(self._parts))):
            part = table[:, self._columns[number]].reshape(-1)
            keep = there[:, self._columns[number]].reshape(-1)
            self._part(number, keep).push(stack, part[keep])
        if len(self._incomplete):
            stack.push((~there[:, self._incomplete]).astype(np.int32).reshape(-1), DECISIONS, self._mask_rows())

    def pop(self, stack: Stack) -> Symbols:
        table = np.full(self._shape, -1, dtype=np.int32)
        there = np.ones(self._shape, dtype=np.bool)
        if len(self._incomplete):
            rows = self._mask_rows()
            there[:, self._incomplete] = stack.pop(len(rows), DECISIONS, rows).reshape(self._shape[0], -1) == 0
        for number, columns in enumerate(self._columns):
            keep = there[:, columns].reshape(-1)
            part = np.full(len(keep), -1, dtype=np.int32)
            part[keep] = self._part(number, keep).pop(stack)
            table[:, columns] = part.reshape(self._shape[0], -1)
        return table.reshape(-1)

    def _part(self, number: int, keep: Flags) -> Code:
        return data_code(self._run, self._parts[number], self._shape[0], None if keep.all() else keep)

    def _mask_rows(self) -> Floats:
        """Masses of present and missing, row by row over the columns that miss any."""
        missing = self._missing.counts[self._incomplete].astype(np.float64)
        return np.tile(np.stack([self._missing.n - missing, missing], axis=-1), (self._shape[0], 1))

"""Shards, tar archives or parquet files, as one row of examples that are read where they lie."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lucid.data.ahead import ahead
from lucid.data.counting import count_all
from lucid.data.fingerprint import fingerprint
from lucid.data.found import Kind, Options
from lucid.data.layout import arrange
from lucid.data.order import Addresses, Integers, Order
from lucid.data.parquet_shards import ParquetReader
from lucid.data.portions import Pass, Visit
from lucid.data.split import Part, Split
from lucid.data.tar_shards import TarReader
from lucid.data.values import as_tensor, conform
from lucid.models import DataProtocol

__all__ = ["DEFAULT_BUFFER", "DEFAULT_WORKERS", "ShardedSplit", "Shards"]

DEFAULT_BUFFER = 8192
DEFAULT_WORKERS = 2

_LOOKED_AT = 16  # examples that a fingerprint reads


class Piece(Protocol):
    """What is opened at once, and read by any number of threads: a tar shard, or a row group of a parquet shard."""

    def read(self, rows: Integers) -> np.ndarray[Any, Any]:
        """The examples with these numbers, stacked."""
        ...


class Reader(Protocol):
    """One format of shards; see `TarReader`."""

    kind: Kind | None
    layout: str | None
    levels: int | None
    columns: tuple[str, ...]
    purpose: str

    def counts(self, path: Path) -> list[int]:
        """Examples in each piece of a shard."""
        ...

    def piece(self, path: Path, number: int) -> Piece:
        """One piece of a shard."""
        ...


class Shards:
    """Files that together hold many examples.

    What is kept of them is the number of examples in each piece, and what the last pieces read need.

    Attributes:
        reader: Reads one piece.
        counts: Examples of each piece.
        name: What to call the data: the name of the folder.

    Args:
        paths: The files, of one format, in the order in which they are stored.
        options: Those of `load`.

    Raises:
        ValueError: If a shard is damaged or differs from the first, or there is no example.
    """

    def __init__(self, paths: Sequence[Path], options: Options) -> None:
        self._paths = list(paths)
        self.reader: Reader = (TarReader if self._paths[0].suffix == ".tar" else ParquetReader)(self._paths, options)
        counted = count_all(self._paths, self.reader.purpose, self.reader.counts)
        self.counts: Integers = np.array(list(itertools.chain.from_iterable(counted)), np.int64)
        self._starts: Integers = np.cumsum(self.counts) - self.counts
        # Of every piece its file, and its number in it.
        self._files = np.repeat(np.arange(len(counted)), [len(one) for one in counted])
        self._numbers = np.concatenate([np.arange(len(one)) for one in counted])
        self.name = self._paths[0].absolute().parent.name

    def __len__(self) -> int:
        return int(self.counts.sum())

    def piece(self, number: int) -> Piece:
        """A piece, to be read from."""
        return self.reader.piece(self._paths[self._files[number]], int(self._numbers[number]))

    def rows_of(self, addresses: Addresses) -> Integers:
        """Their numbers among all examples, in the order they are stored in."""
        return self._starts[addresses.pieces] + addresses.rows

    def read(self, addresses: Addresses, pieces: dict[int, Piece]) -> np.ndarray[Any, Any]:
        """Examples, stacked in the given order.

        Args:
            addresses: Where at least one lies.
            pieces: The pieces they lie in.
        """
        found: np.ndarray[Any, Any] | None = None
        for number in np.unique(addresses.pieces).tolist():
            here = addresses.pieces == number
            values = pieces[number].read(addresses.rows[here])
            if found is None:
                found = np.empty((len(addresses.rows), *values.shape[1:]), values.dtype)
            if values.shape[1:] != found.shape[1:]:
                raise ValueError(
                    f"examples of shape {values.shape[1:]} in {self._paths[self._files[number]].name!r} and of shape "
                    f"{found.shape[1:]} before: all must be alike"
                )
            found[here] = values
        assert found is not None
        return found

    def some(self, rows: Integers) -> Tensor:
        """Raw values of a few examples by their numbers, as they are stored."""
        places = np.searchsorted(np.cumsum(self.counts), rows, side="right")
        pieces = {number: self.piece(number) for number in np.unique(places).tolist()}
        return as_tensor(self.read(Addresses(places, rows - self._starts[places]), pieces), "the shards")


class ShardedSplit(Split):
    """Examples read from shards as they are needed.

    The order of a training pass is a pure function of (seed, epoch): the shards (row groups, of parquet) are permuted,
    then the examples of each block of `shuffle_buffer` consecutive ones. It does not depend on the number of processes
    or threads, and can be taken up at any batch without reading what came before. Labels are not read.

    Args:
        protocol: How raw values became model values.
        part: Which part it is.
        shards: Where the examples are.
        shuffle_buffer: Examples in a block.
        workers: Threads that read ahead; 0 reads when a batch is asked for.
    """

    def __init__(
        self,
        protocol: DataProtocol,
        part: Part,
        shards: Shards,
        shuffle_buffer: int = DEFAULT_BUFFER,
        workers: int = DEFAULT_WORKERS,
    ) -> None:
        super().__init__(protocol, part, len(shards))
        self._shards = shards
        self._buffer = shuffle_buffer
        self._workers = workers

    @property
    def raw(self) -> Tensor:
        """Never held whole.

        Raises:
            TypeError: Always.
        """
        raise TypeError("shards are read batch by batch and never held whole; use batches() and protocol.to_data")

    def fingerprint(self) -> str:
        """A short hash: of the sizes, and the values of sixteen evenly spaced examples."""
        rows = np.unique(np.linspace(0, len(self) - 1, _LOOKED_AT).round().astype(np.int64))
        return fingerprint([*self._facts(), rows.tolist()], [self._conforming(self._shards.some(rows))])

    def _visits(self, run: Pass) -> Iterator[Visit]:
        jobs = self._jobs(run)
        if not self._workers:
            return (job() for job in jobs)
        return ahead(jobs, depth=2 * self._workers, threads=self._workers)

    def _jobs(self, run: Pass) -> Iterator[Any]:
        """The reading of each batch, with the pieces it needs; the pieces of the last block stay open for the next."""
        order = Order(self._shards.counts, self._buffer, run.seed, run.epoch)
        current, block, pieces = 0, order.block(0), dict[int, Piece]()
        for number in range(run.start, self.num_batches(run.batch_size, drop_last=run.drop_last)):
            begin, end, first, whole = run.rows(number, len(self))
            wanted: list[tuple[Addresses, dict[int, Piece]]] = []
            while begin < end:
                k, offset = divmod(begin, self._buffer)
                if k != current or not pieces:
                    current, block = k, order.block(k)
                    needed = np.unique(block.pieces).tolist()
                    pieces = {piece: pieces.get(piece) or self._shards.piece(piece) for piece in needed}
                wanted.append((block.cut(offset, offset + end - begin), pieces))
                begin += len(wanted[-1][0].rows)
            yield partial(self._visit, number, wanted, first, whole)

    def _visit(self, number: int, wanted: list[tuple[Addresses, dict[int, Piece]]], first: int, whole: int) -> Visit:
        if not wanted:
            return Visit(number, torch.empty((0, *self.protocol.shape)), first, whole)
        rows = np.concatenate([self._shards.rows_of(addresses) for addresses, _ in wanted])
        found = [self._shards.read(addresses, pieces) for addresses, pieces in wanted]
        values = as_tensor(found[0] if len(found) == 1 else np.concatenate(found), "the shards")
        return Visit(number, self._conforming(values), first, whole, rows=rows.tolist())

    def _conforming(self, values: Tensor) -> Tensor:
        x, _, _ = arrange(values, self.protocol.kind, self.protocol.reading.get("layout"))
        return conform(x, self.protocol, "the shards")

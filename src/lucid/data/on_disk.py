"""Arrays that stay in their files: examples are read by number, so that memory holds a few batches of them."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lucid.data.found import Kind, Progress
from lucid.data.layout import arrange
from lucid.data.values import as_tensor

__all__ = ["DiskArray", "Region", "arranged", "joined"]

_CHUNK = 1 << 21  # bytes read at a time from one end to the other
_HOLE = 1 << 14  # bytes that are read along, rather than passed over with a read of its own
_SPAN = 1 << 25  # bytes of one read at most
_QUIET = 1.0  # seconds of reading before progress is told


@dataclass(frozen=True)
class Region:
    """An array as it lies in a file, examples one after another.

    It is read with plain reads: of a map the pages count as the process's memory until they are given back, and a file
    that is cut short kills the process.

    Attributes:
        path: The file.
        offset: Of the first example's first byte.
        dtype: Of the numbers, with their byte order.
        shape: Dimension 0 the examples.
        stride: Bytes from one example to the next.
        stamp: Size and time of change of the file when it was found.
        bfloat16: Whether the 16 bits, which NumPy has no type for, are a bfloat16.
    """

    path: Path
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    stride: int
    stamp: tuple[int, int]
    bfloat16: bool = False

    @staticmethod
    def at(path: Path, offset: int, dtype: np.dtype[Any], shape: Sequence[int], **options: Any) -> Region:
        """An array in C order from `offset` on."""
        stride = math.prod(shape[1:]) * dtype.itemsize
        return Region(path, offset, dtype, tuple(shape), stride, _stamp(path.stat()), **options)

    @property
    def example_bytes(self) -> int:
        """Bytes of one example."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def num_bytes(self) -> int:
        """Bytes of all examples."""
        return math.prod(self.shape) * self.dtype.itemsize

    @cached_property
    def tensor_dtype(self) -> torch.dtype:
        """Type of the tensors that `read` gives.

        Raises:
            TypeError: If the numbers are of a type that is not read.
        """
        return self._tensor(np.empty((0, self.example_bytes), np.uint8)).dtype

    def read(self, rows: np.ndarray[Any, Any]) -> Tensor:
        """Some examples, as they are stored, in memory of their own.

        Args:
            rows: Their numbers, int64, in any order.

        Raises:
            ValueError: If the file has changed since it was found.
            OSError: If it cannot be read.
        """
        bytes_of = np.empty((len(rows), self.example_bytes), np.uint8)
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        with self.path.open("rb", buffering=0) as file:
            if _stamp(os.fstat(file.fileno())) != self.stamp:
                raise ValueError(f"{str(self.path)!r} has changed since it was loaded: load it again")
            spans = self._spans(ordered)
            if len(spans) == len(rows):
                self._fill_one_by_one(file, bytes_of, order, ordered)
            else:
                for first, end in spans:
                    self._fill(file, bytes_of, order[first:end], ordered[first:end])
        return self._tensor(bytes_of)

    def _spans(self, ordered: np.ndarray[Any, Any]) -> list[tuple[int, int]]:
        """Which of the ascending rows are read at once: neighbours, as far as one read may go."""
        apart = np.diff(ordered) * self.stride > self.example_bytes + _HOLE
        far = np.diff(ordered * self.stride // _SPAN) > 0
        cuts = (np.flatnonzero(apart | far) + 1).tolist()
        return list(zip([0, *cuts], [*cuts, len(ordered)], strict=True)) if len(ordered) else []

    def _fill_one_by_one(
        self, file: FileIO, bytes_of: np.ndarray[Any, Any], places: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]
    ) -> None:
        """Read ascending rows far from one another to their places."""
        size = self.example_bytes
        starts: list[int] = (self.offset + rows * self.stride).tolist()
        if hasattr(os, "posix_fadvise"):
            # The system fetches them beside one another: four times as fast from a cold disk.
            for start in starts:
                os.posix_fadvise(file.fileno(), start, size, os.POSIX_FADV_WILLNEED)
        room = memoryview(bytes_of.reshape(-1))  # pyright: ignore[reportArgumentType]
        for start, place in zip(starts, (places * size).tolist(), strict=True):
            file.seek(start)
            if file.readinto(room[place : place + size]) != size:
                self._read_into(file, start, room[place : place + size])

    def _fill(
        self, file: FileIO, bytes_of: np.ndarray[Any, Any], places: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]
    ) -> None:
        """Read ascending rows, near one another, to their places."""
        first, count = int(rows[0]), int(rows[-1] - rows[0]) + 1
        begin, size = self.offset + first * self.stride, self.example_bytes
        in_order = len(rows) == count and bool((np.diff(places) == 1).all())
        if in_order and (count == 1 or self.stride == size):
            self._read_into(file, begin, bytes_of[places[0] : places[0] + count].reshape(-1))
            return
        span = np.empty(count * self.stride, np.uint8)
        self._read_into(file, begin, span[: (count - 1) * self.stride + size])
        bytes_of[places] = span.reshape(count, self.stride)[rows - first, :size]

    def _read_into(self, file: FileIO, start: int, room: Any) -> None:
        file.seek(start)
        left = memoryview(room)
        while len(left):
            count = file.readinto(left)
            if not count:
                raise ValueError(f"{str(self.path)!r} ends before its array does: it was cut short")
            left = left[count:]

    def _tensor(self, bytes_of: np.ndarray[Any, Any]) -> Tensor:
        values = as_tensor(bytes_of.view(self.dtype).reshape(-1, *self.shape[1:]), repr(str(self.path)))
        return values.view(torch.bfloat16) if self.bfloat16 else values


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


@dataclass(frozen=True)
class DiskArray:
    """Examples in one or several files, arranged and converted as they are read; what a tensor is to data in memory.

    Attributes:
        name: What it is called where progress is told.
        pieces: One after another: regions of files, or small parts that are in memory already.
        shape: Of all examples, channels first once arranged.
        dtype: Of what `read` gives.
        kind: What the examples are arranged as; None as they are stored.
        layout: Likewise.
        progress: Told while all of it is read.
    """

    name: str
    pieces: tuple[Region | Tensor, ...]
    shape: tuple[int, ...]
    dtype: torch.dtype
    kind: Kind | None = None
    layout: str | None = None
    progress: Progress | None = None

    @staticmethod
    def of(name: str, *pieces: Region | Tensor, progress: Progress | None = None) -> DiskArray:
        """Pieces one after another; their examples have one shape."""
        dtypes = [piece.tensor_dtype if isinstance(piece, Region) else piece.dtype for piece in pieces]
        dtype = dtypes[0]
        for other in dtypes[1:]:
            dtype = torch.promote_types(dtype, other)
        first = tuple(pieces[0].shape)
        shape = (sum(piece.shape[0] for piece in pieces), *first[1:]) if first else first
        return DiskArray(name, pieces, shape, dtype, progress=progress)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def example_bytes(self) -> int:
        """Bytes of one example as `read` gives it."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def dim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def numel(self) -> int:
        """Number of numbers."""
        return math.prod(self.shape)

    def is_floating_point(self) -> bool:
        """Whether the numbers are floating-point."""
        return self.dtype.is_floating_point

    def to(self, dtype: torch.dtype) -> DiskArray:
        """The same examples, converted to another type as they are read."""
        return replace(self, dtype=dtype)

    def read(self, rows: Tensor) -> Tensor:
        """Some examples, in memory, in the order of `rows`.

        Args:
            rows: Their numbers, int64.

        Raises:
            ValueError, OSError: As `Region.read`.
        """
        if len(rows) == 0:
            return torch.empty((0, *self.shape[1:]), dtype=self.dtype)
        found = self._stored(rows)
        if self.kind is not None:
            found, _, _ = arrange(found, self.kind, self.layout)
        return found.to(self.dtype)

    def _stored(self, rows: Tensor) -> Tensor:
        if len(self.pieces) == 1:
            return _read(self.pieces[0], rows)
        parts: list[Tensor] = []
        places: list[Tensor] = []
        first = 0
        for piece in self.pieces:
            here = ((rows >= first) & (rows < first + piece.shape[0])).nonzero().flatten()
            if len(here):
                parts.append(_read(piece, rows[here] - first))
                places.append(here)
            first += piece.shape[0]
        return torch.cat(parts)[torch.cat(places).argsort()]

    def chunks(self, rows: Tensor | None = None, examples: int | None = None) -> Iterator[Tensor]:
        """All examples, or those of some rows, a few at a time.

        Args:
            rows: Ascending; None for all.
            examples: How many at a time; by default some megabytes of them.
        """
        step = examples or max(1, _CHUNK // max(1, self.example_bytes))
        total = len(self) if rows is None else len(rows)
        began = time.monotonic()
        for first in range(0, total, step):
            end = min(first + step, total)
            yield self.read(torch.arange(first, end) if rows is None else rows[first:end])
            if self.progress is not None and time.monotonic() - began > _QUIET:
                self.progress(self.name, end * self.example_bytes, total * self.example_bytes)


def _read(piece: Region | Tensor, rows: Tensor) -> Tensor:
    return piece.read(rows.numpy()) if isinstance(piece, Region) else piece.index_select(0, rows)


def arranged(
    x: Tensor | DiskArray, kind: Kind | None, layout: str | None
) -> tuple[Tensor | DiskArray, Kind, str | None]:
    """`arrange`, for what is in memory and for what is not.

    Raises:
        ValueError: As `arrange`.
    """
    if isinstance(x, Tensor):
        return arrange(x, kind, layout)
    whole, kind, layout = arrange(torch.empty(x.shape, dtype=x.dtype, device="meta"), kind, layout)
    return replace(x, shape=tuple(whole.shape), kind=kind, layout=layout), kind, layout


def joined(parts: Sequence[Tensor | DiskArray]) -> Tensor | DiskArray:
    """Parts as one; in memory if all are."""
    held = [part for part in parts if isinstance(part, Tensor)]
    if len(held) == len(parts):
        return torch.cat(held)
    first = next(part for part in parts if isinstance(part, DiskArray))
    pieces = [piece for part in parts for piece in (part.pieces if isinstance(part, DiskArray) else (part,))]
    return DiskArray.of(first.name, *pieces, progress=first.progress)

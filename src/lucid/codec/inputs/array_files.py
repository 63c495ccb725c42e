"""Arrays in .npy and idx files, read where they lie and written as they were, a few examples at a time."""

from __future__ import annotations

import gzip
import io
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lucid.codec.errors import CodecError
from lucid.codec.inputs.arrays import ArrayForm, form_from_json, form_of, form_to_json, restored
from lucid.codec.inputs.axes import to_model_axes
from lucid.codec.inputs.grid import to_levels
from lucid.codec.inputs.source import Attached, Entry, Levels, Source, field, rows_at_a_time
from lucid.codec.layout import DataLayout
from lucid.data.files import idx_region, npy_region, read_idx, read_npy
from lucid.data.on_disk import Region
from lucid.data.values import as_tensor

__all__ = ["ArrayEntry", "ArrayFile", "ArrayPieces", "npy_header"]

_IDX_CODES = {"|u1": 8, "|i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}


class _Writable(Protocol):
    def write(self, data: Any, /) -> object: ...


class ArrayPieces:
    """An array in memory or in a file: its form, and its levels a few examples at a time.

    Args:
        values: In memory, or where it lies.
        dtype: As NumPy writes it.
        data: What the model codes.
        what: What it is called in an error.

    Raises:
        ValueError: If its examples have not the shape of the model's.
    """

    def __init__(self, values: Tensor | Region, dtype: str, data: DataLayout, what: str) -> None:
        self._values, self._data, self._what = values, data, what
        self.shape = tuple(values.shape)
        tensor_dtype = values.dtype if isinstance(values, Tensor) else values.tensor_dtype
        self.form = form_of(self.shape, dtype, tensor_dtype, self._range(tensor_dtype), data, what)

    def levels(self) -> Iterator[Tensor]:
        """int64 (n, *shape), in the order of the examples.

        Raises:
            ValueError: If a value is off the model's grid.
        """
        first = 0
        for x in self._stored():
            x = to_model_axes(x, self.form.axes).contiguous()
            yield to_levels(x, self.form.scale, self._data, self._what, first)
            first += len(x)

    def _range(self, dtype: torch.dtype) -> tuple[float, float]:
        """Least and greatest value of floating-point numbers, which decide where the levels lie."""
        low, high = math.inf, -math.inf
        for x in self._stored() if dtype.is_floating_point else ():
            low, high = min(low, float(x.min())), max(high, float(x.max()))
        return low, high

    def _stored(self) -> Iterator[Tensor]:
        step = rows_at_a_time(self.shape[1:])
        for first in range(0, self.shape[0], step):
            rows = range(first, min(first + step, self.shape[0]))
            if isinstance(self._values, Tensor):
                yield self._values[rows.start : rows.stop]
            else:
                yield self._values.read(np.arange(rows.start, rows.stop))


class ArrayFile(Source):
    """A .npy file, or an idx file, gzipped or not.

    Args:
        path: The file.
        data: What the model codes.

    Raises:
        ValueError: If it is damaged, or its examples have not the shape of the model's.
    """

    def __init__(self, path: Path, data: DataLayout) -> None:
        self.name, self.num_bytes = path.name, path.stat().st_size
        values, dtype = _opened(path)
        self._pieces = ArrayPieces(values, dtype, data, repr(str(path)))
        self.total = self._pieces.shape[0]

    def chunks(self) -> Iterator[Tensor]:
        return self._pieces.levels()

    def entry(self) -> Entry:
        return ArrayEntry(self.name, self.total, self._pieces.form)


def _opened(path: Path) -> tuple[Tensor | Region, str]:
    """An array where it lies, or in memory if its examples do not lie one after another; and its type."""
    region = npy_region(path) if path.suffix == ".npy" else idx_region(path) if path.suffix != ".gz" else None
    if region is not None:
        if not region.shape:
            raise ValueError(f"{str(path)!r} holds a single number, not examples")
        return region, region.dtype.str
    array = read_npy(path) if path.suffix == ".npy" else read_idx(path)
    return as_tensor(array, repr(str(path))), array.dtype.str


@dataclass(frozen=True)
class ArrayEntry(Entry):
    """An array of its own file.

    Attributes:
        form: What it was beside its levels.
    """

    name: str
    count: int
    form: ArrayForm
    data: DataLayout | None = None

    def to_json(self) -> dict[str, Any]:
        return {"array": self.name, "count": self.count, **form_to_json(self.form)}

    @staticmethod
    def from_json(said: Mapping[str, Any], data: DataLayout) -> ArrayEntry:
        """What a file says of it.

        Raises:
            CodecError: If that cannot be.
        """
        entry = ArrayEntry(field(said, "array", str), field(said, "count", int), form_from_json(said, data), data)
        if not entry.name.endswith(".npy") and np.dtype(entry.form.dtype).newbyteorder(">").str not in _IDX_CODES:
            raise CodecError(f"the description of the inputs is damaged: {entry.form.dtype!r} in {entry.name[:80]!r}")
        return entry

    @property
    def is_folder(self) -> bool:
        return False

    def describe(self) -> str:
        shape = "×".join(str(n) for n in (self.count, *self.form.shape))
        return f"{self.name}, array {shape} of {np.dtype(self.form.dtype).name}"

    def write(self, levels: Levels, span: range, target: Path, attached: Attached) -> None:
        with target.open("wb") as file:
            if not self.name.endswith(".gz"):
                self.write_to(file, levels, span)
                return
            with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
                self.write_to(packed, levels, span)

    def write_to(self, file: _Writable, levels: Levels, span: range) -> None:
        """The same into an open file."""
        assert self.data is not None, "an entry that is written comes from a file"
        shape = (len(span), *self.form.shape)
        is_idx = not self.name.endswith(".npy")
        dtype = np.dtype(self.form.dtype)
        file.write(_idx_header(shape, dtype) if is_idx else npy_header(shape, dtype))
        for piece in levels.take(len(span)):
            file.write(np.asarray(restored(piece, self.form, self.data)).data)


def npy_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """What a .npy file of an array in C order begins with."""
    header = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, described)
    return header.getvalue()


def _idx_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    return bytes([0, 0, _IDX_CODES[dtype.str], len(shape)]) + struct.pack(f">{len(shape)}I", *shape)

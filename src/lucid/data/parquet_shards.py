"""Reading examples from parquet shards: a column of images or lists, or several columns of numbers, by row group."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from lucid.data.columns import Form, choose
from lucid.data.decoding import Decoder, image_decoder
from lucid.data.found import Kind, Options, listing
from lucid.data.order import Integers

__all__ = ["ParquetPiece", "ParquetReader"]


class _At(NamedTuple):
    """An example, named only when a message asks."""

    path: Path
    group: int
    row: int

    def __str__(self) -> str:
        return f"row {self.row} of row group {self.group} of the shard {str(self.path)!r}"


class ParquetReader:
    """What is common to the parquet shards of a source: which columns are x, and how they are decoded.

    Attributes:
        kind: "image" for encoded images, "table" for columns of numbers, else None: the rank decides.
        layout: How pixels are laid out.
        levels: 256 for encoded images.
        columns: Names of a table's columns.
        purpose: What is counted, in words.

    Args:
        paths: The shards.
        options: Those of `load`: `key` names one column, `columns` several; `resize`, `crop` and `channels` apply to
            encoded images.

    Raises:
        ValueError: If there is no example, or the columns do not say which are x.
    """

    def __init__(self, paths: Sequence[Path], options: Options) -> None:
        options.only(
            "parquet shards", "key", "columns", "resize", "crop", "channels", "layout", "workers", "shuffle_buffer"
        )
        path, group = _first_group(paths)
        self._schema = _open(path).schema_arrow
        holds = f"the shard {str(path)!r} has the columns "
        holds += listing([f"{field.name} ({field.type})" for field in self._schema], 20)
        self.chosen: tuple[str, ...]
        self._form: Form
        self.chosen, self._form = choose({field.name: _form(field.type) for field in self._schema}, options, holds)
        self.purpose = f"parquet {self.chosen}"
        self._decode: Decoder | None = None
        if self._form == "image":
            what = _At(path, group, 0)
            content = _encoded(_read(path, group, self.chosen).column(0)[:1], what)[0].as_py()
            self._decode = image_decoder(options, content, what)
        self.kind: Kind | None = {"image": "image", "number": "table"}.get(self._form)  # pyright: ignore[reportAttributeAccessIssue]
        self.layout: str | None = "NHWC" if self._form == "image" else None
        self.levels: int | None = 256 if self._form == "image" else None
        self.columns: tuple[str, ...] = self.chosen if self._form == "number" else ()

    def counts(self, path: Path) -> list[int]:
        """Rows of each row group of a shard; each group is a piece."""
        file = _open(path)
        for name in self.chosen:
            index = file.schema_arrow.get_field_index(name)
            kind = file.schema_arrow.field(index).type if index >= 0 else "missing"
            first = self._schema.field(name).type
            if kind != first:
                raise ValueError(
                    f"column {name!r} of the shard {str(path)!r} is {kind}; that of the first one is {first}"
                )
        return [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]

    def piece(self, path: Path, number: int) -> ParquetPiece:
        """A row group, to be read from."""
        return ParquetPiece(path, number, self.chosen, self._form, self._decode)


class ParquetPiece:
    """One row group; its chosen columns are read when first asked for, and held as long as it is.

    Args:
        path: The shard.
        group: Number of the row group.
        chosen: Columns that are x.
        form: "image" for encoded images, "array" for a column of lists, "number" for columns of numbers.
        decode: Decodes images.
    """

    def __init__(self, path: Path, group: int, chosen: tuple[str, ...], form: Form, decode: Decoder | None) -> None:
        self._path = path
        self._group = group
        self._chosen = chosen
        self._form = form
        self._decode = decode
        self._lock = Lock()
        self._values: Any = None

    def read(self, rows: Integers) -> np.ndarray[Any, Any]:
        """The examples with these numbers."""
        with self._lock:
            if self._values is None:
                self._values = self._load()
        decode = self._decode
        if decode is None:
            return self._values[rows]  # a copy
        found = np.empty((len(rows), *decode.shape), decode.dtype)
        for i, row in enumerate(rows.tolist()):
            found[i] = decode(self._values[row].as_py(), _At(self._path, self._group, row))
        return found

    def _load(self) -> Any:
        table = _read(self._path, self._group, self._chosen)
        what = f"row group {self._group} of the shard {str(self._path)!r}"
        if self._form == "image":
            return _encoded(table.column(0), what)
        if self._form == "array":
            return _lists(table.column(0), what)
        return _numbers(table, self._chosen, what)


def _open(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _read(path: Path, group: int, columns: tuple[str, ...]) -> Any:
    import pyarrow as pa

    try:
        with _open(path) as file:
            return file.read_row_group(group, columns=list(columns))
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ValueError:
    first = (str(error) or type(error).__name__).splitlines()[0]
    return ValueError(f"the shard {str(path)!r} is damaged or not a .parquet file: {first}")


def _first_group(paths: Sequence[Path]) -> tuple[Path, int]:
    for path in paths:
        facts = _open(path).metadata
        for group in range(facts.num_row_groups):
            if facts.row_group(group).num_rows:
                return path, group
    raise ValueError(f"{len(paths)} shards hold no example: {listing([str(path) for path in paths], 3)}")


def _form(kind: Any) -> Form:
    """What a column of this type holds: "image", "array", "number", or "other"."""
    from pyarrow import types

    kind = getattr(kind, "storage_type", kind)  # of an extension type, such as a tensor of fixed shape
    if types.is_binary(kind) or types.is_large_binary(kind):
        return "image"
    if types.is_struct(kind):
        inner = kind.field("bytes").type if kind.get_field_index("bytes") >= 0 else None
        return "image" if inner is not None and _form(inner) == "image" else "other"
    if _is_list(kind):
        inner = _form(kind.value_type)
        return "array" if inner in ("number", "array") else "other"
    return "number" if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) else "other"


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _encoded(column: Any, what: object) -> Any:
    """The bytes of encoded images, which may lie in a struct beside a path."""
    column = column.combine_chunks()
    if hasattr(column.type, "storage_type"):
        column = column.storage
    found = column if not hasattr(column, "field") else column.field("bytes")
    if column.null_count or found.null_count:
        raise ValueError(f"{what} lacks the bytes of {column.null_count or found.null_count} images: write them whole")
    return found


def _lists(column: Any, what: object) -> np.ndarray[Any, Any]:
    """A column of lists, perhaps of lists, all of one shape."""
    found = [_list_array(chunk, what) for chunk in column.chunks if len(chunk)]
    shapes = sorted({x.shape[1:] for x in found})
    if len(shapes) > 1:
        raise ValueError(f"{what} holds lists of the shapes {shapes[0]} and {shapes[1]}: all examples must be alike")
    return found[0] if len(found) == 1 else np.concatenate(found)


def _list_array(values: Any, what: object) -> np.ndarray[Any, Any]:
    shape = [len(values)]
    while True:
        if hasattr(values.type, "storage_type"):
            values = values.storage
        if values.null_count:
            raise ValueError(f"{what} lacks {values.null_count} values: fill them in, or leave those rows out")
        if not _is_list(values.type):
            return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(shape)
        inner = values.flatten()
        each = len(inner) // len(values)
        if each * len(values) != len(inner) or set(values.value_lengths().unique().to_pylist()) != {each}:
            lengths = sorted(values.value_lengths().unique().to_pylist())
            raise ValueError(f"{what} holds lists of {lengths[0]} to {lengths[-1]} numbers: all examples must be alike")
        values = inner
        shape.append(each)


def _numbers(table: Any, chosen: tuple[str, ...], what: object) -> np.ndarray[Any, Any]:
    """Columns of numbers side by side, in double precision as in `tables`."""
    x = np.stack([np.asarray(table.column(name).to_numpy(), np.float64) for name in chosen], axis=1)
    missing = [name for i, name in enumerate(chosen) if not np.isfinite(x[:, i]).all()]
    if missing:
        raise ValueError(
            f"{what} has missing or infinite values in {listing(missing)}: fill them in, or leave them out"
        )
    return x

"""Tables: the same columns, of the same types and values, in .csv with the very text of each cell.

What the model knows is coded; columns it does not know, such as labels, come along as Parquet.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lucid.codec.errors import CodecError
from lucid.codec.inputs.columns import Spelling, column_of, levels_of_column, spelling_of
from lucid.codec.inputs.grid import protocol_of
from lucid.codec.inputs.source import Attached, Entry, Levels, Source, field, rows_at_a_time, texts
from lucid.codec.layout import DataLayout
from lucid.data.found import listing
from lucid.data.tables import open_table
from lucid.distributions import Column

__all__ = ["TableEntry", "TableFile"]

_EXTRA = "columns"


class TableFile(Source):
    """A .csv or .parquet file.

    Args:
        path: The file.
        data: What the model codes.

    Raises:
        ValueError: If it lacks a column that the model knows, or a value is none that the model knows.
    """

    def __init__(self, path: Path, data: DataLayout) -> None:
        self.name, self.num_bytes = path.name, path.stat().st_size
        what = repr(str(path))
        table = open_table(path)
        names = _known(table.column_names, data, what)
        self._others = [name for name in table.column_names if name not in names]
        columns = [
            levels_of_column(table.column(n), c, data, what) for n, c in zip(names, _columns(names, data), strict=True)
        ]
        self._levels = np.stack(columns, axis=1)
        self.total = table.num_rows
        texts = _texts(path) if path.suffix == ".csv" else None
        spelled = [
            None if texts is None else spelling_of(texts.column(n), c, what)
            for n, c in zip(names, columns, strict=True)
        ]
        self._entry = TableEntry(
            *(self.name, self.total, base64.b64encode(table.schema.serialize()).decode()),
            *(
                tuple(names),
                tuple(spelled),
                tuple(n for n in names if _has_nan(table.column(n))),
                bool(self._others),
                data,
            ),
        )
        self._kept = (table if texts is None else texts).select(self._others)
        if texts is None:
            self._check(table.select(names), what)

    def _check(self, table: Any, what: str) -> None:
        """Refuse what would come back as something else."""
        again = self._entry.table_of(self._levels)
        for name in table.column_names:
            ours, theirs = again.column(name), table.column(name)
            if not _same(ours, theirs):
                raise ValueError(
                    f"the column {name!r} of {what}, of type {theirs.type}, cannot be given back exactly: it holds "
                    "negative zeros, or both NaN and missing values. Write it with one kind of missing value"
                )

    def chunks(self) -> Iterator[Tensor]:
        return iter(torch.from_numpy(self._levels).split(rows_at_a_time(self._levels.shape[1:])))

    def entry(self) -> Entry:
        return self._entry

    def attachments(self) -> Iterator[tuple[str, Iterable[bytes]]]:
        if self._others:
            from pyarrow import parquet

            content = io.BytesIO()
            parquet.write_table(self._kept, content, compression="zstd")
            yield f"{self.name}/{_EXTRA}", [content.getvalue()]


def _has_nan(column: Any) -> bool:
    import pyarrow as pa

    if not pa.types.is_floating(column.type) or column.null_count:
        return False
    return bool(np.isnan(column.to_numpy()).any())


def _known(there: list[str], data: DataLayout, what: str) -> list[str]:
    """The columns that the model codes, in its order."""
    protocol = protocol_of(data)
    twice = sorted({name for name in there if there.count(name) > 1})
    if twice:
        raise ValueError(f"column names must differ; in {what} these occur more than once: {listing(twice)}")
    names = list(protocol.columns) if protocol is not None and protocol.columns else there
    absent = [repr(name) for name in names if name not in there]
    if absent:
        raise ValueError(
            f"the model codes tables with the columns {listing([repr(n) for n in names])}; {what} has no "
            f"{listing(absent)}. Its columns are {listing([repr(n) for n in there])}"
        )
    if (len(names),) != tuple(data.shape):
        shape = "×".join(str(n) for n in data.shape)
        raise ValueError(f"the model codes examples of {shape} numbers, and {what} has {len(names)} columns")
    return names


def _columns(names: list[str], data: DataLayout) -> tuple[Column | None, ...]:
    protocol = protocol_of(data)
    return protocol.schema if protocol is not None and protocol.schema else (None,) * len(names)


def _texts(path: Path) -> Any:
    """The cells of a .csv file as they are written."""
    import pyarrow as pa
    from pyarrow import csv

    names = csv.open_csv(path).schema.names
    options = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    return csv.read_csv(path, convert_options=options)


def _same(ours: Any, theirs: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_floating(theirs.type):
        a, b = (np.ascontiguousarray(c.to_numpy()) for c in (ours, theirs))
        return a.tobytes() == b.tobytes() and ours.null_count == theirs.null_count
    if pa.types.is_dictionary(theirs.type):
        ours, theirs = (c.cast(c.type.value_type) for c in (ours, theirs))
    return bool(ours.equals(theirs))


@dataclass(frozen=True)
class TableEntry(Entry):
    """A table.

    Attributes:
        schema: Its columns and their types, as Arrow writes them, in base64.
        columns: Those that are coded, in the order of the model.
        spelled: Of each column of a .csv file how its levels are written there; None of a .parquet file.
        nans: Columns whose missing values are NaN.
        extra: Whether there are other columns, in an attachment.
        data: What the model codes.
    """

    name: str
    count: int
    schema: str
    columns: tuple[str, ...]
    spelled: tuple[Spelling | None, ...]
    nans: tuple[str, ...]
    extra: bool
    data: DataLayout

    def to_json(self) -> dict[str, Any]:
        said = {"table": self.name, "count": self.count, "schema": self.schema}
        spelled = [None if spelling is None else spelling.to_json() for spelling in self.spelled]
        said |= {"columns": list(self.columns), "spelled": spelled, "extra": self.extra}
        return said | ({"nans": list(self.nans)} if self.nans else {})

    @staticmethod
    def from_json(said: Mapping[str, Any], data: DataLayout) -> TableEntry:
        """What a file says of it.

        Raises:
            CodecError: If that cannot be.
        """
        columns, nans, spelled = texts(said, "columns"), texts(said, "nans"), field(said, "spelled", list)
        if (len(columns),) != tuple(data.shape) or len(spelled) != len(columns):
            raise CodecError(f"the description of the inputs is damaged: a table of {len(columns)} columns")
        name, csv = field(said, "table", str), field(said, "table", str).endswith(".csv")
        if not name.endswith((".csv", ".parquet")) or any((one is None) == csv for one in spelled):
            raise CodecError(f"the description of the inputs is damaged: a table called {name[:80]!r}")
        entry = TableEntry(
            *(name, field(said, "count", int), field(said, "schema", str), columns),
            *(
                tuple(None if one is None else Spelling.from_json(one) for one in spelled),
                nans,
                field(said, "extra", bool),
                data,
            ),
        )
        names = entry.arrow_schema().names
        if len(set(names)) < len(names) or not set(columns) <= set(names) or len(set(columns)) < len(columns):
            raise CodecError("the description of the inputs is damaged: its columns are not those of its table")
        return entry

    def arrow_schema(self) -> Any:
        """The columns and their types.

        Raises:
            CodecError: If they are damaged.
        """
        import pyarrow as pa

        try:
            return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(self.schema, validate=True)))
        except (ValueError, OSError, EOFError, pa.ArrowException) as error:
            raise CodecError(f"the description of the inputs is damaged: {str(error)[:80]}") from error

    @property
    def is_folder(self) -> bool:
        return False

    def describe(self) -> str:
        return f"{self.name}, table of {self.count:,} rows and {len(self.arrow_schema().names)} columns"

    def table_of(self, levels: np.ndarray[Any, Any]) -> Any:
        """The coded columns, each of its own type."""
        import pyarrow as pa

        schema, columns = self.arrow_schema(), _columns(list(self.columns), self.data)
        fields = [schema.field(name) for name in self.columns]
        nans = [name in self.nans for name in self.columns]
        arrays = [
            column_of(field, column, levels[:, i], nan)
            for i, (field, column, nan) in enumerate(zip(fields, columns, nans, strict=True))
        ]
        return pa.table(arrays, names=list(self.columns))

    def write(self, levels: Levels, span: range, target: Path, attached: Attached) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        pieces = [piece.numpy() for piece in levels.take(len(span))]
        coded = np.concatenate(pieces) if pieces else np.empty((0, len(self.columns)), np.int64)
        spelled = [spelling for spelling in self.spelled if spelling is not None]
        if spelled:
            cells = [spelling.texts(coded[:, i]) for i, spelling in enumerate(spelled)]
            table = pa.table(cells, names=list(self.columns))
        else:
            table = self.table_of(coded)
        schema = self.arrow_schema()
        if self.extra:
            others = _read_parquet(b"".join(attached(f"{self.name}/{_EXTRA}")))
            if others.num_rows != self.count or set(others.column_names) & set(self.columns):
                raise CodecError("the description of the inputs is damaged: the other columns are not of this table")
            for name, column in zip(others.column_names, others.slice(span.start, len(span)).columns, strict=True):
                table = table.append_column(name, column)
        if set(table.column_names) != set(schema.names):
            raise CodecError("the description of the inputs is damaged: a column is missing")
        table = table.select(schema.names)
        if spelled:
            _write_cells(table, target)
        else:
            parquet.write_table(table.cast(schema), target)


def _read_parquet(content: bytes) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.read_table(io.BytesIO(content))
    except (pa.ArrowException, OSError) as error:
        raise CodecError(f"the other columns of a table are damaged: {str(error)[:80]}") from error


def _write_cells(table: Any, target: Path) -> None:
    """Texts as a .csv file, quoted where they must be."""
    import csv

    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.column_names)
        for batch in table.to_batches(max_chunksize=1 << 14):
            writer.writerows(zip(*(column.to_pylist() for column in batch.columns), strict=True))

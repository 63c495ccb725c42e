"""Tables: .csv, .parquet, and every table in memory that speaks Arrow (pandas, pyarrow, polars)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from lucid.data.found import Found, Options, listing
from lucid.data.labels import as_labels

__all__ = ["is_table", "read_table", "read_table_file"]

_OPTIONS = ("columns", "labels")


def is_table(source: object) -> bool:
    """Whether an object is a table in memory."""
    return hasattr(source, "__arrow_c_stream__") and hasattr(source, "columns")


def read_table_file(path: Path, options: Options) -> Found:
    """A .csv file with a line of column names, or a .parquet file."""
    import pyarrow as pa

    options.only(f"a table, {path.name!r}", *_OPTIONS)
    try:
        table = _read_csv(path) if path.suffix == ".csv" else _read_parquet(path)
    except UnicodeDecodeError as error:
        raise ValueError(f"{str(path)!r} is not UTF-8 text ({error.reason}): save it as such") from error
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        first = str(error).splitlines()[0]
        raise ValueError(f"{str(path)!r} cannot be read as a {path.suffix} file: {first}") from error
    return _found(table, path.stem, options, described=str(path))


def read_table(source: Any, options: Options) -> Found:
    """A table in memory."""
    import pyarrow as pa

    options.only("a table", *_OPTIONS)
    if type(source).__module__.split(".")[0] == "pandas":
        names = [str(name) for name in source.columns]
        try:
            table = pa.Table.from_pandas(source.set_axis(names, axis=1), preserve_index=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ValueError(f"a column mixes types: {'; '.join(str(part) for part in error.args)}") from error
    else:
        table = pa.table(source)
    return _found(table, "table", options, described=None)


def _read_csv(path: Path) -> Any:
    from pyarrow import csv

    table = csv.read_csv(path)
    names = table.column_names
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        raise ValueError(
            f"{str(path)!r} has one column, named {names[0]!r}: its separator is not the comma. Save it with commas, "
            "or read it with pandas and give the DataFrame"
        )
    if all(_is_number(name) for name in names):
        raise ValueError(
            f"{str(path)!r} starts with the numbers {listing(names, 4)} where the column names should be: put a line "
            "of names first, or read it with pandas and give the DataFrame"
        )
    return table


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_parquet(path: Path) -> Any:
    from pyarrow import parquet

    return parquet.read_table(path)


def _found(table: Any, name: str, options: Options, described: str | None) -> Found:
    names: list[str] = table.column_names
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ValueError(f"column names must differ; these occur more than once: {listing(twice)}")
    label = options.labels if isinstance(options.labels, str) else None
    for option, wanted in (("labels", [label] if label is not None else []), ("columns", options.columns or ())):
        missing = [repr(n) for n in wanted if n not in names]
        if missing:
            raise ValueError(f"{option}= names {listing(missing)}; the table has the columns {listing(names, 20)}")
    chosen = tuple(n for n in (options.columns or names) if n != label)
    if options.columns is not None and label in options.columns:
        raise ValueError(f"labels={label!r} is also among columns=: a label is not data")
    if table.num_rows == 0 or not chosen:
        raise ValueError(f"the table is empty: it has {table.num_rows} rows and {len(chosen)} columns of data")
    _check_numeric(table, chosen)
    _check_complete(table, [*chosen, *([label] if label is not None else [])])
    x = np.stack([_numbers(table.column(n)) for n in chosen], axis=1)
    labels = options.labels if label is None else _label_column(table, label)
    if labels is not None:
        labels = as_labels(labels, table.num_rows)
    return Found(name, torch.from_numpy(x), labels, kind="table", columns=chosen, described=described)


def _check_numeric(table: Any, chosen: tuple[str, ...]) -> None:
    import pyarrow as pa

    def numeric(kind: Any) -> bool:
        types = pa.types  # a column of nulls has a type of its own; it is told with the missing values
        return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_null(kind)

    other = {n: table.schema.field(n).type for n in chosen if not numeric(table.schema.field(n).type)}
    if not other:
        return
    told = listing([f"{n!r} ({kind})" for n, kind in other.items()])
    kept = [n for n in chosen if n not in other]
    raise ValueError(
        f"{'this column does' if len(other) == 1 else 'these columns do'} not hold numbers: {told}. Choose the "
        f"columns to use, columns=({', '.join(repr(n) for n in kept[:3])}{', …' if len(kept) > 3 else ','}), or name "
        f"the one that holds the class, labels={next(iter(other))!r}"
    )


def _check_complete(table: Any, chosen: list[str]) -> None:
    missing = {n: _count_missing(table.column(n)) for n in chosen}
    missing = {n: count for n, count in missing.items() if count}
    if missing:
        told = listing([f"{n!r} {count}" for n, count in missing.items()])
        raise ValueError(
            f"values are missing or infinite, of {table.num_rows} rows: {told}. Fill them in, leave those rows out, "
            "or choose other columns="
        )


def _count_missing(column: Any) -> int:
    import pyarrow as pa

    if pa.types.is_floating(column.type):
        return int((~np.isfinite(_numbers(column))).sum())  # a null is NaN here
    return column.null_count


def _numbers(column: Any) -> np.ndarray[Any, Any]:
    """A column in double precision, which a standardised float32 needs on the way."""
    return np.asarray(column.to_numpy(), dtype=np.float64)


def _label_column(table: Any, label: str) -> np.ndarray[Any, Any]:
    import pyarrow as pa

    column = table.column(label)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.array(column.to_pylist(), dtype=str)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_floating(kind):
        return np.array(column.to_pylist())
    raise ValueError(f"labels={label!r} is a column of {column.type}; labels must be integers or text")

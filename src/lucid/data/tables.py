"""Tables: .csv, .parquet, and every table in memory that speaks Arrow (pandas, pyarrow, polars).

Complete columns of numbers become numbers, as in an array. A table with text, dates, declared categories or missing
values, or whose columns the user describes, has a schema: one `Column` for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lucid.data.found import Found, Options, listing
from lucid.data.labels import as_labels
from lucid.data.schema import IGNORE, infer
from lucid.distributions import Column
from lucid.models.coding import numbers_of

__all__ = ["arrow_table", "is_table", "open_table", "read_table", "read_table_file"]

_OPTIONS = ("columns", "kinds", "schema", "labels")


def is_table(source: object) -> bool:
    """Whether an object is a table in memory."""
    return hasattr(source, "__arrow_c_stream__") and hasattr(source, "columns")


def read_table_file(path: Path, options: Options) -> Found:
    """A .csv file with a line of column names, or a .parquet file."""
    options.only(f"a table, {path.name!r}", *_OPTIONS)
    return _found(open_table(path), path.stem, options, described=str(path))


def open_table(path: Path) -> Any:
    """The `pyarrow.Table` in a .csv or .parquet file.

    Raises:
        ValueError: If it cannot be read as one.
    """
    import pyarrow as pa

    try:
        return _read_csv(path) if path.suffix == ".csv" else _read_parquet(path)
    except UnicodeDecodeError as error:
        raise ValueError(f"{str(path)!r} is not UTF-8 text ({error.reason}): save it as such") from error
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        first = str(error).splitlines()[0]
        raise ValueError(f"{str(path)!r} cannot be read as a {path.suffix} file: {first}") from error


def read_table(source: Any, options: Options) -> Found:
    """A table in memory."""
    options.only("a table", *_OPTIONS)
    said = {name for name, kind in (options.kinds or {}).items() if kind == IGNORE}
    wanted = [c.name for c in options.schema] if options.schema else options.columns
    label = [options.labels] if isinstance(options.labels, str) else []
    table, kinds = arrow_table(source, None if wanted is None else {*wanted, *label}, said)
    return _found(table, "table", options, described=None, pandas=kinds)


def arrow_table(
    source: Any, wanted: set[str] | None = None, ignored: set[str] | None = None
) -> tuple[Any, dict[str, str]]:
    """A table in memory as a `pyarrow.Table`, and its columns' types in pandas, where it is of pandas.

    Args:
        source: Of pandas, pyarrow, polars, or whatever speaks Arrow.
        wanted: Columns that are converted; None for all. What is not looked at cannot be refused.
        ignored: Columns that are not.
    """
    import pyarrow as pa

    if type(source).__module__.split(".")[0] != "pandas":
        return pa.table(source), {}
    frame = source.set_axis([str(name) for name in source.columns], axis=1)
    if frame.columns.is_unique and (wanted or set()) <= set(frame.columns):  # else an error is about to name them
        keep = [n for n in frame.columns if (wanted is None or n in wanted) and n not in (ignored or ())]
        frame = frame[keep] if keep else frame
    try:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"a column mixes types: {'; '.join(str(part) for part in error.args)}") from error
    return table, {str(name): str(kind) for name, kind in zip(frame.columns, frame.dtypes, strict=True)}


def _read_csv(path: Path) -> Any:
    from pyarrow import csv

    table = _with_missing_text(csv.read_csv(path), path)
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


def _with_missing_text(table: Any, path: Path) -> Any:
    """A table of a .csv file, its missing texts too: empty fields, and what says so in its other columns.

    Arrow knows "NA" and its like among numbers and dates. Among text "NA" may be Namibia, unless the file writes "NA"
    for missing numbers too.
    """
    import pyarrow as pa
    import pyarrow.compute

    compute: Any = pyarrow.compute  # whose functions are made at run time
    texts = [i for i, field in enumerate(table.schema) if pa.types.is_string(field.type)]
    gaps = [i for i, column in enumerate(table.columns) if i not in texts and column.null_count]
    named = len(set(table.column_names)) == len(table.column_names)  # else an error is about to name them
    looked = texts and gaps and named
    marks = pa.array({"", *(_marks(path, [table.column_names[i] for i in gaps]) if looked else ())})
    for i in texts:
        values = table.column(i)
        kept = compute.if_else(compute.is_in(values, marks), pa.scalar(None, values.type), values)
        table = table.set_column(i, table.column_names[i], kept)
    return table


def _marks(path: Path, names: list[str]) -> set[str]:
    """What stands for a missing value in columns of a .csv file."""
    import pyarrow as pa
    from pyarrow import csv

    as_text = csv.ConvertOptions(include_columns=names, column_types=dict.fromkeys(names, pa.string()))
    found = csv.read_csv(path, convert_options=as_text)
    return set(as_text.null_values) & {text for column in found.columns for text in column.unique().to_pylist()}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_parquet(path: Path) -> Any:
    from pyarrow import parquet

    return parquet.read_table(path)


def _found(
    table: Any, name: str, options: Options, described: str | None, pandas: Mapping[str, str] | None = None
) -> Found:
    names: list[str] = table.column_names
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ValueError(f"column names must differ; these occur more than once: {listing(twice)}")
    label = options.labels if isinstance(options.labels, str) else None
    wanted = tuple(c.name for c in options.schema) if options.schema else options.columns
    named = [n for n, kind in (options.kinds or {}).items() if kind != IGNORE]
    for option, those in (("labels", [label] if label is not None else []), ("columns", [*(wanted or ()), *named])):
        absent = [repr(n) for n in those if n not in names]
        if absent:
            raise ValueError(f"{option}= names {listing(absent)}; the table has the columns {listing(names, 20)}")
    if label in (wanted or ()) or label in named:
        raise ValueError(f"labels={label!r} is also among columns=: a label is not data")
    ignored = {n for n, kind in (options.kinds or {}).items() if kind == IGNORE}
    chosen = tuple(n for n in (wanted or names) if n != label and n not in ignored)
    if table.num_rows == 0 or not chosen:
        raise ValueError(f"the table is empty: it has {table.num_rows} rows and {len(chosen)} columns of data")
    schema = _schema(table, chosen, options, pandas or {})
    if schema:
        x = np.stack([numbers_of(column, table.column(column.name)) for column in schema], axis=1)
    else:
        _check_finite(table, chosen)
        x = np.stack([_numbers(table.column(n)) for n in chosen], axis=1)
    if label is not None:
        _check_complete(table, label)
    labels = options.labels if label is None else _label_column(table, label)
    if labels is not None:
        labels = as_labels(labels, table.num_rows)
    kinds = () if schema else tuple((str(table.column(n).type), (pandas or {}).get(n, "")) for n in chosen)
    return Found(
        *(name, torch.from_numpy(x), labels),
        kind="table",
        columns=chosen,
        described=described,
        schema=schema,
        dtypes=kinds,
        label=label or "",
    )


def _schema(table: Any, chosen: tuple[str, ...], options: Options, pandas: Mapping[str, str]) -> tuple[Column, ...]:
    """The columns' kinds; () for a table of complete numbers that nobody describes."""
    if options.schema:
        return options.schema
    others = [n for n in chosen if not _is_complete_numbers(table.column(n))]
    if options.schema is not None and others:
        raise ValueError(
            f"values are missing, or are not numbers, in {listing([repr(n) for n in others])}, and the model knows "
            "complete columns of numbers only: fill them in, or train on a table that has missing values too"
        )
    if options.kinds is None and not others:
        return ()
    said = options.kinds or {}
    return tuple(infer(n, table.column(n), said.get(n), pandas.get(n, "")) for n in chosen)


def _is_complete_numbers(column: Any) -> bool:
    import pyarrow as pa

    types = pa.types
    if types.is_floating(column.type):
        return not bool(np.isnan(_numbers(column)).any())  # a null is NaN here
    return (types.is_integer(column.type) or types.is_boolean(column.type)) and column.null_count == 0


def _check_finite(table: Any, chosen: tuple[str, ...]) -> None:
    infinite = {n: int(np.isinf(_numbers(table.column(n))).sum()) for n in chosen}
    told = [f"{n!r} {count}" for n, count in infinite.items() if count]
    if told:
        raise ValueError(
            f"values are infinite, of {table.num_rows} rows: {listing(told)}. Make them missing (NaN) or leave those "
            "rows out, or choose other columns="
        )


def _check_complete(table: Any, label: str) -> None:
    column = table.column(label)
    missing = column.null_count
    if not missing and str(column.type) in ("float", "double", "halffloat"):
        missing = int((~np.isfinite(_numbers(column))).sum())
    if missing:
        raise ValueError(
            f"labels are missing: {label!r} has none in {missing} of {table.num_rows} rows. Leave those rows out, or "
            "take the column as data, which may have missing values: leave labels= out"
        )


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

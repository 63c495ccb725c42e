"""The columns of a table as numbers, raw and in model space, and back in their own types.

Pyarrow and pandas are loaded when they are asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lucid.distributions import Column

__all__ = ["DAY", "as_days", "column_of", "frame_of", "numbers_of", "to_model_space", "to_raw_space"]

DAY = 86_400_000_000  # microseconds
_MOST_NAMED = 6

Numbers = np.ndarray[Any, np.dtype[np.float64]]


def numbers_of(column: Column, values: Any) -> Numbers:
    """Raw numbers of a column, NaN where a value is missing: numbers as they are, dates in days, categories by number.

    Args:
        column: What it holds.
        values: An Arrow array.

    Raises:
        ValueError: If a value is outside what the column takes.
    """
    import pyarrow as pa

    if column.categories:
        return _category_numbers(column, values)
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        return as_days(values)
    if not _is_numeric(values.type):
        raise ValueError(f"the column {column.name!r} is {column.kind} and must hold numbers; it holds {values.type}")
    found = np.array(values.to_numpy(zero_copy_only=False), dtype=np.float64)
    bad = np.isinf(found)
    if column.kind == "positive":
        bad |= found <= 0
    elif column.kind == "count":
        bad |= (found < 0) | (np.isfinite(found) & (found != np.round(found)))
    if bad.any():
        takes = {"positive": "numbers above 0", "count": "0, 1, 2, …"}.get(column.kind, "finite numbers")
        row = int(bad.nonzero()[0][0])
        raise ValueError(f"the {column.kind} column {column.name!r} takes {takes}; row {row} holds {found[row]:g}")
    return found


def _is_numeric(kind: Any) -> bool:
    import pyarrow as pa

    types = pa.types
    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_null(kind)


def as_days(values: Any) -> Numbers:
    """Dates and times as days since 1970, NaN where one is missing."""
    import pyarrow as pa

    whole = values.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    return np.array(whole.to_numpy(zero_copy_only=False), dtype=np.float64) / DAY


def _category_numbers(column: Column, values: Any) -> Numbers:
    import pyarrow as pa

    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    places = {category: float(i) for i, category in enumerate(column.categories)}
    given = values.to_pylist()
    found = np.array([np.nan if _is_missing(v) else places.get(v, -1.0) for v in given], dtype=np.float64)
    unknown = sorted({str(given[i]) for i in (found < 0).nonzero()[0]})
    if unknown:
        known = [repr(category) for category in column.categories]
        raise ValueError(
            f"the column {column.name!r} holds {_some([repr(u) for u in unknown])}, which "
            f"{'is' if len(unknown) == 1 else 'are'} not among its categories {_some(known)}{_open(column)}"
        )
    return found


def _open(column: Column) -> str:
    """What would have it take other numbers too."""
    if isinstance(column.categories[0], bool | str):
        return ""
    return f". A model trained with columns={{{column.name!r}: 'count'}}, or 'real', takes other numbers too"


def _is_missing(value: object) -> bool:
    return value is None or value != value  # NaN is not itself


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def column_of(column: Column, raw: Numbers) -> Any:
    """An Arrow array of the column's own type, from raw numbers; NaN becomes a missing value.

    Args:
        column: What it holds.
        raw: As `numbers_of` gives them; numbers between the values a column can hold go to the nearest.
    """
    import pyarrow as pa

    missing = np.isnan(raw)
    if column.categories:
        codes = np.where(missing, 0, raw).round().clip(0, len(column.categories) - 1).astype(np.int32)
        indices = pa.array(codes, mask=missing)
        named = pa.array(list(column.categories))
        if column.dtype == "dictionary":
            return pa.DictionaryArray.from_arrays(indices, named, ordered=column.kind == "ordinal")
        return named.take(indices).cast(pa.type_for_alias(column.dtype))
    if column.dtype.startswith(("timestamp", "date")):
        return _dates(column, np.where(missing, 0, raw), missing)
    kind = pa.type_for_alias(column.dtype)
    if pa.types.is_boolean(kind):
        return pa.array(raw > 0.5, mask=missing)
    if pa.types.is_integer(kind) or column.whole:
        raw = raw.round()
    if pa.types.is_integer(kind):
        bits = np.iinfo(kind.to_pandas_dtype())
        raw = np.where(missing, 0, raw).clip(bits.min, float(bits.max))
        return pa.array(raw.astype(kind.to_pandas_dtype()), mask=missing)
    return pa.array(raw.astype(kind.to_pandas_dtype()), mask=missing)


def _dates(column: Column, days: Numbers, missing: np.ndarray[Any, Any]) -> Any:
    import pyarrow as pa

    if column.whole:
        days = days.round()
    whole = pa.array((days * DAY).round().astype(np.int64), mask=missing).cast(pa.timestamp("us"))
    return whole.cast(pa.type_for_alias(column.dtype), safe=False)


def frame_of(schema: tuple[Column, ...], table: Any) -> Any:
    """An Arrow table as a pandas DataFrame with the types its columns had there."""
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            "to_frame makes a pandas DataFrame: pip install 'lucid-vae[tables]', or use to_table, which makes a "
            "pyarrow.Table"
        ) from error
    frame = table.to_pandas()
    for column in schema:
        if column.pandas == "category":
            kind = pd.CategoricalDtype(list(column.categories), ordered=column.kind == "ordinal")
            frame[column.name] = frame[column.name].astype(kind)
        elif column.pandas:
            frame[column.name] = frame[column.name].astype(column.pandas)
    return frame


def to_model_space(schema: tuple[Column, ...], raw: Tensor) -> Tensor:
    """Raw numbers (..., columns) as a model sees them: `Column` says how."""
    positive = [i for i, column in enumerate(schema) if column.kind == "positive"]
    if positive:
        raw = raw.clone()
        raw[..., positive] = raw[..., positive].log()
    return (raw - _row(schema, "shift", raw)) / _row(schema, "scale", raw)


def to_raw_space(schema: tuple[Column, ...], x: Tensor) -> Tensor:
    """What a model made, (..., columns), as raw numbers in float64; categories and whole numbers are rounded."""
    raw = x.double() if x.device.type != "mps" else x.float()  # which has no float64
    raw = raw * _row(schema, "scale", raw) + _row(schema, "shift", raw)
    for i, column in enumerate(schema):
        if column.kind == "positive":
            raw[..., i] = raw[..., i].exp()
        if column.whole or column.kind not in ("real", "positive"):
            raw[..., i] = raw[..., i].round()
        if column.kind not in ("real", "positive"):
            raw[..., i] = raw[..., i].clamp(0, None if column.levels is None else column.levels - 1)
    return raw


def _row(schema: tuple[Column, ...], name: str, like: Tensor) -> Tensor:
    return torch.tensor([getattr(column, name) for column in schema], dtype=like.dtype, device=like.device)

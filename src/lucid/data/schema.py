"""What the columns of a mixed table are: inferred from their types and values, or as the user says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast, get_args

import numpy as np
from torch import Tensor

from lucid.distributions import Column
from lucid.distributions.column import Kind
from lucid.models.coding import as_days

__all__ = ["IGNORE", "KINDS", "Said", "infer", "measured", "said_kinds"]

IGNORE = "ignore"
KINDS: tuple[str, ...] = (*get_args(Kind), IGNORE)
"""What a column may be said to be."""
Said = str | tuple[Any, ...] | None
"""What the user says of a column: a kind, its categories in order, or nothing."""

_MOST_NAMES = 100  # different texts that are classes; more are names
_MOST_STEPS = 20  # whole numbers, none left out, that are steps of a scale, each of them seen ten times on average
_SEEN = 10
_LIKERT = 7  # steps, not from 0 on, that are rather answers than counts, however rare the last
_MOST_COUNTED = 10_000
_SKEWED = 1.0


def said_kinds(columns: Mapping[str, Any]) -> dict[str, Said]:
    """What the user says of columns, checked.

    Raises:
        TypeError, ValueError: If one is neither a kind, "ignore", nor a list of categories.
    """
    said: dict[str, Said] = {}
    for name, value in columns.items():
        if isinstance(value, str):
            if value not in KINDS:
                raise ValueError(f"columns= says that {name!r} is {value!r}; the kinds are {', '.join(KINDS)}")
            said[str(name)] = value
        elif isinstance(value, Sequence) and len(value) > 1:
            said[str(name)] = tuple(cast("Sequence[Any]", value))
        else:
            raise TypeError(
                f"columns= says of each column its kind ({', '.join(KINDS)}) or its categories in order, two or more; "
                f"of {name!r} it says {value!r}"
            )
    return said


def infer(name: str, values: Any, said: Said = None, pandas: str = "") -> Column:
    """What a column is.

    Text, booleans and whole numbers of two values are binary, text and declared categories are categorical (ordinal
    where they are declared ordered). Up to 20 whole numbers without a gap are ordinal if the greatest is not rare, or
    if there are at most 7 and 0 is not among them. Other whole numbers from 0 or 1 on that spread at least as a Poisson
    distribution are counts; numbers above 0 whose logarithm is less skewed are positive; all others, dates too, are
    real.

    Args:
        name: Of the column.
        values: An Arrow array.
        said: What the user says; that is not inferred.
        pandas: Its type in pandas, where it comes from there.

    Raises:
        ValueError: If the values cannot be of that kind, or say nothing.
    """
    import pyarrow as pa

    types, kind = pa.types, values.type
    if types.is_dictionary(kind):
        return _declared(name, values, said, pandas)
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    if text or types.is_boolean(kind):
        return _classes(name, values, said, pandas)
    if (types.is_timestamp(kind) and kind.tz is None) or types.is_date(kind):
        numbers = as_days(values)
    elif types.is_integer(kind) or types.is_floating(kind) or types.is_null(kind):
        numbers = np.array(values.to_numpy(zero_copy_only=False), dtype=np.float64)
    else:
        remedy = "Convert the times to one zone and drop it, or leave" if types.is_timestamp(kind) else "Leave"
        raise ValueError(
            f"the column {name!r} holds {kind}, which is neither numbers, text, booleans nor dates. {remedy} it out: "
            f"columns={{{name!r}: 'ignore'}}"
        )
    return _of_numbers(name, values, numbers, said, pandas)


def _of_numbers(name: str, values: Any, numbers: np.ndarray[Any, Any], said: Said, pandas: str) -> Column:
    if np.isinf(numbers).any():
        raise ValueError(
            f"the column {name!r} holds {np.isinf(numbers).sum()} infinite values of {len(numbers)}, the first in row "
            f"{np.isinf(numbers).argmax()}: make them missing (NaN) or leave those rows out"
        )
    seen = numbers[~np.isnan(numbers)]
    whole = bool((seen == np.round(seen)).all())
    is_date = str(values.type).startswith(("timestamp", "date"))
    kind = said or _number_kind(seen, whole=whole, is_date=is_date)
    if isinstance(kind, tuple) or kind in ("binary", "categorical", "ordinal"):
        return _classes(name, values, kind, pandas)
    if len(np.unique(seen)) < 2:
        raise ValueError(_constant(name, "no value" if not len(seen) else f"only the value {seen[0]:g}"))
    return Column(
        name,
        cast("Kind", kind),
        dtype="double" if str(values.type) == "null" else str(values.type),
        pandas=pandas,
        whole=whole and kind in ("real", "positive"),
    )


def _number_kind(seen: np.ndarray[Any, Any], *, whole: bool, is_date: bool) -> str:
    different = len(np.unique(seen))
    if is_date or different < 2:
        return "real"
    if whole and different == 2:
        return "binary"
    low, high = seen.min(), seen.max()
    room = high - low + 1
    short = low != 0 and room <= _LIKERT  # a scale even where no row holds one of its steps
    steps = whole and (short or room == different <= _MOST_STEPS) and len(seen) >= _SEEN * different
    # After a rare last value others may follow, for which a scale has no room.
    rare = (seen == high).mean() < 0.5 / different
    if steps and (short or not rare):
        return "ordinal"
    if whole and low in (0, 1) and high <= _MOST_COUNTED and _spreads(seen):
        return "count"
    if low > 0 and _skewness(seen) > _SKEWED and abs(_skewness(np.log(seen))) < _skewness(seen):
        return "positive"
    return "real"


def _spreads(x: np.ndarray[Any, Any]) -> bool:
    """Whether counts vary at least as a Poisson distribution's, whose variance over mean has the error √(2/n)."""
    return bool(x.var() >= x.mean() * (1 - 3 * math.sqrt(2 / len(x))))


def _skewness(x: np.ndarray[Any, Any]) -> float:
    centred = x - x.mean()
    return float((centred**3).mean() / (centred**2).mean() ** 1.5)


def _classes(name: str, values: Any, said: Said, pandas: str) -> Column:
    found = sorted(v for v in values.unique().to_pylist() if v is not None and v == v)
    if isinstance(said, tuple):
        categories, kind = said, "ordinal"
    else:
        if isinstance(said, str) and said not in ("binary", "categorical", "ordinal"):
            raise ValueError(f"columns= says that {name!r} is {said}, and it holds {values.type}")
        categories = (False, True) if str(values.type) == "bool" and len(found) else tuple(found)
        kind = said or ("binary" if len(categories) == 2 else "categorical")
        if kind == "ordinal":
            categories = _without_gaps(categories)
    if len(categories) < 2:
        raise ValueError(_constant(name, f"only the value {categories[0]!r}" if categories else "no value"))
    if said is None and len(categories) > _MOST_NAMES:
        raise ValueError(
            f"the column {name!r} holds {len(categories)} different texts in {len(values)} rows, which are rather "
            f"names than classes. Leave it out, columns={{{name!r}: 'ignore'}}, or take them as classes, "
            f"columns={{{name!r}: 'categorical'}}"
        )
    if kind == "binary" and len(categories) != 2:
        raise ValueError(f"columns= says that {name!r} is binary, and it holds {len(categories)} different values")
    return Column(name, cast("Kind", kind), categories=categories, dtype=str(values.type), pandas=pandas)


def _without_gaps(found: tuple[Any, ...]) -> tuple[Any, ...]:
    """The steps of a scale of whole numbers, those that no row holds included; anything else as it is."""
    if not all(isinstance(v, int | float) and v == round(v) for v in found) or len(found) < 2:
        return found
    step = math.gcd(*(round(b - a) for a, b in pairwise(found)))
    filled = range(round(found[0]), round(found[-1]) + 1, step)
    return tuple(type(found[0])(v) for v in filled) if len(filled) <= _MOST_NAMES else found


def _declared(name: str, values: Any, said: Said, pandas: str) -> Column:
    """Categories that the file or frame declares."""
    import pyarrow as pa

    whole = values.unify_dictionaries().combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    categories = tuple(whole.dictionary.to_pylist())
    if isinstance(said, tuple):
        categories, kind = said, "ordinal"
    else:
        kind = said or ("ordinal" if values.type.ordered else "binary" if len(categories) == 2 else "categorical")
    if kind not in ("binary", "categorical", "ordinal"):
        raise ValueError(f"columns= says that {name!r} is {kind}, and it holds declared categories")
    if len(categories) < 2:
        raise ValueError(_constant(name, f"the categories {list(categories)}"))
    return Column(name, cast("Kind", kind), categories=categories, dtype="dictionary", pandas=pandas)


def _constant(name: str, holds: str) -> str:
    return f"the column {name!r} holds {holds}: there is nothing to model. Leave it out: columns={{{name!r}: 'ignore'}}"


def measured(schema: tuple[Column, ...], raw: Tensor, rows: Tensor, scaling: str) -> tuple[Column, ...]:
    """The columns with their shift and scale, measured on the observed values of the training part.

    Args:
        schema: The columns.
        raw: Raw numbers of all parts, (N, columns), NaN where missing.
        rows: Which examples are for training.
        scaling: "standardise" (mean and standard deviation), "unit" (onto [0, 1]) or "none".

    Raises:
        ValueError: If the observed values of a column are constant there.
    """
    if scaling == "none":
        return schema
    scaled: list[Column] = []
    for i, column in enumerate(schema):
        if column.kind not in ("real", "positive"):
            scaled.append(column)
            continue
        x = raw[rows, i].double()
        x = x[~x.isnan()]
        if column.kind == "positive":
            x = x.log()
        if x.numel() == 0 or not bool(x.max() > x.min()):
            raise ValueError(
                f"the column {column.name!r} holds {x.numel()} values in the training part, and they do not vary: it "
                f"cannot be scaled. Leave it out: columns={{{column.name!r}: 'ignore'}}"
            )
        shift, scale = (x.mean(), x.std(correction=0)) if scaling == "standardise" else (x.min(), x.max() - x.min())
        scaled.append(replace(column, shift=float(shift), scale=float(scale)))
    return tuple(scaled)

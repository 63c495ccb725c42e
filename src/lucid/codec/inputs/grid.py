"""Numbers as users hold them and the levels that are coded: what lies exactly on the grid comes back bit for bit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from lucid import io
from lucid.codec.layout import MOST_COUNT, DataLayout
from lucid.models import DataProtocol

__all__ = ["Scale", "from_levels", "missing", "protocol_of", "scale_of", "to_levels"]

Scale = str
"""Where the levels 0 … L − 1 lie in an array: "whole", at 0 … L − 1; "unit", at k / (L − 1)."""

missing = -1
"""The level of a missing value."""

_COUNTS = f"counts 0, 1, 2, … {MOST_COUNT}"
_BITS = {
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
    torch.float32: torch.int32,
    torch.float64: torch.int64,
}


def protocol_of(data: DataLayout) -> DataProtocol | None:
    """How the model's data was prepared; None where nobody said.

    Raises:
        ValueError: If the description is damaged.
    """
    if not data.protocol:
        return None
    built: Any = io.build(dict(data.protocol))
    if not isinstance(built, DataProtocol):
        raise ValueError(f"the codec's data protocol describes a {type(built).__name__}: the file is damaged")
    return built


@dataclass(frozen=True)
class _Bounds:
    """The greatest level of each number of an example, and the columns' names, of a table."""

    greatest: Tensor
    columns: tuple[str, ...]


def _bounds(data: DataLayout) -> _Bounds:
    protocol = protocol_of(data)
    if protocol is not None and protocol.schema:
        levels = [column.levels or MOST_COUNT + 1 for column in protocol.schema]
        return _Bounds(torch.tensor(levels) - 1, protocol.columns)
    return _Bounds(torch.tensor((data.levels or MOST_COUNT + 1) - 1), ())


def scale_of(low: float, high: float, dtype: torch.dtype, data: DataLayout) -> Scale:
    """Where the levels lie in an array, from its least and greatest value.

    Args:
        low: Of all examples.
        high: Likewise.
        dtype: Of the array.
        data: What the model codes.
    """
    return "unit" if dtype.is_floating_point and data.levels is not None and low >= 0 and high <= 1 else "whole"


def to_levels(x: Tensor, scale: Scale, data: DataLayout, what: str, first: int = 0) -> Tensor:
    """The levels of examples, int64.

    Args:
        x: (n, *shape), integers, booleans or floating point, channels first.
        scale: As `scale_of` says of the whole array.
        data: What the model codes.
        what: What the array is called in an error.
        first: The number of the first example, for an error.

    Raises:
        ValueError: If a value is not on the grid, with the rule, the value and the remedy.
    """
    bounds = _bounds(data)
    if not x.is_floating_point():
        levels = x.long()
        _check_range(levels, levels, bounds, data, what, first)
        return levels
    exact = x.double()
    times = 1 if scale == "whole" else cast("int", data.levels) - 1
    absent = exact.isnan() if bounds.columns else torch.zeros_like(exact, dtype=torch.bool)
    rounded = torch.where(absent, missing, (exact * times).round())
    sound = torch.where(rounded.isfinite() & (rounded.abs() < 2**53), rounded, 0.0)
    levels = sound.long()
    bad = ~_same_bits(from_levels(levels, scale, x.dtype, data), x)
    if bool(bad.any()):
        place = bad.nonzero()[0].tolist()
        _refuse(float(exact[tuple(place)]), place, bounds, data, what, first)
    _check_range(levels, exact, bounds, data, what, first, absent)
    return levels


def from_levels(levels: Tensor, scale: Scale, dtype: torch.dtype, data: DataLayout) -> Tensor:
    """The inverse of `to_levels`: the numbers that had these levels."""
    if not dtype.is_floating_point:
        return levels.to(dtype)
    # As PyTorch and NumPy divide numbers of 16 bits.
    wide = levels.to(torch.promote_types(dtype, torch.float32))
    x = (wide if scale == "whole" else wide / (cast("int", data.levels) - 1)).to(dtype)
    return torch.where(levels == missing, torch.nan, x)


def _same_bits(a: Tensor, b: Tensor) -> Tensor:
    """Negative zeros and unusual NaNs would come back as other bits, though they are equal or none."""
    bits = _BITS[a.dtype]
    return a.contiguous().view(bits) == b.contiguous().view(bits)


def _check_range(
    levels: Tensor, x: Tensor, bounds: _Bounds, data: DataLayout, what: str, first: int, absent: Tensor | None = None
) -> None:
    bad = (levels < 0) | (levels > bounds.greatest)
    if absent is not None:
        bad &= ~absent
    if bool(bad.any()):
        place = bad.nonzero()[0].tolist()
        _refuse(float(x[tuple(place)]), place, bounds, data, what, first)


def _refuse(value: float, place: list[int], bounds: _Bounds, data: DataLayout, what: str, first: int) -> None:
    if bounds.columns and value == 0 and math.copysign(1, value) < 0:
        where = f"the column {bounds.columns[place[-1]]!r} of {what} holds -0.0 in row {first + place[0]}"
        raise ValueError(f"{where}; {_rule(value, data)}")
    number = "-0.0" if value == 0 and math.copysign(1, value) < 0 else f"{value:g}"
    if bounds.columns:
        greatest = bounds.greatest[place[-1]].item()
        takes = _COUNTS if greatest == MOST_COUNT else f"whole numbers 0 … {greatest}"
        where = f"the column {bounds.columns[place[-1]]!r} of {what} holds {number} in row {first + place[0]}"
        raise ValueError(f"{where}; the model knows {takes} there, and NaN where a value is missing")
    raise ValueError(f"{what} holds {number} in example {first + place[0]}; {_rule(value, data)}")


def _rule(value: float, data: DataLayout) -> str:
    protocol = protocol_of(data)
    if value == 0 and math.copysign(1, value) < 0:
        return "the model knows 0, and would give that back: a negative zero becomes 0 by x + 0.0"
    if data.levels is None:
        return f"the model knows {_COUNTS}"
    top = data.levels - 1
    if data.levels == 2:
        greys = value > 0
        made = f" (its greys were {protocol.levels} levels)" if protocol is not None and protocol.levels else ""
        remedy = (
            f". It was trained on binarised data{made}, and greys are more than it can hold: binarise them first, for "
            "instance x > x.max() / 2, or train a model of the greys themselves, without --binarise"
        )
        return "the model knows 0 and 1 alone" + (remedy if greys else "")
    grid = f"the model has {data.levels} levels: whole numbers 0 … {top}, or floating point k / {top}, exactly"
    if math.isfinite(value) and 0 <= value <= 1:
        return f"{grid}. What was rounded on the way is brought back by (x * {top}).round()"
    return grid

"""Functions of one variable in integers: as clamps where that is what they are, as tables otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lucid.codec.network.ranges import Range

__all__ = ["Piece", "clamp_of", "knots_of", "pieces_of", "slopes_of", "table_of"]

Function = Callable[[Tensor], Tensor]

_PROBES = 4097

_WIDER = 2
"""A table reaches at least this many times as far from zero as what calibration has seen."""

_TOLERANCE = 2.0**-13
"""Of a table, relative to the largest value of the function in calibration."""

_LINES = 1 << 12
"""Straight lines of an interpolated table."""


@dataclass(frozen=True)
class Piece:
    """A table over first · 2^−fraction … last · 2^−fraction.

    Attributes:
        fraction: Of the step.
        first: The first entry.
        last: The last entry.
        lines: Whether straight lines join the entries, the end ones for ever; otherwise the nearest entry is the value.
        clamped: Whether the variable is clamped to these ends first: pieces are summed.
        reach: Where the lines at the ends, which go on for ever, meet the function once more.
        base: Where the piece's value is zero; None: it is the function itself.
    """

    fraction: int
    first: int
    last: int
    lines: bool
    clamped: bool = False
    reach: tuple[float, float] | None = None
    base: float | None = None

    @property
    def points(self) -> Tensor:
        """Where the entries lie."""
        return torch.arange(self.first, self.last + 1, dtype=torch.float64) * 2.0**-self.fraction

    def coarsened(self, fraction: int) -> Piece:
        """At most `fraction` bits, for a variable that has no more."""
        down = 2.0 ** min(fraction - self.fraction, 0)
        first, last = math.floor(self.first * down), math.ceil(self.last * down)
        return replace(self, fraction=min(fraction, self.fraction), first=first, last=max(last, first + 1))


def clamp_of(function: Function, seen: Range, headroom: float) -> tuple[float, float] | None:
    """The ends between which a function only clamps, such as (0, ∞) of a rectifier; None if it does more than that."""
    bound = seen.magnitude * headroom
    x = torch.linspace(-bound, bound, _PROBES, dtype=torch.float64)
    x = torch.cat([x, torch.tensor([-math.inf, math.inf], dtype=torch.float64)])
    value = function(x)
    low, high = float(value[-2]), float(value[-1])
    if not low <= high or not torch.equal(value, x.clamp(low, high)):
        return None
    return low, high


def table_of(function: Function, piece: Piece) -> Tensor:
    """The function's float64 values at a piece's points; where it is not finite, the nearest that is.

    Raises:
        ValueError: The function is finite nowhere there.
    """
    value = function(piece.points)
    finite = torch.isfinite(value)
    if not bool(finite.any()):
        if piece.base is not None:
            return torch.zeros_like(value)
        low, high = float(piece.points[0]), float(piece.points[-1])
        raise ValueError(
            f"a function in the model's networks is finite nowhere from {low:.4g} to {high:.4g}: calibrate with data "
            f"of the kind that the model was trained on"
        )
    if not bool(finite.all()):
        places = torch.where(finite)[0]
        value = value[places[torch.searchsorted(places, torch.arange(len(value))).clamp(max=len(places) - 1)]]
    if piece.base is None:
        return value
    return value - (value[0] if piece.base <= float(piece.points[0]) else value[-1])


def pieces_of(function: Function, seen: Range, size: float, table_bits: int, *, fine: bool) -> tuple[Piece, ...]:
    """The tables whose sum is the function.

    One table of nearest entries where that is good to `_TOLERANCE` (the fastest), else one of straight lines over where
    the function is not straight anyway, else several of those: dense near zero, coarse far from it.

    Args:
        function: Of one variable.
        seen: The variable in calibration.
        size: The largest magnitude of the function's value in calibration.
        table_bits: A table of nearest entries has at most 2^this.
        fine: Whether nearest entries are not good enough, unless they are exact.
    """
    nearest = _nearest(seen, table_bits)
    if nearest.fraction == seen.lattice or (not fine and _coarseness(function, nearest, seen) <= _TOLERANCE * size):
        return (nearest,)
    lines = _lines(function, nearest, 2.0 ** math.ceil(math.log2(size)))  # alike for many layers
    if _bend(function, lines, seen) <= _TOLERANCE * size:
        return (lines,)
    return _graded(nearest, seen)


def _nearest(seen: Range, table_bits: int) -> Piece:
    reach = math.ceil(math.log2(seen.magnitude * _WIDER))  # a power of two, so that many layers share one table
    fraction = max(-40, min(40, table_bits - 1 - reach))
    if seen.lattice is not None:
        fraction = min(fraction, seen.lattice)
    last = max(1, math.ceil(2.0 ** (reach + fraction)))
    return Piece(fraction, -last, last, lines=False)


def _coarseness(function: Function, piece: Piece, seen: Range) -> float:
    """The largest error of nearest entries within what calibration has seen."""
    x = piece.points
    inside = function(x[(x >= seen.low) & (x <= seen.high)])
    return float(inside.diff().abs().nan_to_num(math.inf).max()) / 2 if len(inside) > 1 else 0.0


def _lines(function: Function, nearest: Piece, size: float) -> Piece:
    """Straight lines over the part of a domain where the function bends."""
    x = nearest.points
    value = table_of(function, nearest)
    step = 2.0**-nearest.fraction
    left = (value - (value[0] + (x - x[0]) * (value[1] - value[0]) / step)).abs()
    right = (value - (value[-1] + (x - x[-1]) * (value[-1] - value[-2]) / step)).abs()
    bent = torch.where((left > size * 2.0**-20) & (right > size * 2.0**-20))[0]
    low, high = (float(x[bent[0]]), float(x[bent[-1]])) if len(bent) else (float(x[0]), float(x[-1]))
    fraction = min(40, math.ceil(math.log2(_LINES / max(high - low, step))))
    first, last = math.floor(low * 2.0**fraction) - 1, math.ceil(high * 2.0**fraction) + 1
    return Piece(fraction, first, last, lines=True, reach=(float(x[0]), float(x[-1])))


def _bend(function: Function, piece: Piece, seen: Range) -> float:
    """The largest distance of the function from its straight lines, at their middles."""
    x = piece.points
    middles = (x[:-1] + x[1:]) / 2
    value = function(x)
    error = (function(middles) - (value[:-1] + value[1:]) / 2).abs().nan_to_num(math.inf)
    inside = error[(middles >= seen.low) & (middles <= seen.high)]
    return float(inside.max()) if len(inside) else 0.0


def _graded(nearest: Piece, seen: Range) -> tuple[Piece, ...]:
    """Straight lines with steps that grow eightfold, away from zero: logarithms of counts, roots."""
    low, high = nearest.points[0].item(), nearest.points[-1].item()
    finest = seen.lattice if seen.lattice is not None else 20 - math.ceil(math.log2(seen.magnitude))
    pieces: list[Piece] = []
    for sign, end in ((1, high), (-1, -low)):
        start, fraction = 0, finest  # in steps of 2^−fraction
        while start * 2.0**-fraction < end:
            edges = sorted((sign * start, sign * _LINES))
            base = sign * start * 2.0**-fraction if pieces else None
            pieces.append(Piece(fraction, edges[0], edges[1], lines=True, clamped=True, base=base))
            start, fraction = _LINES // 8, fraction - 3
    return tuple(pieces)


def slopes_of(function: Function, piece: Piece, values: Tensor) -> Tensor:
    """The slope from every entry of a table of straight lines onwards, float64."""
    inner = values.diff() * 2.0**piece.fraction
    if piece.reach is None:
        return torch.cat([inner, inner.new_zeros(1)])
    ends = function(torch.tensor(piece.reach, dtype=torch.float64))
    x, last = piece.points, inner[-1:]
    if piece.reach[1] > float(x[-1]) and bool(ends[1].isfinite()):
        last = (ends[1:] - values[-1]) / (piece.reach[1] - x[-1:])
    if piece.reach[0] < float(x[1]) and bool(ends[0].isfinite()):
        inner = torch.cat([(values[1] - ends[:1]) / (x[1:2] - piece.reach[0]), inner[1:]])
    return torch.cat([inner, last])


def knots_of(values: Tensor, tolerance: float) -> tuple[Tensor, int]:
    """Every 2^spread-th of a table's values, and the spread, where straight lines make the rest to a tolerance."""
    best = values, 0
    for spread in range(1, 11):
        if (len(values) - 1) % (1 << spread):
            break
        knots = values[:: 1 << spread]
        if float((_lines_between(knots, spread) - values).abs().max()) > tolerance:
            break
        best = knots, spread
    return best


def _lines_between(knots: Tensor, spread: int) -> Tensor:
    """Straight lines between knots that are 2^spread entries apart."""
    between = torch.arange(1 << spread, dtype=torch.float64) * 2.0**-spread
    return torch.cat([(knots[:-1, None] + knots.diff()[:, None] * between).reshape(-1), knots[-1:]])

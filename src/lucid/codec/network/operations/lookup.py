"""Functions of one variable as stored tables, and clamps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lucid.codec.network.operations.base import Operation, Raw, Spec, held

__all__ = ["Clamp", "Interpolate", "Lookup"]


LONGEST = 1 << 20
"""Entries of a table: 8 MB."""


def _table(spec: Spec, first: int) -> Tensor:
    table = spec.constant
    if table is None or table.dim() != 1 or not 1 <= len(table) <= LONGEST:
        raise ValueError(f"a table is a constant of one dimension, 1 to {LONGEST} long; received {spec.shape}")
    if abs(first) > 1 << 40:
        raise ValueError(f"a table begins within ±{1 << 40}; received {first}")
    return table


def _chosen(table: Tensor, index: Tensor) -> Tensor:
    """table[index], for any memory layout of the index: int32, since that is the fastest."""
    if index.dim() == 4 and index.is_contiguous(memory_format=torch.channels_last):
        moved = index.permute(0, 2, 3, 1)
        return table.index_select(0, moved.reshape(-1)).view(moved.shape).permute(0, 3, 1, 2)
    return table.index_select(0, index.reshape(-1)).view(index.shape)


@dataclass(frozen=True)
class Clamp(Operation):
    """The nearest value within the node's own bounds: a rectifier has 0 below, any clamp its two ends."""

    name = "clamp"
    arity = (1, 1)

    def raw(self, inputs: Sequence[Spec]) -> Raw:
        x = inputs[0]
        return Raw(x.fraction, x.low, x.high, x.magnitude)

    def prepare(self, inputs: Sequence[Spec], scale: int) -> tuple[Any, ...]:
        return (2.0**scale,)

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        return values[0] * prepared[0]


@dataclass(frozen=True)
class Lookup(Operation):
    """table[⌊x · 2^−shift⌉ − first], with the ends of the table beyond it.

    The table is stored as knots, 2^spread entries apart; straight lines between them, rounded to whole numbers, make
    the entries when the network is made ready.
    """

    name = "lookup"
    arity = (2, 2)
    shift: int
    first: int
    spread: int

    def __post_init__(self) -> None:
        if not 0 <= self.shift <= 60 or not 0 <= self.spread <= 16:
            raise ValueError(f"a table's step is 2^0 to 2^60, its knots are 2^0 to 2^16 apart; received {self}")

    def _size(self, table: Spec) -> int:
        size = (len(_table(table, self.first)) - 1 << self.spread) + 1
        if size > LONGEST:
            raise ValueError(f"a table has at most {LONGEST} entries; received {size}")
        return size

    def raw(self, inputs: Sequence[Spec]) -> Raw:
        x, table = inputs
        self._size(table)
        partial = max(x.magnitude + abs(self.first), 2 * table.magnitude << self.spread)
        return Raw(table.fraction, table.low, table.high, partial)

    def prepare(self, inputs: Sequence[Spec], scale: int) -> tuple[Any, ...]:
        x, table = inputs
        size = self._size(table)
        inside = self.shift == 0 and self.first <= x.low and x.high < self.first + size
        entries = spread_out(held(table.constant), self.spread) * 2.0**scale
        return entries, 2.0**-self.shift, float(self.first), size - 1.0, inside

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        table, factor, first, last, inside = prepared
        x = values[0]
        if factor != 1:
            x = (x * factor).round_()
        if first:
            x = x - first
        if not inside:
            x = x.clamp(0, last)
        return _chosen(table, x.to(torch.int32))


def spread_out(knots: Tensor, spread: int) -> Tensor:
    """The entries of a table whose knots are 2^spread apart: whole numbers, all steps exact but the last rounding."""
    if spread == 0:
        return knots
    between = torch.arange(1 << spread, dtype=torch.float64)
    lines = knots[:-1, None] + (knots.diff()[:, None] * between).mul_(2.0**-spread)
    return torch.cat([lines.reshape(-1).round_(), knots[-1:]])


@dataclass(frozen=True)
class Interpolate(Operation):
    """values[i] + slopes[i] · (x − i · 2^shift), i = ⌊x · 2^−shift⌋: straight lines, the end ones for ever.

    The inputs are x, values and slopes; i is clamped to first … first + length − 1, the value is rounded to the
    fraction of slope · x.
    """

    name = "interpolate"
    arity = (3, 3)
    shift: int
    first: int

    def __post_init__(self) -> None:
        if not 0 <= self.shift <= 60:
            raise ValueError(f"a table's step is 2^0 to 2^60; received {self.shift}")

    def raw(self, inputs: Sequence[Spec]) -> Raw:
        x, values, slopes = inputs
        size = len(_table(values, self.first))
        if len(_table(slopes, self.first)) != size:
            raise ValueError(f"values and slopes are as many; received {size} and {slopes.shape}")
        fraction = x.fraction + slopes.fraction
        up = fraction - values.fraction
        if up < 0:
            raise ValueError(f"values have at most the {fraction} bits of slope · x; received {values.fraction}")
        step = 1 << self.shift
        below, above = min(x.low - self.first * step, 0), max(x.high - (self.first + size - 1) * step, step)
        reach = max(abs(below), above)  # of x − i · 2^shift
        partial = (values.magnitude << up) + slopes.magnitude * reach
        return Raw(fraction, -partial, partial, max(partial, x.magnitude + (abs(self.first) + size) * step))

    def prepare(self, inputs: Sequence[Spec], scale: int) -> tuple[Any, ...]:
        x, values, slopes = inputs
        up = x.fraction + slopes.fraction - values.fraction
        first, last = float(self.first), float(self.first + values.shape[0] - 1)
        return 2.0**self.shift, first, last, held(values.constant, up + scale), held(slopes.constant, scale)

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        step, first, last, table, slopes = prepared
        x = values[0]
        i = (x * (1.0 / step)).floor_().clamp_(first, last)
        index = (i - first).to(torch.int32)
        return (x - i.mul_(step)).mul_(_chosen(slopes, index)).add_(_chosen(table, index))

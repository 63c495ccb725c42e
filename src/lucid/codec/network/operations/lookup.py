"""Functions of one variable as stored tables, and clamps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lucid.codec.network.operations.base import AS_IT_COMES, Finish, Operation, Raw, Spec, held

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


_CACHED = 1 << 14
"""Numbers at a time: with the two arrays beside them they stay in a processor's second cache."""


def _flat(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x as a row, memory for as many results, and that memory in the shape and layout of x."""
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
        x = x.permute(0, 2, 3, 1)
        result = torch.empty_like(x, memory_format=torch.contiguous_format)
        return x.view(-1), result.view(-1), result.permute(0, 3, 1, 2)
    x = x.contiguous()
    result = torch.empty_like(x)
    return x.view(-1), result.view(-1), result


def _parts(x: Tensor, result: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Rows of x and of its result, with memory for float64 and int32 beside them; all at once where not on a CPU.

    Tables are read by int32, since that is the fastest.
    """
    size = min(len(x), _CACHED) if x.device.type == "cpu" else len(x)
    beside, index = x.new_empty(size), x.new_empty(size, dtype=torch.int32)
    for start in range(0, len(x), max(size, 1)):
        part = x[start : start + size]
        yield part, result[start : start + size], beside[: len(part)], index[: len(part)]


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

    def ready_numbers(self, inputs: Sequence[Spec]) -> int:
        return self._size(inputs[1])

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
        return self.finished(values, prepared, AS_IT_COMES)

    def finished(self, values: Sequence[Tensor], prepared: tuple[Any, ...], finish: Finish) -> Tensor:
        table, factor, first, last, inside = prepared
        row, into, result = _flat(values[0])
        for x, y, place, index in _parts(row, into):
            if factor != 1:
                torch.mul(x, factor, out=place).round_().sub_(first)
            else:
                torch.sub(x, first, out=place)
            index.copy_(place if inside else place.clamp_(0, last))
            finish(torch.index_select(table, 0, index, out=y))
        return result


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
        most = (values.magnitude << up) + slopes.magnitude * reach
        # What `finished` computes: the line of a step at zero, plus slope · x.
        far = max(abs(self.first), abs(self.first + size - 1)) * step
        at_zero = (values.magnitude << up) + slopes.magnitude * far
        indices = x.magnitude + (abs(self.first) + size) * step
        return Raw(fraction, -most, most, max(most, at_zero, slopes.magnitude * x.magnitude, indices))

    def prepare(self, inputs: Sequence[Spec], scale: int) -> tuple[Any, ...]:
        x, values, slopes = inputs
        up = x.fraction + slopes.fraction - values.fraction
        count, steps = values.shape[0], torch.arange(values.shape[0], dtype=torch.float64)
        begins = (steps + self.first).mul_(2.0**self.shift)
        table, gradient = held(values.constant, up + scale), held(slopes.constant, scale)
        first = torch.tensor(-float(self.first), dtype=torch.float64)
        return 2.0**-self.shift, first, count - 1.0, table - gradient * begins, gradient

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        return self.finished(values, prepared, AS_IT_COMES)

    def finished(self, values: Sequence[Tensor], prepared: tuple[Any, ...], finish: Finish) -> Tensor:
        per_step, first, last, at_zero, slopes = prepared
        row, into, result = _flat(values[0])
        for x, y, beside, index in _parts(row, into):
            # A number of either sign is cut to a whole one downwards: none below zero is left.
            index.copy_(torch.add(first, x, alpha=per_step, out=beside).clamp_(0, last))
            torch.index_select(slopes, 0, index, out=y).mul_(x)
            finish(y.add_(torch.index_select(at_zero, 0, index, out=beside)))
        return result

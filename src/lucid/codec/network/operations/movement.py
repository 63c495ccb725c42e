"""Data movement: nothing is computed, so every value passes as it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lucid.codec.network.operations.base import Operation, Raw, Spec

__all__ = ["Cat", "Expand", "Gather", "Pad", "Permute", "Reshape", "Slice"]

_MOST_DIMS = 64


class _View(Operation):
    arity = (1, 1)
    fresh = False

    def raw(self, inputs: Sequence[Spec]) -> Raw:
        x = inputs[0]
        return Raw(x.fraction, x.low, x.high, x.magnitude)


@dataclass(frozen=True)
class Reshape(_View):
    """Another shape of one example."""

    name = "reshape"
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if any(size < 0 for size in self.shape):
            raise ValueError(f"a shape has sizes of zero or more; received {self.shape}")

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        return values[0].reshape(len(values[0]), *self.shape)


@dataclass(frozen=True)
class Permute(_View):
    """Dimensions in another order, the batch first."""

    name = "permute"
    dims: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dims[:1] != (0,) or sorted(self.dims) != list(range(len(self.dims))):
            raise ValueError(f"dims must be a permutation that keeps the batch first; received {self.dims}")

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        return values[0].permute(self.dims)


@dataclass(frozen=True)
class Slice(_View):
    """start, start + step, … before stop along a dimension."""

    name = "slice"
    dim: int
    start: int
    stop: int
    step: int

    def __post_init__(self) -> None:
        if not 1 <= self.dim <= _MOST_DIMS or self.step < 1 or not 0 <= self.start <= self.stop:
            raise ValueError(f"a slice runs forward along a dimension after the batch's; received {self}")

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        x = values[0]
        return x[(slice(None),) * self.dim + (slice(self.start, self.stop, self.step),)]


@dataclass(frozen=True)
class Expand(_View):
    """Dimensions of size 1 repeated."""

    name = "expand"
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if any(size < 0 for size in self.shape):
            raise ValueError(f"a shape has sizes of zero or more; received {self.shape}")

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        x = values[0]
        if x.dim() - 1 < len(self.shape):  # new dimensions stand behind the batch's
            x = x.reshape(len(x), *(1,) * (len(self.shape) - x.dim() + 1), *x.shape[1:])
        return x.expand(len(x), *self.shape)


@dataclass(frozen=True)
class Gather(_View):
    """The entries `index` of a dimension, which are known beforehand."""

    name = "gather"
    arity = (2, 2)
    dim: int

    def raw(self, inputs: Sequence[Spec]) -> Raw:
        x, index = inputs
        if index.constant is None or index.constant.dim() != 1 or not 1 <= self.dim <= len(x.shape):
            raise ValueError(f"a choice needs a list of entries of a dimension after the batch's; received {self}")
        if index.low < 0 or index.high >= x.shape[self.dim - 1]:
            raise ValueError(f"a choice out of {x.shape[self.dim - 1]} entries asks for {index.low} to {index.high}")
        return super().raw(inputs[:1])

    def prepare(self, inputs: Sequence[Spec], scale: int) -> tuple[Any, ...]:
        assert inputs[1].constant is not None
        return (inputs[1].constant,)

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        return values[0].index_select(self.dim, prepared[0])


@dataclass(frozen=True)
class Cat(Operation):
    """Values side by side along a dimension, all brought to the finest fraction."""

    name = "cat"
    arity = (1, 4096)
    dim: int

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise ValueError(f"values are joined along a dimension after the batch's; received {self.dim}")

    def raw(self, inputs: Sequence[Spec]) -> Raw:
        fraction = max(x.fraction for x in inputs)
        lows = [x.low << (fraction - x.fraction) for x in inputs]
        highs = [x.high << (fraction - x.fraction) for x in inputs]
        return Raw(fraction, min(lows), max(highs), max(map(abs, lows + highs)))

    def prepare(self, inputs: Sequence[Spec], scale: int) -> tuple[Any, ...]:
        fraction = max(x.fraction for x in inputs)
        return tuple(2.0 ** (fraction - x.fraction + scale) for x in inputs)

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        scaled = [v if factor == 1 else v * factor for v, factor in zip(values, prepared, strict=True)]
        rank, batch = max((v.dim(), len(v)) for v in scaled)  # constants have no batch
        return torch.cat([v if v.dim() == rank else v.expand(batch, *v.shape) for v in scaled], self.dim)


@dataclass(frozen=True)
class Pad(Operation):
    """Constant entries around an example: (before, after) of every dimension; `value` in the unit of x."""

    name = "pad"
    arity = (1, 1)
    pads: tuple[int, ...]
    value: int

    def __post_init__(self) -> None:
        if len(self.pads) % 2:
            raise ValueError(f"padding needs a number before and after every dimension; received {self.pads}")

    def raw(self, inputs: Sequence[Spec]) -> Raw:
        x = inputs[0]
        if len(self.pads) != 2 * len(x.shape):
            raise ValueError(f"an example of shape {x.shape} needs {2 * len(x.shape)} pads; received {self.pads}")
        if math.prod(size + max(self.pads[2 * i : 2 * i + 2]) for i, size in enumerate(x.shape)) < 0:
            raise ValueError(f"padding {self.pads} leaves nothing of shape {x.shape}")
        low, high = min(x.low, self.value), max(x.high, self.value)
        return Raw(x.fraction, low, high, max(abs(low), abs(high)))

    def prepare(self, inputs: Sequence[Spec], scale: int) -> tuple[Any, ...]:
        return (2.0**scale,)

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        pairs = [self.pads[i : i + 2] for i in range(0, len(self.pads), 2)]
        return F.pad(values[0], [size for pair in reversed(pairs) for size in pair], value=float(self.value)).mul_(
            prepared[0]
        )

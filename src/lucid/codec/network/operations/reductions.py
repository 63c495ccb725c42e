"""Sums, means, maxima and running sums over dimensions of an example."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lucid.codec.network.operations.base import Operation, Raw, Spec, check_dims, shifted

__all__ = ["Amax", "Cumsum", "Mean", "Sum"]


@dataclass(frozen=True)
class _Reduction(Operation):
    arity = (1, 1)
    dims: tuple[int, ...]
    keepdim: bool

    def _count(self, x: Spec) -> int:
        check_dims(self.dims, x)
        return math.prod(x.shape[dim - 1] for dim in self.dims)


@dataclass(frozen=True)
class Sum(_Reduction):
    """The sum over dims."""

    name = "sum"

    def raw(self, inputs: Sequence[Spec]) -> Raw:
        x, n = inputs[0], self._count(inputs[0])
        return Raw(x.fraction, n * x.low, n * x.high, n * x.magnitude)

    def prepare(self, inputs: Sequence[Spec], scale: int) -> tuple[Any, ...]:
        return (2.0**scale,)

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        return values[0].sum(self.dims, keepdim=self.keepdim).mul_(prepared[0])


@dataclass(frozen=True)
class Mean(_Reduction):
    """The mean over dims, rounded to `fraction` bits: an exact sum and one IEEE division."""

    name = "mean"
    settled = True
    fraction: int

    def raw(self, inputs: Sequence[Spec]) -> Raw:
        x, n = inputs[0], self._count(inputs[0])
        up = self.fraction - x.fraction
        return Raw(self.fraction, shifted(x.low, up), shifted(x.high, up), n * x.magnitude << max(up, 0))

    def prepare(self, inputs: Sequence[Spec], scale: int) -> tuple[Any, ...]:
        x = inputs[0]
        # The divisor is a tensor: by a Python number, CUDA would multiply with the rounded reciprocal.
        return 2.0 ** (self.fraction - x.fraction), torch.tensor(float(self._count(x)), dtype=torch.float64)

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        factor, count = prepared
        return values[0].sum(self.dims, keepdim=self.keepdim).mul_(factor).div_(count).round_()


@dataclass(frozen=True)
class Amax(_Reduction):
    """The maximum over dims."""

    name = "amax"

    def raw(self, inputs: Sequence[Spec]) -> Raw:
        x = inputs[0]
        check_dims(self.dims, x)
        return Raw(x.fraction, x.low, x.high, x.magnitude)

    def prepare(self, inputs: Sequence[Spec], scale: int) -> tuple[Any, ...]:
        return (2.0**scale,)

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        return values[0].amax(self.dims, keepdim=self.keepdim) * prepared[0]


@dataclass(frozen=True)
class Cumsum(Operation):
    """Running sums along a dimension."""

    name = "cumsum"
    arity = (1, 1)
    dim: int

    def raw(self, inputs: Sequence[Spec]) -> Raw:
        x = inputs[0]
        check_dims((self.dim,), x)
        n = x.shape[self.dim - 1]
        return Raw(x.fraction, min(n * x.low, x.low), max(n * x.high, x.high), n * x.magnitude)

    def prepare(self, inputs: Sequence[Spec], scale: int) -> tuple[Any, ...]:
        return (2.0**scale,)

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        return values[0].cumsum(self.dim).mul_(prepared[0])

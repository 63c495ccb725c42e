"""Normalisation by moments and the softmax: exact integer sums, then single IEEE operations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lucid.codec.network.operations.base import Operation, Raw, Spec, check_dims, held

__all__ = ["SOFTMAX_BITS", "Normalise", "Softmax"]

SOFTMAX_BITS = 24
"""Exponentials are whole numbers of 2^−SOFTMAX_BITS."""


@dataclass(frozen=True)
class Normalise(Operation):
    """(x − mean) / √(variance + eps) over dims, rounded to `fraction` bits, clamped to ±bound.

    Σx and Σx² are exact. What follows is elementwise IEEE arithmetic, each operation rounded by itself.

    Attributes:
        dims: What is averaged over.
        mantissa: eps = mantissa · 2^exponent, exactly the model's.
        exponent: Of eps.
        fraction: Of the result.
        bound: Of the result, in its own unit.
    """

    name = "normalise"
    settled = True
    arity = (1, 1)
    dims: tuple[int, ...]
    mantissa: int
    exponent: int
    fraction: int
    bound: int

    def __post_init__(self) -> None:
        if self.mantissa < 1 or abs(self.exponent) > 256 or self.bound < 1 or abs(self.fraction) > 64:
            raise ValueError(f"a normalisation needs a positive eps and a bound; received {self}")

    def raw(self, inputs: Sequence[Spec]) -> Raw:
        x = inputs[0]
        check_dims(self.dims, x)
        count = math.prod(x.shape[dim - 1] for dim in self.dims)
        return Raw(self.fraction, -self.bound, self.bound, max(count * x.magnitude**2, self.bound))

    def prepare(self, inputs: Sequence[Spec], scale: int) -> tuple[Any, ...]:
        x = inputs[0]
        count = math.prod(x.shape[dim - 1] for dim in self.dims)
        eps = float(self.mantissa) * 2.0 ** (self.exponent + 2 * x.fraction)
        # Tensors: CUDA multiplies with the rounded reciprocal of a Python number.
        divisor, numerator = (torch.tensor(v, dtype=torch.float64) for v in (float(count), 2.0**self.fraction))
        return divisor, eps, numerator, float(self.bound)

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        count, eps, numerator, bound = prepared
        x = values[0]
        mean = x.sum(self.dims, keepdim=True).div_(count)
        square = (x * x).sum(self.dims, keepdim=True).div_(count)
        variance = (square - mean * mean).clamp_(min=0.0)
        factor = numerator / (variance + eps).sqrt_()
        return (x * factor).sub_(mean * factor).round_().clamp_(-bound, bound)


@dataclass(frozen=True)
class Softmax(Operation):
    """exp(x − max) / Σ exp(x − max) along dim, rounded to `fraction` bits.

    exp(−i / 2^16) for whole i is the product of two tables: coarse[i div fine's length] · fine[i mod it].
    """

    name = "softmax"
    settled = True
    arity = (3, 3)
    dim: int
    fraction: int

    STEPS = 16

    def raw(self, inputs: Sequence[Spec]) -> Raw:
        x, coarse, fine = inputs
        check_dims((self.dim,), x)
        one = 1 << SOFTMAX_BITS
        for table in (coarse, fine):
            values = table.constant
            if values is None or values.dim() != 1 or int(values[0]) != one or table.low < 0 or table.high > one:
                raise ValueError(f"a softmax's tables of exponentials begin at 2^{SOFTMAX_BITS} and fall from there")
        if not 0 <= self.fraction <= SOFTMAX_BITS:
            raise ValueError(f"a softmax has 0 to {SOFTMAX_BITS} bits; received {self.fraction}")
        count = x.shape[self.dim - 1]
        spread = (x.high - x.low) << max(self.STEPS - x.fraction, 0)
        return Raw(self.fraction, 0, 1 << self.fraction, max(count * one, one * one, spread))

    def prepare(self, inputs: Sequence[Spec], scale: int) -> tuple[Any, ...]:
        x, coarse, fine = inputs
        size = fine.shape[0]
        last = coarse.shape[0] * size - 1.0
        return 2.0 ** (self.STEPS - x.fraction), last, size, held(coarse.constant), held(fine.constant)

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        factor, last, size, coarse, fine = prepared
        x = values[0]
        steps = (x.amax(self.dim, keepdim=True) - x).mul_(factor).round_().clamp_(max=last).to(torch.int64)
        flat = steps.reshape(-1)
        rough = coarse.index_select(0, flat // size)
        e = rough.mul_(fine.index_select(0, flat % size)).mul_(2.0**-SOFTMAX_BITS).round_().view(steps.shape)
        total = e.sum(self.dim, keepdim=True)
        return e.mul_(2.0**self.fraction).div_(total).round_()

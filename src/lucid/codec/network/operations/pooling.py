"""Means and maxima over windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lucid.codec.network.operations.base import Operation, Raw, Spec, shifted

__all__ = ["AvgPool", "MaxPool"]

_MAX_POOLS: Sequence[Callable[..., Tensor]] = (F.max_pool1d, F.max_pool2d, F.max_pool3d)


def _check_windows(shape: tuple[int, ...], *numbers: tuple[int, ...]) -> None:
    dims = len(shape) - 1
    if dims not in (1, 2, 3) or any(len(given) != dims for given in numbers) or min(map(min, numbers)) < 0:
        raise ValueError(f"windows over an example of shape {shape} need {dims} numbers each; received {numbers}")


@dataclass(frozen=True)
class AvgPool(Operation):
    """Means over windows, rounded to `fraction` bits: exact sums and one IEEE division each."""

    name = "avg_pool"
    settled = True
    arity = (1, 1)
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    ceil_mode: bool
    count_include_pad: bool
    fraction: int

    def raw(self, inputs: Sequence[Spec]) -> Raw:
        x = inputs[0]
        _check_windows(x.shape, self.kernel, self.stride, self.padding)
        up = self.fraction - x.fraction
        low, high = shifted(min(x.low, 0), up), shifted(max(x.high, 0), up)
        return Raw(self.fraction, low, high, math.prod(self.kernel) * x.magnitude << max(up, 0))

    def ready_numbers(self, inputs: Sequence[Spec]) -> int:
        return 4 * math.prod(inputs[0].shape[1:])

    def prepare(self, inputs: Sequence[Spec], scale: int) -> tuple[Any, ...]:
        x = inputs[0]
        ones = torch.ones(1, 1, *x.shape[1:], dtype=torch.float64)
        here = self._pooled(ones, 1)
        divisor = here if not self.count_include_pad else (here / self._pooled(ones, None)).round_()
        return 2.0 ** (self.fraction - x.fraction), divisor

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        factor, divisor = prepared
        return self._pooled(values[0], 1).mul_(factor).div_(divisor).round_()

    def _pooled(self, x: Tensor, divisor: int | None) -> Tensor:
        """Sums over windows (divisor 1), or torch's own means (None)."""
        sizes = self.kernel, self.stride, self.padding
        if len(self.kernel) == 3:
            return F.avg_pool3d(x, *sizes, self.ceil_mode, self.count_include_pad, divisor)
        if len(self.kernel) == 2:
            return F.avg_pool2d(x, *sizes, self.ceil_mode, self.count_include_pad, divisor)
        kernel, stride, padding = ((unit, size[0]) for unit, size in zip((1, 1, 0), sizes, strict=True))
        more = self.ceil_mode, self.count_include_pad, divisor
        return F.avg_pool2d(x.unsqueeze(2), kernel, stride, padding, *more).squeeze(2)


@dataclass(frozen=True)
class MaxPool(Operation):
    """Maxima over windows."""

    name = "max_pool"
    arity = (1, 1)
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    ceil_mode: bool

    def raw(self, inputs: Sequence[Spec]) -> Raw:
        x = inputs[0]
        _check_windows(x.shape, self.kernel, self.stride, self.padding, self.dilation)
        return Raw(x.fraction, x.low, x.high, x.magnitude)

    def prepare(self, inputs: Sequence[Spec], scale: int) -> tuple[Any, ...]:
        return (2.0**scale,)

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        pool = _MAX_POOLS[len(self.kernel) - 1]
        return pool(values[0], self.kernel, self.stride, self.padding, self.dilation, self.ceil_mode) * prepared[0]

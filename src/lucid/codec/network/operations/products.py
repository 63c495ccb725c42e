"""Sums of products: linear layers, convolutions, products of two activations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lucid.codec.network.operations.base import AS_IT_COMES, Finish, Operation, Raw, Spec, held
from lucid.codec.network.operations.windows import convolved

__all__ = ["Conv", "Linear", "Matmul"]


def _weighted(x: Spec, weight: Spec, bias: Spec | None, rows: Tensor) -> Raw:
    """The range of Σ w·x + b, where `rows` is the weight with one row for each output."""
    fraction = x.fraction + weight.fraction
    if bias is not None and bias.fraction != fraction:
        raise ValueError(f"a bias needs the fraction of the products, {fraction}; received {bias.fraction}")
    if weight.magnitude * rows.shape[1] >= 1 << 62:
        raise ValueError(f"a row of {rows.shape[1]} weights up to {weight.magnitude} cannot be summed")
    ups, downs = rows.clamp(min=0).sum(1).tolist(), rows.clamp(max=0).sum(1).tolist()
    offsets = [0] * len(ups) if bias is None or bias.constant is None else bias.constant.tolist()
    if len(offsets) != len(ups):
        raise ValueError(f"a bias needs {len(ups)} values; received {len(offsets)}")
    low, high, most = min(x.low, 0), max(x.high, 0), x.magnitude  # zero: what padding puts in
    lows = [up * low + down * high + offset for up, down, offset in zip(ups, downs, offsets, strict=True)]
    highs = [up * high + down * low + offset for up, down, offset in zip(ups, downs, offsets, strict=True)]
    partials = [(up - down) * most + abs(offset) for up, down, offset in zip(ups, downs, offsets, strict=True)]
    return Raw(fraction, min(lows), max(highs), max(partials))


def _constant(spec: Spec, what: str, dims: int) -> Tensor:
    if spec.constant is None or spec.constant.dim() != dims:
        raise ValueError(f"a {what} must be a constant of {dims} dimensions; received {spec.shape}")
    return spec.constant


@dataclass(frozen=True)
class Linear(Operation):
    """x · weightᵀ + bias along the last dimension."""

    name = "linear"
    arity = (2, 3)

    def raw(self, inputs: Sequence[Spec]) -> Raw:
        rows = _constant(inputs[1], "weight", 2)
        if len(inputs) == 3:
            _constant(inputs[2], "bias", 1)
        return _weighted(inputs[0], inputs[1], inputs[2] if len(inputs) == 3 else None, rows)

    def prepare(self, inputs: Sequence[Spec], scale: int) -> tuple[Any, ...]:
        weight = held(inputs[1].constant, scale)
        return weight, held(inputs[2].constant, scale) if len(inputs) == 3 else None

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        return F.linear(values[0], *prepared)


@dataclass(frozen=True)
class Conv(Operation):
    """A convolution, or its transpose, over one to three dimensions."""

    name = "conv"
    arity = (2, 3)
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    transposed: bool
    output_padding: tuple[int, ...]

    def __post_init__(self) -> None:
        sizes = {len(self.stride), len(self.padding), len(self.dilation), len(self.output_padding)}
        if len(sizes) != 1 or not sizes <= {1, 2, 3} or self.groups < 1:
            raise ValueError(f"a convolution has one to three dimensions, each with its numbers; received {self}")
        if min(self.stride + self.dilation) < 1 or min(self.padding + self.output_padding) < 0:
            raise ValueError(f"a convolution steps forward and pads by zeros or more; received {self}")

    def raw(self, inputs: Sequence[Spec]) -> Raw:
        weight = _constant(inputs[1], "weight", 2 + len(self.stride))
        if len(inputs[0].shape) != 1 + len(self.stride) or weight.shape[0] % self.groups:
            raise ValueError(f"a convolution of {self.groups} groups and {weight.shape} reads no {inputs[0].shape}")
        if len(inputs) == 3:
            _constant(inputs[2], "bias", 1)
        if self.transposed:
            grouped = weight.unflatten(0, (self.groups, -1)).transpose(1, 2)
            rows = grouped.flatten(0, 1).flatten(1)
        else:
            rows = weight.flatten(1)
        return _weighted(inputs[0], inputs[1], inputs[2] if len(inputs) == 3 else None, rows)

    def prepare(self, inputs: Sequence[Spec], scale: int) -> tuple[Any, ...]:
        weight = held(inputs[1].constant, scale)
        bias = held(inputs[2].constant, scale) if len(inputs) == 3 else None
        if self._by_rows:  # (out, rows · columns · channels)
            return weight.permute(0, 2, 3, 1).flatten(1).contiguous(), bias, tuple(weight.shape[2:])
        return weight, bias, None

    def working_numbers(self, inputs: Sequence[Spec], shape: tuple[int, ...]) -> int:
        x, weight = inputs[0].shape, inputs[1].shape
        padded = x[0] * math.prod(size + 2 * pad for size, pad in zip(x[1:], self.padding, strict=True))
        places = math.prod(x[1:] if self.transposed else shape[1:])
        return 2 * padded + places * math.prod(weight[1:]) + math.prod(shape)

    @property
    def _by_rows(self) -> bool:
        return len(self.stride) == 2 and self.groups == 1 and not self.transposed and set(self.dilation) == {1}

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        return self.finished(values, prepared, AS_IT_COMES)

    def finished(self, values: Sequence[Tensor], prepared: tuple[Any, ...], finish: Finish) -> Tensor:
        weight, bias, kernel = prepared
        if kernel is not None and values[0].device.type == "cpu":
            return convolved(values[0], weight, bias, kernel, self.stride, self.padding, finish)
        return finish(self._by_torch(values[0], weight, bias, kernel))

    def _by_torch(self, x: Tensor, weight: Tensor, bias: Tensor | None, kernel: tuple[int, int] | None) -> Tensor:
        if kernel is not None:
            weight = weight.unflatten(1, (*kernel, -1)).permute(0, 3, 1, 2)
        with torch.backends.cudnn.flags(enabled=False):  # whose float64 convolutions need not be sums of products
            return torch.convolution(
                x,
                weight,
                bias,
                list(self.stride),
                list(self.padding),
                list(self.dilation),
                self.transposed,
                list(self.output_padding),
                self.groups,
            )


@dataclass(frozen=True)
class Matmul(Operation):
    """a · b of two activations, each rounded to fewer bits first: `down` says by how many."""

    name = "matmul"
    arity = (2, 2)
    down: tuple[int, ...]

    def __post_init__(self) -> None:
        if min(self.down) < 0:
            raise ValueError(f"a product rounds its factors by no bit or some; received {self.down}")

    def raw(self, inputs: Sequence[Spec]) -> Raw:
        a, b = inputs
        if not a.shape or a.constant is not None or b.constant is not None:
            raise ValueError(f"a product is of two activations with matrices; received {a.shape} and {b.shape}")
        bound = a.shape[-1] * ((a.magnitude >> self.down[0]) + 1) * ((b.magnitude >> self.down[1]) + 1)
        return Raw(a.fraction + b.fraction - sum(self.down), -bound, bound, bound)

    def prepare(self, inputs: Sequence[Spec], scale: int) -> tuple[Any, ...]:
        return 2.0 ** -self.down[0], 2.0 ** -self.down[1], 2.0**scale

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        a, b = (
            value if factor == 1 else (value * factor).round_()
            for value, factor in zip(values, prepared[:2], strict=True)
        )
        product = torch.matmul(a, b)
        return product if prepared[2] == 1 else product.mul_(prepared[2])

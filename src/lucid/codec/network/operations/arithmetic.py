"""Sums, differences, products, quotients, maxima and minima of two values, element by element."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lucid.codec.network.operations.base import Operation, Raw, Spec, held

__all__ = ["Add", "Div", "Maximum", "Minimum", "Mul", "Sub"]


def _aligned(a: Spec, b: Spec) -> tuple[int, int, int]:
    """The finer of two fractions, and by how many bits each value is shifted to it."""
    fraction = max(a.fraction, b.fraction)
    return fraction, fraction - a.fraction, fraction - b.fraction


class _Linear(Operation):
    """a + sign · b. Power-of-two factors and the sum are exact, so an FMA in torch.add rounds nothing."""

    arity = (2, 2)
    sign = 1

    def raw(self, inputs: Sequence[Spec]) -> Raw:
        a, b = inputs
        fraction, up_a, up_b = _aligned(a, b)
        ends = sorted((self.sign * b.low << up_b, self.sign * b.high << up_b))
        partial = (a.magnitude << up_a) + (b.magnitude << up_b)
        return Raw(fraction, (a.low << up_a) + ends[0], (a.high << up_a) + ends[1], partial)

    def prepare(self, inputs: Sequence[Spec], scale: int) -> tuple[Any, ...]:
        _, up_a, up_b = _aligned(*inputs)
        return 2.0 ** (up_a + scale), self.sign * 2.0 ** (up_b + scale)

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        (a, b), (factor_a, factor_b) = values, prepared
        if factor_a == 1:
            return torch.add(a, b, alpha=factor_b)
        if factor_b == 1:
            return torch.add(b, a, alpha=factor_a)
        return torch.add(a * factor_a, b, alpha=factor_b)


@dataclass(frozen=True)
class Add(_Linear):
    """a + b."""

    name = "add"


@dataclass(frozen=True)
class Sub(_Linear):
    """a − b."""

    name = "sub"
    sign = -1


@dataclass(frozen=True)
class Mul(Operation):
    """a · b."""

    name = "mul"
    arity = (2, 2)

    def raw(self, inputs: Sequence[Spec]) -> Raw:
        a, b = inputs
        ends = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
        return Raw(a.fraction + b.fraction, min(ends), max(ends), a.magnitude * b.magnitude)

    def prepare(self, inputs: Sequence[Spec], scale: int) -> tuple[Any, ...]:
        for place, spec in enumerate(inputs):
            if spec.constant is not None:
                return 1.0, place, held(spec.constant, scale)
        return 2.0**scale, None, None

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        factor, place, constant = prepared
        if place is not None:
            return values[1 - place] * constant
        product = values[0] * values[1]
        return product if factor == 1 else product.mul_(factor)


@dataclass(frozen=True)
class Div(Operation):
    """a / b, rounded to `fraction` bits and clamped to ±bound; a divisor of zero is read as the smallest positive one.

    IEEE division is correctly rounded, so the quotient is the same everywhere.
    """

    name = "div"
    settled = True
    arity = (2, 2)
    fraction: int
    bound: int

    def __post_init__(self) -> None:
        if self.bound < 1 or abs(self.fraction) > 64:
            raise ValueError(f"a quotient needs a positive bound; received {self}")

    def raw(self, inputs: Sequence[Spec]) -> Raw:
        a, b = inputs
        return Raw(self.fraction, 0 if min(a.low, b.low) >= 0 else -self.bound, self.bound, self.bound)

    def prepare(self, inputs: Sequence[Spec], scale: int) -> tuple[Any, ...]:
        a, b = inputs
        return 2.0 ** (self.fraction + b.fraction - a.fraction), b.low <= 0 <= b.high, float(self.bound)

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        (a, b), (factor, guard, bound) = values, prepared
        if guard:
            b = b + (b == 0)
        return (a / b).mul_(factor).round_().clamp_(-bound, bound)


class _Extreme(Operation):
    """The larger or the smaller of two values."""

    arity = (2, 2)

    def prepare(self, inputs: Sequence[Spec], scale: int) -> tuple[Any, ...]:
        _, up_a, up_b = _aligned(*inputs)
        return 2.0 ** (up_a + scale), 2.0 ** (up_b + scale)

    @staticmethod
    def _scaled(values: Sequence[Tensor], factors: tuple[Any, ...]) -> list[Tensor]:
        return [value if factor == 1 else value * factor for value, factor in zip(values, factors, strict=True)]


@dataclass(frozen=True)
class Maximum(_Extreme):
    """max(a, b)."""

    name = "maximum"

    def raw(self, inputs: Sequence[Spec]) -> Raw:
        a, b = inputs
        fraction, up_a, up_b = _aligned(a, b)
        low, high = max(a.low << up_a, b.low << up_b), max(a.high << up_a, b.high << up_b)
        return Raw(fraction, low, high, max(a.magnitude << up_a, b.magnitude << up_b))

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        return torch.maximum(*self._scaled(values, prepared))


@dataclass(frozen=True)
class Minimum(_Extreme):
    """min(a, b)."""

    name = "minimum"

    def raw(self, inputs: Sequence[Spec]) -> Raw:
        a, b = inputs
        fraction, up_a, up_b = _aligned(a, b)
        low, high = min(a.low << up_a, b.low << up_b), min(a.high << up_a, b.high << up_b)
        return Raw(fraction, low, high, max(a.magnitude << up_a, b.magnitude << up_b))

    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        return torch.minimum(*self._scaled(values, prepared))

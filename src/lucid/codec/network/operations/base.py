"""What every operation of a fixed network is: integers in, integers out, and how large they can become."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

__all__ = ["AS_IT_COMES", "LIMIT", "Finish", "Operation", "Raw", "Spec", "check_dims", "held", "shifted"]

LIMIT = 1 << 53
"""Integers of magnitude below this are held exactly by float64, and so are their sums in any order."""


@dataclass(frozen=True)
class Spec:
    """What is known of a value before any data are seen: real = i · 2^−fraction for integers low ≤ i ≤ high.

    Attributes:
        shape: Of one example; of the whole tensor for a constant.
        fraction: Bits after the binary point.
        low: The smallest integer.
        high: The largest.
        real: Whether the tensor holds i · 2^−fraction (exact, not rounded any more) and not i.
        constant: The integers themselves, int64, of what is the same for every example.
    """

    shape: tuple[int, ...]
    fraction: int
    low: int
    high: int
    real: bool = False
    constant: Tensor | None = None

    @property
    def magnitude(self) -> int:
        """The largest |i|."""
        return max(abs(self.low), abs(self.high))


@dataclass(frozen=True)
class Raw:
    """The result of an operation before it is rounded and clamped.

    Attributes:
        fraction: Bits after the binary point.
        low: The smallest possible integer, in units of 2^−fraction.
        high: The largest.
        partial: The largest magnitude of anything met on the way, in the unit in which it is an integer.
    """

    fraction: int
    low: int
    high: int
    partial: int


@dataclass(frozen=True)
class Finish:
    """What is done to a result once it is computed, in place.

    Attributes:
        rounds: To whole numbers, ties to even.
        clamp: To the nearest number between these, if to any.
    """

    rounds: bool = False
    clamp: tuple[float, float] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        if self.rounds:
            x.round_()
        return x if self.clamp is None else x.clamp_(*self.clamp)


AS_IT_COMES = Finish()


def shifted(value: int, shift: int) -> int:
    """`value` · 2^shift, rounded as float64 rounds to whole numbers: to the nearest, ties to even.

    Example:
        >>> shifted(5, 1), shifted(5, -1), shifted(7, -1), shifted(-5, -1)
        (10, 2, 4, -2)
    """
    if shift >= 0:
        return value << shift
    half, unit = 1 << (-shift - 1), 1 << -shift
    whole, rest = divmod(value, unit)
    return whole + (rest > half or (rest == half and whole % 2 == 1))


class Operation(ABC):
    """One kind of step. Its attributes are the frozen dataclass's fields: whole numbers, booleans, tuples of them.

    Attributes:
        name: Of the kind, in files.
        arity: The fewest and the most inputs it takes.
        settled: Whether `run` rounds to whole numbers itself, whatever the node says.
        fresh: Whether `run` returns memory of its own, which may be rounded in place; movements return views.
    """

    name: ClassVar[str]
    arity: ClassVar[tuple[int, int]]
    settled: ClassVar[bool] = False
    fresh: ClassVar[bool] = True

    @abstractmethod
    def raw(self, inputs: Sequence[Spec]) -> Raw:
        """Prove how large the result can become.

        Raises:
            ValueError: The inputs do not fit the operation.
        """

    def prepare(self, inputs: Sequence[Spec], scale: int) -> tuple[Any, ...]:
        """What `run` needs besides its inputs: float64 tensors and numbers, with the factor 2^scale folded in."""
        return ()

    def ready_numbers(self, inputs: Sequence[Spec]) -> int:
        """How many numbers `prepare` makes, at most; known before it does."""
        return sum(x.constant.numel() for x in inputs if x.constant is not None)

    def working_numbers(self, inputs: Sequence[Spec], shape: tuple[int, ...]) -> int:
        """How many numbers `run` needs besides its result of this shape, at most, for each example."""
        return 6 * max(math.prod(x.shape) for x in inputs if x.constant is None)

    @abstractmethod
    def run(self, values: Sequence[Tensor], prepared: tuple[Any, ...]) -> Tensor:
        """The result times 2^scale, exactly. Constants are given as float64 tensors without a batch."""

    def finished(self, values: Sequence[Tensor], prepared: tuple[Any, ...], finish: Finish) -> Tensor:
        """`run`, then `finish`: part by part where that spares a pass over memory."""
        return finish(self.run(values, prepared))


def held(constant: Tensor | None, shift: int = 0) -> Tensor:
    """A constant's integers times 2^shift as float64."""
    assert constant is not None
    return constant.to(torch.float64) * 2.0**shift


def check_dims(dims: Sequence[int], x: Spec) -> None:
    """Dimensions of an example, each once.

    Raises:
        ValueError: The batch is among them, or there are none, or fewer in the example.
    """
    if not dims or len(set(dims)) < len(dims) or min(dims) < 1 or max(dims) > len(x.shape):
        raise ValueError(f"dims are some of 1 … {len(x.shape)} for examples of shape {x.shape}; received {dims}")

"""The proof that no integer of a fixed network can outgrow float64, from its weights and clamps alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lucid.codec.network.operations import LIMIT, Operation, Spec, shifted

__all__ = ["FixedNode", "Proved", "prove"]

LARGEST = 1 << 24
"""Elements of one value of one example: 128 MB."""

FRACTIONS = 64
"""Fractions lie within ± this, so that no power of two on the way leaves float64's ordinary range."""


@dataclass(frozen=True)
class FixedNode:
    """One operation, with how its result is rounded and clamped.

    Attributes:
        name: Of its value.
        operation: With its attributes.
        inputs: Names of nodes, network inputs or constants.
        fraction: Bits after the binary point of the value; None: left as it comes, for what is only read.
        low: The clamp's lower end, in units of 2^−fraction; None: no clamp.
        high: Its upper end.
    """

    name: str
    operation: Operation
    inputs: tuple[str, ...]
    fraction: int | None
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True)
class Proved:
    """A node whose numbers are proven to fit.

    Attributes:
        spec: Of its value.
        partial: The largest magnitude of any sum or product on the way, as a whole number of the finest unit met.
        scale: The power of two that the operation folds in.
        rounds: Whether the result needs rounding.
        clamps: Whether the clamp can ever act.
    """

    spec: Spec
    partial: int
    scale: int
    rounds: bool
    clamps: bool


def prove(node: FixedNode, inputs: Sequence[Spec]) -> Proved:
    """Prove one node by interval arithmetic over its inputs' ranges.

    Raises:
        ValueError: The operation does not fit its inputs, or a number could reach 2^53.
    """
    fewest, most = node.operation.arity
    if not fewest <= len(inputs) <= most:
        raise ValueError(f"{_said(node)} takes {fewest} to {most} inputs; received {len(inputs)}")
    if any(x.real for x in inputs) and node.operation.fresh:
        raise ValueError(f"{_said(node)} reads a value that is only to be read out")
    shape = _shape(node, inputs)
    raw = node.operation.raw(inputs)
    _check_size(node, "a number on the way", raw.partial)
    real = node.fraction is None
    fraction = raw.fraction if node.fraction is None else node.fraction
    if not -FRACTIONS <= min(fraction, raw.fraction) <= max(fraction, raw.fraction) <= FRACTIONS:
        raise ValueError(f"{_said(node)} has {fraction} of {raw.fraction} bits after the point; ±{FRACTIONS} at most")
    if not node.operation.fresh and (fraction, node.low, node.high) != (raw.fraction, None, None):
        raise ValueError(f"{_said(node)} moves data and can neither round nor clamp")
    if node.operation.settled and node.fraction != raw.fraction:
        raise ValueError(f"{_said(node)} rounds to {raw.fraction} bits itself; received {node.fraction}")
    if not node.operation.fresh:
        return Proved(replace(inputs[0], shape=shape, constant=None), raw.partial, 0, rounds=False, clamps=False)
    shift = fraction - raw.fraction
    low, high = shifted(raw.low, shift), shifted(raw.high, shift)
    clamps = node.low is not None and node.high is not None and (low < node.low or high > node.high)
    if node.low is not None and node.high is not None:
        if real or not -LIMIT < node.low <= node.high < LIMIT:
            raise ValueError(f"{_said(node)} clamps to {node.low} … {node.high}, which is no range of whole numbers")
        low, high = min(max(low, node.low), node.high), max(min(high, node.high), node.low)
    _check_size(node, "its value", max(abs(low), abs(high), raw.partial << max(shift, 0)))
    spec = Spec(shape, fraction, low, high, real)
    return Proved(spec, raw.partial, -raw.fraction if real else shift, rounds=not real and shift < 0, clamps=clamps)


def _check_size(node: FixedNode, what: str, size: int) -> None:
    if size >= LIMIT:
        raise ValueError(
            f"{_said(node)} overflows: {what} can reach 2^{math.log2(size):.1f}, and float64 holds whole numbers "
            f"exactly below 2^53 only; give its inputs fewer bits"
        )


def _shape(node: FixedNode, inputs: Sequence[Spec]) -> tuple[int, ...]:
    """The shape of one example, as torch itself derives it for three examples without any memory."""
    batch = 3
    activations = [x for x in inputs if x.constant is None]
    if not activations:
        raise ValueError(f"{_said(node)} reads no value of the network")
    if len({len(x.shape) for x in activations}) > 1:
        raise ValueError(f"{_said(node)} reads values of different ranks: {[x.shape for x in activations]}")
    try:
        prepared = _meta(node.operation.prepare(inputs, 0))
        result = node.operation.run([_empty(x, batch) for x in inputs], prepared)
    except (RuntimeError, IndexError, TypeError, AssertionError, OverflowError) as error:
        raise ValueError(f"{_said(node)} does not fit {[x.shape for x in inputs]}: {error}") from error
    if result.dim() < 1 or result.shape[0] != batch:
        raise ValueError(f"{_said(node)} mixes examples: {[x.shape for x in inputs]} become {tuple(result.shape)}")
    shape = tuple(result.shape[1:])
    if not 0 < math.prod(shape) <= LARGEST:
        raise ValueError(f"{_said(node)} makes {math.prod(shape)} numbers of an example; 1 to {LARGEST} are allowed")
    return shape


def _empty(spec: Spec, batch: int) -> Tensor:
    shape = spec.shape if spec.constant is not None else (batch, *spec.shape)
    return torch.empty(shape, dtype=torch.float64, device="meta")


def _meta(prepared: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(item.to("meta") if isinstance(item, Tensor) else item for item in prepared)


def _said(node: FixedNode) -> str:
    return f"the fixed network's {node.operation.name} {node.name!r}"

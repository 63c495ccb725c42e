"""A second, slow way to compute a fixed network: one example, Python's own integers and fractions, no tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from lucid.codec.network.fixed import FixedNetwork
from lucid.codec.network.operations import Spec
from lucid.codec.network.proof import FixedNode

Vector = list[Fraction]


def slow_outputs(network: FixedNetwork, x: list[int]) -> dict[str, Vector]:
    """All outputs of a network whose values are vectors, for the input "x" in whole numbers of its unit."""
    values: dict[str, Any] = {"x": [Fraction(i) / 2 ** network.inputs["x"].fraction for i in x]}
    for name, spec in network.constants.items():
        assert spec.constant is not None
        values[name] = _scaled(spec.constant.tolist(), spec.fraction)
    for node in network.nodes:
        raw = _KINDS[node.operation.name](node, [values[name] for name in node.inputs], network)
        values[node.name] = [_stored(value, node) for value in raw]
    return {name: values[source] for name, source in network.outputs.items()}


def _scaled(value: Any, fraction: int) -> Any:
    if isinstance(value, list):
        return [_scaled(item, fraction) for item in value]
    return Fraction(value) / Fraction(2) ** fraction


def _stored(value: Fraction, node: FixedNode) -> Fraction:
    if node.fraction is None:
        return value
    unit = Fraction(2) ** node.fraction
    whole = round(value * unit)  # Python rounds ties to even, too
    if node.low is not None and node.high is not None:
        whole = min(max(whole, node.low), node.high)
    return whole / unit


def _spec(network: FixedNetwork, node: FixedNode, place: int) -> Spec:
    return network.specs[node.inputs[place]]


def _linear(node: FixedNode, given: list[Any], network: FixedNetwork) -> Vector:
    x, weight, *bias = given
    sums = [sum((w * v for w, v in zip(row, x, strict=True)), Fraction(0)) for row in weight]
    return [s + b for s, b in zip(sums, bias[0], strict=True)] if bias else sums


def _pairs(function: Callable[[Fraction, Fraction], Fraction]) -> Callable[..., Vector]:
    return lambda _node, given, _network: [function(a, b) for a, b in zip(*given, strict=True)]


def _div(node: FixedNode, given: list[Any], network: FixedNetwork) -> Vector:
    a, b = (_spec(network, node, place).fraction for place in (0, 1))
    operation: Any = node.operation
    quotients: Vector = []
    for above, below in zip(*given, strict=True):
        whole = float(below * 2**b) or 1.0
        quotient = float(above * 2**a) / whole * 2.0 ** (operation.fraction + b - a)  # Python's floats are IEEE 754's
        quotients.append(_bounded(quotient, operation))
    return quotients


def _bounded(value: float, operation: Any) -> Fraction:
    return Fraction(min(max(round(value), -operation.bound), operation.bound)) / Fraction(2) ** operation.fraction


def _normalise(node: FixedNode, given: list[Any], network: FixedNetwork) -> Vector:
    operation: Any = node.operation
    fraction = _spec(network, node, 0).fraction
    whole = [int(v * 2**fraction) for v in given[0]]
    n = float(len(whole))
    mean, square = float(sum(whole)) / n, float(sum(i * i for i in whole)) / n
    variance = max(square - mean * mean, 0.0)
    eps = float(operation.mantissa) * 2.0 ** (operation.exponent + 2 * fraction)
    factor = 2.0**operation.fraction / math.sqrt(variance + eps)
    return [_bounded(i * factor - mean * factor, operation) for i in whole]


def _lookup(node: FixedNode, given: list[Any], network: FixedNetwork) -> Vector:
    operation: Any = node.operation
    x, table = _spec(network, node, 0), _spec(network, node, 1)
    assert table.constant is not None
    knots = table.constant.tolist()
    apart = 1 << operation.spread
    found: Vector = []
    for value in given[0]:
        index = round(value * 2**x.fraction / 2**operation.shift) - operation.first
        index = min(max(index, 0), (len(knots) - 1) * apart)
        knot, beyond = divmod(index, apart)
        entry = Fraction(knots[knot])
        if beyond:
            entry = Fraction(round(entry + (knots[knot + 1] - entry) * beyond / apart))
        found.append(entry / Fraction(2) ** table.fraction)
    return found


def _interpolate(node: FixedNode, given: list[Any], network: FixedNetwork) -> Vector:
    operation: Any = node.operation
    step = Fraction(2) ** (operation.shift - _spec(network, node, 0).fraction)
    x, values, slopes = given
    found: Vector = []
    for value in x:
        i = min(max(math.floor(value / step), operation.first), operation.first + len(values) - 1)
        place = i - operation.first
        found.append(values[place] + slopes[place] * (value - i * step))
    return found


def _slice(node: FixedNode, given: list[Any], network: FixedNetwork) -> Vector:
    operation: Any = node.operation
    return given[0][operation.start : operation.stop : operation.step]


def _cumsum(node: FixedNode, given: list[Any], network: FixedNetwork) -> Vector:
    return [sum(given[0][: place + 1], Fraction(0)) for place in range(len(given[0]))]


_KINDS: dict[str, Callable[[FixedNode, list[Any], FixedNetwork], Vector]] = {
    "linear": _linear,
    "add": _pairs(lambda a, b: a + b),
    "sub": _pairs(lambda a, b: a - b),
    "mul": _pairs(lambda a, b: a * b),
    "maximum": _pairs(max),
    "minimum": _pairs(min),
    "div": _div,
    "normalise": _normalise,
    "clamp": lambda _node, given, _network: given[0],
    "lookup": _lookup,
    "interpolate": _interpolate,
    "slice": _slice,
    "cat": lambda _node, given, _network: [value for part in given for value in part],
    "cumsum": _cumsum,
}

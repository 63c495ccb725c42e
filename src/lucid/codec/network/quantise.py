"""A float graph in integers: how many bits every value gets, and which table or rounding stands for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lucid.codec.network.fixed import FixedNetwork
from lucid.codec.network.functions import Piece, clamp_of, pieces_of
from lucid.codec.network.graph import OPERATIONS, Graph, Node
from lucid.codec.network.known import KnownAnswers, digest_of, typical_and_extreme
from lucid.codec.network.lost import lost
from lucid.codec.network.operations import Operation, Spec
from lucid.codec.network.operations.lookup import Clamp
from lucid.codec.network.pointwise import evaluate
from lucid.codec.network.proof import FixedNode, prove
from lucid.codec.network.ranges import Range, ranges

__all__ = ["Builder", "Target", "quantise"]

HEADROOM = 8
"""Values are clamped at this many times the largest that calibration has seen."""


WORTH_MORE = 1e-3
"""Nats of an example that rounding may lose before tables are made finer, which costs time."""


@dataclass(frozen=True)
class Bits:
    """How fine numbers are: see `quantise`."""

    activations: int
    weights: int
    tables: int


@dataclass(frozen=True)
class Target:
    """How a value is to be stored.

    Attributes:
        fraction: Bits after the binary point; None: as it comes.
        low: The clamp's ends, in units of 2^−fraction.
        high: The upper one.
        also: A node that this very clamp makes good for, such as a rectifier.
    """

    fraction: int | None
    low: int
    high: int
    also: str | None = None


def quantise(
    graph: Graph,
    samples: Mapping[str, Tensor],
    *,
    activation_bits: int = 24,
    weight_bits: int = 20,
    table_bits: int = 16,
) -> FixedNetwork:
    """The graph as a `FixedNetwork`.

    Args:
        graph: The float64 graph.
        samples: Calibration data for every graph input.
        activation_bits: Values range over ±2^this, `HEADROOM` times what calibration has seen.
        weight_bits: Weights are rounded to 2^−this of the largest, or coarser where the proof demands it.
        table_bits: Tables have at most 2^this entries.

    Raises:
        ValueError: See `FixedNetwork.quantise`.
    """
    unknown = sorted({node.operation for node in graph.nodes} - set(OPERATIONS))
    if unknown:
        raise ValueError(f"no integer form of the operation {unknown[0]!r}; there is one of {', '.join(OPERATIONS)}")
    seen = ranges(graph, samples)
    bits = Bits(activation_bits, weight_bits, table_bits)
    network = _quantised(graph, samples, Builder(graph, seen, bits, fine=False))
    if lost(graph, network, samples) > WORTH_MORE:
        network = _quantised(graph, samples, Builder(graph, seen, bits, fine=True))
    return network


def _quantised(graph: Graph, samples: Mapping[str, Tensor], builder: Builder) -> FixedNetwork:
    from lucid.codec.network.integers import LOWER  # which is written in terms of the builder

    for node in graph.nodes:
        if node.name in builder.places:
            continue  # another's clamp has made good for it
        LOWER[node.operation](builder, node)
    outputs = {name: builder.place(source) for name, source in graph.outputs.items()}
    parts = builder.inputs, builder.used_constants(outputs), builder.nodes, outputs
    network = FixedNetwork(*parts)
    asked = typical_and_extreme(network, samples)
    return FixedNetwork(*parts, KnownAnswers(asked, digest_of(network, asked)))


class Builder:
    """Collects the nodes of a fixed network.

    Attributes:
        ranges: Of every value of the graph.
        places: From a value of the graph to the value of the fixed network that stands for it.
        specs: Of every value of the fixed network so far.
    """

    def __init__(self, graph: Graph, seen: Mapping[str, Range], bits: Bits, *, fine: bool) -> None:
        self.graph, self.ranges, self.bits, self.fine = graph, seen, bits, fine
        self.users: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for name in set(node.inputs):
                self.users.setdefault(name, []).append(node)
        self.read = set(graph.outputs.values())
        self.nodes: list[FixedNode] = []
        self.constants: dict[str, Spec] = {}
        self.inputs = {name: self._input(name, shape) for name, shape in graph.inputs.items()}
        self.specs: dict[str, Spec] = dict(self.inputs)
        self.places = {name: name for name in graph.inputs}
        self._known: dict[tuple[int, tuple[int, ...], bytes], str] = {}
        self._pieces: dict[str, tuple[Piece, ...]] = {}

    def _input(self, name: str, shape: Sequence[int]) -> Spec:
        seen = self.ranges[name]
        fraction = self.fraction_for(seen.magnitude)
        if seen.lattice is not None:
            fraction = min(fraction, seen.lattice)
        bound = math.ceil(seen.magnitude * HEADROOM * 2.0**fraction)
        return Spec(tuple(shape), fraction, -bound, bound)

    def fraction_for(self, magnitude: float, bits: int | None = None) -> int:
        """The fraction at which HEADROOM · magnitude takes `bits` bits."""
        bits = self.bits.activations if bits is None else bits
        return max(-40, min(40, bits - math.ceil(math.log2(magnitude * HEADROOM))))

    def place(self, name: str) -> str:
        """The fixed value that stands for a value of the graph; a constant is rounded to what calibration would."""
        if name in self.graph.constants and name not in self.places:
            magnitude = self.ranges[name].magnitude
            self.places[name] = self.constant(name, self.graph.constants[name], self.fraction_for(magnitude, 40))
        return self.places[name]

    def is_constant(self, name: str) -> bool:
        """Whether a value of the graph is the same for every example."""
        return name in self.graph.constants

    def constant(self, name: str, values: Tensor, fraction: int) -> str:
        """A constant rounded to a fraction."""
        return self.whole(f"{name}@{fraction}", (values.double() * 2.0**fraction).round().to(torch.int64), fraction)

    def whole(self, name: str, values: Tensor, fraction: int = 0) -> str:
        """A constant of whole numbers."""
        key = (fraction, tuple(values.shape), values.numpy().tobytes())
        if key in self._known:
            return self._known[key]
        self._known[key] = name
        if name not in self.constants:
            low, high = int(values.min()), int(values.max())
            self.constants[name] = Spec(tuple(values.shape), fraction, low, high, constant=values)
            self.specs[name] = self.constants[name]
        return name

    def used_constants(self, outputs: Mapping[str, str]) -> dict[str, Spec]:
        """The constants that a node or an output reads."""
        used = {name for node in self.nodes for name in node.inputs} | set(outputs.values())
        return {name: spec for name, spec in self.constants.items() if name in used}

    def function_of(self, node: Node) -> Callable[[Tensor], Tensor]:
        """A pointwise node's function."""
        return lambda x: evaluate(node.attrs["function"], x)

    def clamp_of(self, node: Node) -> tuple[float, float] | None:
        """The ends of a pointwise node that only clamps."""
        return clamp_of(self.function_of(node), self.ranges[node.inputs[0]], HEADROOM)

    def pieces_of(self, node: Node) -> tuple[Piece, ...]:
        """The tables of any other pointwise node."""
        if node.name not in self._pieces:
            seen, size = self.ranges[node.inputs[0]], self.ranges[node.name].magnitude
            self._pieces[node.name] = pieces_of(self.function_of(node), seen, size, self.bits.tables, fine=self.fine)
        return self._pieces[node.name]

    def only_read(self, name: str) -> bool:
        """Whether a value goes nowhere but out of the network, moved about at most."""
        users = self.users.get(name, [])
        moves = all(user.operation in _MOVES and self.only_read(user.name) for user in users)
        return moves and (name in self.read or bool(users))

    def target(self, name: str) -> Target:
        """How the value of a graph's node is best stored, by who reads it."""
        if self.only_read(name):
            return Target(None, 0, 0)
        users = self.users.get(name, [])
        if len(users) == 1 and name not in self.read and users[0].operation == "pointwise":
            user = users[0]
            ends = self.clamp_of(user)
            if ends is None:
                pieces = self.pieces_of(user)
                if len(pieces) == 1 and not pieces[0].lines:
                    return Target(pieces[0].fraction, pieces[0].first, pieces[0].last)
                return self.ordinary(name)
            plain = self.ordinary(user.name)
            assert plain.fraction is not None
            factor = 2.0**plain.fraction
            low, high = (round(max(-(2.0**52), min(2.0**52, end * factor))) for end in ends)
            return Target(plain.fraction, max(plain.low, low), min(plain.high, high), also=user.name)
        return self.ordinary(name)

    def ordinary(self, name: str, bits: int | None = None) -> Target:
        """At full resolution."""
        bits = self.bits.activations if bits is None else bits
        return Target(self.fraction_for(self.ranges[name].magnitude, bits), -(1 << bits), 1 << bits)

    def add(self, name: str, operation: Operation, inputs: Sequence[str], target: Target | None = None) -> str:
        """Write a node; `target` is how its value is stored (None: as it comes, for what only moves)."""
        given = [self.specs[place] for place in inputs]
        raw = operation.raw(given)
        node = FixedNode(name, operation, tuple(inputs), raw.fraction)
        if target is not None and operation.fresh and not operation.settled:
            fraction = target.fraction
            if fraction is None:
                node = replace(node, fraction=None)
            elif fraction > raw.fraction and target.also is None:  # no bits to be had beyond those that are there
                up = fraction - raw.fraction
                node = replace(node, low=-(-target.low >> up), high=target.high >> up)
            else:
                node = replace(node, fraction=fraction, low=target.low, high=target.high)
        proved = prove(node, given)
        free = prove(replace(node, low=None, high=None), given) if node.low is not None else proved
        may = target is not None and target.also is None and not isinstance(operation, Clamp)
        if may and free.spec.magnitude <= 4 * proved.spec.magnitude:  # a pass over memory is worth more than two bits
            node, proved = replace(node, low=None, high=None), free
        self.nodes.append(node)
        self.specs[name] = proved.spec
        self.places[name] = name
        if target is not None and target.also is not None:
            self.places[target.also] = name
        return name

    def lowered(self, place: str, fraction: int) -> str:
        """A fixed value with at most `fraction` bits after the point: rounded once, for all who ask."""
        spec = self.specs[place]
        if spec.fraction <= fraction:
            return place
        name = f"{place}~{fraction}"
        if name not in self.specs:
            if spec.constant is not None:
                down = (spec.constant.double() * 2.0 ** (fraction - spec.fraction)).round().to(torch.int64)
                return self.whole(name, down, fraction)
            node = FixedNode(name, Clamp(), (place,), fraction)
            self.nodes.append(node)
            self.specs[name] = prove(node, [spec]).spec
        return name

    def within(self, place: str, bits: int) -> str:
        """A fixed value of at most `bits` bits."""
        spec = self.specs[place]
        excess = spec.magnitude.bit_length() - bits
        return place if excess <= 0 else self.lowered(place, spec.fraction - excess)


_MOVES = frozenset({"reshape", "permute", "slice", "expand", "gather"})

"""A graph in the making: values with a function still to be applied, and nodes that are never written twice."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lucid.codec.network.graph import Graph, Node
from lucid.codec.network.pointwise import IDENTITY, Function, affine_of

__all__ = ["Builder", "Value", "canonical"]

Shape = tuple[int, ...]


def canonical(shape: Sequence[int]) -> Shape:
    """The shape of one example of a graph's value that has `shape` where the model runs on a single example.

    There the batch is a dimension of size 1 among others: a leading one is left out, and any other stays where the
    model put it. So a graph needs no guess at which dimension the batch is, and it can be merged with others and split
    off again by a model as it likes.
    """
    return tuple(shape[1:]) if shape and shape[0] == 1 else tuple(shape)


@dataclass(frozen=True)
class Value:
    """What an operation of the model made, as a function of a node.

    The function is not yet a node of its own: as long as operations of one variable follow each other, they become one
    table.

    Attributes:
        shape: Where the model runs on a single example, the batch among its dimensions.
        base: An input or a node, whose shape is `canonical(shape)`.
        function: Of it, number by number.
    """

    shape: Shape
    base: str
    function: Function = IDENTITY

    def with_function(self, function: Function) -> Value:
        """The same base under another function."""
        return replace(self, function=function)


class Builder:
    """Collects nodes and constants.

    Args:
        inputs: Shape of one example of each input of the graph.

    Attributes:
        shapes: Of one example, of every input and node.
        joined: Of concatenations, what was joined, and for each place of the result which part it comes from and where
            it stood there.
    """

    def __init__(self, inputs: Mapping[str, Shape]) -> None:
        self.shapes: dict[str, Shape] = dict(inputs)
        self.joined: dict[str, tuple[list[Value | Tensor], tuple[Tensor, Tensor]]] = {}
        self._inputs = dict(inputs)
        self._nodes: list[Node] = []
        self._known: dict[str, str] = {}
        self._constants: dict[str, Tensor] = {}
        self._constant_names: dict[tuple[Shape, bytes], str] = {}
        self._reshaped: dict[str, str] = {}

    def emit(
        self, operation: str, inputs: Sequence[str], shape: Sequence[int], attrs: Mapping[str, Any] | None = None
    ) -> str:
        """The name of a node; one that was written before with the same inputs and attrs is that one."""
        attrs = {} if attrs is None else attrs
        key = json.dumps([operation, inputs, attrs])
        if key not in self._known:
            name = f"n{len(self._nodes)}"
            self._known[key] = name
            self._nodes.append(Node(name, operation, tuple(inputs), attrs))
            self.shapes[name] = tuple(shape)
        return self._known[key]

    def constant(self, tensor: Tensor) -> str:
        """The name of a constant."""
        tensor = tensor.detach().double().contiguous()
        key = (tuple(tensor.shape), tensor.numpy().tobytes())
        if key not in self._constant_names:
            self._constant_names[key] = f"c{len(self._constants)}"
            self._constants[self._constant_names[key]] = tensor
        return self._constant_names[key]

    def reshape(self, name: str, shape: Sequence[int]) -> str:
        """`name` in another shape; of several after each other only the last is written."""
        shape = tuple(shape)
        assert math.prod(shape) == math.prod(self.shapes[name]), (shape, self.shapes[name])
        name = self._reshaped.get(name, name)
        if self.shapes[name] == shape:
            return name
        made = self.emit("reshape", [name], shape, {"shape": list(shape)})
        self._reshaped[made] = name
        return made

    def node(self, value: Value, shape: Sequence[int] | None = None) -> str:
        """The node that holds a value, its function applied.

        Args:
            value: Of the model.
            shape: Of one example; `canonical(value.shape)` unless given.
        """
        shape = canonical(value.shape) if shape is None else tuple(shape)
        if not value.function:
            return self.reshape(value.base, shape)
        base = self._reshaped.get(value.base, value.base)
        return self.reshape(self._function(base, value.function), shape)

    def is_written(self, value: Value) -> bool:
        """Whether the node of a value is there already."""
        base = self._reshaped.get(value.base, value.base)
        return not value.function or self._pointwise_key(base, value.function) in self._known

    def value(self, name: str, shape: Sequence[int]) -> Value:
        """The value of a node for a model that expects it in `shape`."""
        return Value(tuple(shape), self.reshape(name, canonical(shape)))

    def graph(self, outputs: Mapping[str, str]) -> Graph:
        """The graph of what the outputs need."""
        needed, kept = set(outputs.values()), list[Node]()
        for node in reversed(self._nodes):
            if node.name in needed:
                kept.insert(0, node)
                needed.update(node.inputs)
        constants = {name: tensor for name, tensor in self._constants.items() if name in needed}
        return Graph(self._inputs, constants, tuple(kept), dict(outputs))

    def _function(self, base: str, function: Function) -> str:
        affine = affine_of(function)
        if affine is None:
            return self.emit("pointwise", [base], self.shapes[base], {"function": [list(step) for step in function]})
        scale, shift = affine
        if scale != 1.0:
            base = self.emit("mul", [base, self._number(scale)], self.shapes[base])
        if shift != 0.0:
            base = self.emit("add", [base, self._number(shift)], self.shapes[base])
        return base

    def _number(self, value: float) -> str:
        return self.constant(torch.tensor(value, dtype=torch.float64))

    @staticmethod
    def _pointwise_key(base: str, function: Function) -> str:
        return json.dumps(["pointwise", [base], {"function": [list(step) for step in function]}])

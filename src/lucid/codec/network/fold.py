"""Factors and shifts that a neighbouring layer can take over: fewer passes over all numbers, the same graph."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lucid.codec.network.graph import Graph, Node

__all__ = ["folded"]


def folded(graph: Graph) -> Graph:
    """The same function with fewer nodes.

    A multiplication or addition of constants that follows a linear layer or convolution, or precedes one, becomes part
    of its weights, where nothing else reads what lies between: batch normalisation after a convolution, data in [0, 1]
    that a first layer wants in [−1, 1].

    Example:
        >>> import torch
        >>> weight, two = torch.ones(3, 2, dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64)
        >>> nodes = Node("h", "mul", ("x", "two")), Node("y", "linear", ("h", "weight"))
        >>> graph = folded(Graph({"x": (2,)}, {"weight": weight, "two": two}, nodes, {"y": "y"}))
        >>> [node.operation for node in graph.nodes], graph.evaluate({"x": torch.ones(1, 2)})["y"].tolist()
        (['linear'], [[4.0, 4.0, 4.0]])
    """
    folder = _Folder(graph)
    while folder.step():
        pass
    return folder.graph()


class _Folder:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nodes = {node.name: node for node in graph.nodes}
        self._constants = dict(graph.constants)

    def step(self) -> bool:
        """One fold, if there is any to do."""
        uses = Counter(name for node in self._nodes.values() for name in node.inputs)
        uses.update(self._graph.outputs.values())
        return any(self._after(node, uses) or self._before(node, uses) for node in self._nodes.values())

    def graph(self) -> Graph:
        """What is left."""
        used = {name for node in self._nodes.values() for name in node.inputs} | set(self._graph.outputs.values())
        constants = {name: tensor for name, tensor in self._constants.items() if name in used}
        return replace(self._graph, constants=constants, nodes=tuple(self._nodes.values()))

    def _after(self, node: Node, uses: Mapping[str, int]) -> bool:
        """A layer, then the factor or shift `node`: of each of its outputs."""
        number = self._number(node)
        layer = self._nodes.get(node.inputs[0])
        if number is None or layer is None or uses[layer.name] > 1 or layer.operation not in ("linear", "conv"):
            return False
        weight, bias = self._weights(layer)
        outputs = self._outputs(layer, weight)
        each = _by_channel(number, outputs, 0 if layer.operation == "linear" else weight.dim() - 2)
        if each is None:
            return False
        if node.operation == "mul":
            weight = _times_outputs(layer, weight, each)
            bias = None if bias is None else bias * each
        else:
            bias = each.expand(outputs) if bias is None else bias + each
        self._replace(node, layer, layer.inputs[0], weight, bias)
        del self._nodes[layer.name]
        return True

    def _before(self, layer: Node, uses: Mapping[str, int]) -> bool:
        """The factor or shift of each of its inputs, then `layer`."""
        if layer.operation not in ("linear", "conv"):
            return False
        node, between = self._nodes.get(layer.inputs[0]), None
        if node is not None and node.operation == "reshape":
            node, between = self._nodes.get(node.inputs[0]), node
        number = None if node is None else self._number(node)
        if node is None or number is None or uses[node.name] > 1:
            return False
        if between is not None and (number.numel() > 1 or uses[between.name] > 1):
            return False
        weight, bias = self._weights(layer)
        inputs = self._inputs(layer, weight)
        each = _by_channel(number, inputs, 0 if layer.operation == "linear" else weight.dim() - 2)
        if each is None or (node.operation == "add" and layer.operation == "conv"):  # padding would not be shifted
            return False
        if node.operation == "mul":
            weight = _times_inputs(layer, weight, each)
        else:
            shift = weight @ each.expand(inputs)
            bias = shift if bias is None else bias + shift
        source = node.inputs[0]
        if between is not None:
            self._nodes[between.name] = replace(between, inputs=(source,))
            source = between.name
        del self._nodes[node.name]
        self._replace(layer, layer, source, weight, bias)
        return True

    def _number(self, node: Node) -> Tensor | None:
        """The constant of a multiplication or addition of one."""
        if node.operation not in ("mul", "add") or node.inputs[0] in self._constants:
            return None
        return self._constants.get(node.inputs[1])

    def _weights(self, layer: Node) -> tuple[Tensor, Tensor | None]:
        weight, *bias = (self._constants[name] for name in layer.inputs[1:])
        return weight, bias[0] if bias else None

    @staticmethod
    def _outputs(layer: Node, weight: Tensor) -> int:
        transposed = bool(layer.attrs.get("transposed"))
        return weight.shape[1] * layer.attrs["groups"] if transposed else weight.shape[0]

    @staticmethod
    def _inputs(layer: Node, weight: Tensor) -> int:
        if layer.operation == "linear":
            return weight.shape[1]
        return weight.shape[0] if layer.attrs["transposed"] else weight.shape[1] * layer.attrs["groups"]

    def _replace(self, at: Node, layer: Node, source: str, weight: Tensor, bias: Tensor | None) -> None:
        """In the place of `at`, the layer with other weights."""
        names = [f"{at.name}.weight", *([] if bias is None else [f"{at.name}.bias"])]
        for name, tensor in zip(names, (weight, bias), strict=False):
            assert tensor is not None
            self._constants[name] = tensor.contiguous()
        self._nodes[at.name] = replace(layer, name=at.name, inputs=(source, *names))


def _by_channel(number: Tensor, channels: int, places: int) -> Tensor | None:
    """A constant as one number for each channel, or one for all, (channels,) or (1,); None where it is neither."""
    shape: Sequence[int] = tuple(number.shape)
    if math.prod(shape) == 1:
        return number.reshape(1)
    kept = shape[: len(shape) - places]
    alike = math.prod(shape[len(shape) - places :]) == 1 and len(shape) > places
    return number.reshape(-1) if alike and kept[-1] == channels and math.prod(kept) == channels else None


def _times_outputs(layer: Node, weight: Tensor, each: Tensor) -> Tensor:
    if layer.operation == "linear" or not layer.attrs["transposed"]:
        return weight * each.reshape(-1, *[1] * (weight.dim() - 1))
    return weight * _of_groups(each, layer, weight.shape[0], weight.shape[1]).reshape(*_leading(each, weight))


def _times_inputs(layer: Node, weight: Tensor, each: Tensor) -> Tensor:
    if layer.operation == "linear":
        return weight * each
    if layer.attrs["transposed"]:
        return weight * each.reshape(-1, *[1] * (weight.dim() - 1))
    return weight * _of_groups(each, layer, weight.shape[0], weight.shape[1]).reshape(*_leading(each, weight))


def _of_groups(each: Tensor, layer: Node, rows: int, width: int) -> Tensor:
    """For every row of grouped weights the numbers of the channels of its group."""
    if each.numel() == 1:
        return each
    groups = layer.attrs["groups"]
    return torch.repeat_interleave(each.reshape(groups, width), rows // groups, dim=0)


def _leading(each: Tensor, weight: Tensor) -> list[int]:
    lead = [1, 1] if each.numel() == 1 else list(weight.shape[:2])
    return [*lead, *[1] * (weight.dim() - 2)]

"""A walk written down: which operations lead from the data and the latents to the parameters of every distribution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lucid.codec.network.reference import EVALUATE

__all__ = ["OPERATIONS", "Graph", "Node"]

OPERATIONS: Mapping[str, str] = {
    "linear": "(x, weight (O, I), bias (O,)?): x · weightᵀ + bias along the last dimension",
    "conv": "(x, weight, bias?): attrs stride, padding, dilation, groups, transposed, output_padding, as lists of ints",
    "matmul": "(a, b): two activations, (N, ..., I, J) · (N, ..., J, K)",
    "add": "(a, b), broadcast, one of them may be a constant; likewise sub, mul, div, maximum, minimum",
    "sub": "",
    "mul": "",
    "div": "",
    "maximum": "",
    "minimum": "",
    "pointwise": "(x,): attrs function, a program in one variable that `pointwise.evaluate` runs",
    "reshape": "(x,): attrs shape, of one example",
    "permute": "(x,): attrs dims, a permutation of 0 … rank − 1 that keeps the batch at 0",
    "slice": "(x,): attrs dim, start, stop, step",
    "cat": "(x, …): attrs dim; a constant among them stands in every example",
    "expand": "(x,): attrs shape, of one example",
    "gather": "(x,): attrs dim, index, a list of ints: flips, nearest upsampling, any choice known beforehand",
    "pad": "(x,): attrs pads, a (before, after) pair for each dimension of an example; value",
    "sum": "(x,): attrs dims, keepdim",
    "mean": "(x,): attrs dims, keepdim",
    "amax": "(x,): attrs dims, keepdim",
    "cumsum": "(x,): attrs dim",
    "avg_pool": "(x,): attrs kernel, stride, padding, ceil_mode, count_include_pad",
    "max_pool": "(x,): attrs kernel, stride, padding, dilation, ceil_mode",
    "normalise": "(x,): attrs dims, eps: (x − mean) / √(variance + eps) over dims, the variance that divides by n",
    "softmax": "(x,): attrs dim",
}
"""The operations of a graph and what each takes. Dimension 0 is the batch in every activation and is never touched;
shapes and dims in attrs count it (dims ≥ 1), shapes leave it out. Constants have no batch: they broadcast from the
right."""


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        name: Of its value.
        operation: A key of `OPERATIONS`.
        inputs: Names of nodes, graph inputs or constants.
        attrs: Plain JSON values.
    """

    name: str
    operation: str
    inputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which they can be computed.

    Attributes:
        inputs: Shape of one example of each input: "x", and "z0" … by level.
        constants: float64, without a batch.
        nodes: The operations.
        outputs: From the name of an output, such as "q0.loc", to the node, input or constant that it is.
    """

    inputs: Mapping[str, tuple[int, ...]]
    constants: Mapping[str, Tensor]
    nodes: tuple[Node, ...]
    outputs: Mapping[str, str]

    def evaluate(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs in float64, the reference for all other arithmetic.

        Args:
            inputs: (N, *shape) for each input.

        Returns:
            (N, *shape) for each output; constants without the batch.

        Example:
            >>> import torch
            >>> graph = Graph({"x": (2,)}, {}, (Node("n0", "add", ("x", "x")),), {"double": "n0"})
            >>> graph.evaluate({"x": torch.ones(1, 2)})
            {'double': tensor([[2., 2.]], dtype=torch.float64)}
        """
        values = {**self.constants, **{name: x.double() for name, x in inputs.items()}}
        for node in self.nodes:
            values[node.name] = EVALUATE[node.operation](node.attrs, *(values[name] for name in node.inputs))
        return {name: values[source] for name, source in self.outputs.items()}

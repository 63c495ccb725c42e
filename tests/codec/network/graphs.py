"""Small graphs of every operation, and the walk of a tiny model, for the tests of fixed networks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lucid.codec.network.graph import Graph, Node

SILU = [["sigmoid", "x"], ["mul", "x", "t0"]]
RELU = [["relu", "x"]]


def numbers(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Standard normal numbers times a scale, float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def image_graph(node: Node, constants: dict[str, Tensor] | None = None) -> Graph:
    """One operation of an image "x" of 4 channels, 6 × 5."""
    return Graph({"x": (4, 6, 5)}, constants or {}, (node,), {"out": node.name})


def pair_graph(operation: str) -> Graph:
    """One operation of two matrices."""
    return Graph({"x": (3, 4), "y": (3, 4)}, {}, (Node("n", operation, ("x", "y")),), {"out": "n"})


def _conv(**attrs: object) -> dict[str, object]:
    plain = {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1, "transposed": False}
    return {**plain, "output_padding": [0, 0], **attrs}


_WINDOWS = {"kernel": [3, 2], "stride": [2, 2], "padding": [1, 1], "ceil_mode": True}
_W = {"w": numbers(8, 4, 3, 3, seed=1), "b": numbers(8, seed=2)}

_OVER_TIME = Node("n", "conv", ("x", "w"), _conv(stride=[1], padding=[1], dilation=[1], output_padding=[0]))

OPERATIONS: dict[str, Callable[[], Graph]] = {
    "linear": lambda: image_graph(
        Node("n", "linear", ("x", "w", "b")), {"w": numbers(7, 5, seed=1), "b": numbers(7, seed=2)}
    ),
    "linear without bias": lambda: image_graph(Node("n", "linear", ("x", "w")), {"w": numbers(7, 5, seed=1)}),
    "conv": lambda: image_graph(Node("n", "conv", ("x", "w", "b"), _conv()), _W),
    "conv, padded and strided": lambda: image_graph(
        Node("n", "conv", ("x", "w", "b"), _conv(padding=[1, 2], stride=[2, 1])), _W
    ),
    "conv 1 × 1": lambda: image_graph(Node("n", "conv", ("x", "w"), _conv()), {"w": numbers(3, 4, 1, 1)}),
    "conv, dilated": lambda: image_graph(Node("n", "conv", ("x", "w", "b"), _conv(dilation=[2, 1])), _W),
    "conv, in groups": lambda: image_graph(
        Node("n", "conv", ("x", "w"), _conv(groups=2, padding=[1, 1])), {"w": numbers(6, 2, 3, 3)}
    ),
    "conv, transposed": lambda: image_graph(
        Node("n", "conv", ("x", "w"), _conv(transposed=True, stride=[2, 2], output_padding=[1, 0], padding=[1, 1])),
        {"w": numbers(4, 3, 3, 3)},
    ),
    "conv over time": lambda: Graph({"x": (4, 9)}, {"w": numbers(5, 4, 3)}, (_OVER_TIME,), {"out": "n"}),
    "matmul": lambda: Graph({"x": (2, 3, 4), "y": (2, 4, 5)}, {}, (Node("n", "matmul", ("x", "y")),), {"out": "n"}),
    **{name: (lambda name=name: pair_graph(name)) for name in ("add", "sub", "mul", "maximum", "minimum")},
    "div": lambda: Graph(
        {"x": (3, 4), "y": (3, 4)},
        {},
        (
            Node("p", "pointwise", ("y",), {"function": [["mul", "x", 0.1], ["exp", "t0"]]}),
            Node("n", "div", ("x", "p")),
        ),
        {"out": "n"},
    ),
    "a constant's share": lambda: Graph(
        {"x": (4, 6, 5)},
        {"scale": numbers(4, 1, 1, seed=1), "shift": numbers((5), seed=2, scale=100.0)},
        (Node("m", "mul", ("scale", "x")), Node("n", "sub", ("shift", "m"))),
        {"out": "n"},
    ),
    "rectifier": lambda: image_graph(Node("n", "pointwise", ("x",), {"function": RELU})),
    "silu": lambda: image_graph(Node("n", "pointwise", ("x",), {"function": SILU})),
    "reshape": lambda: image_graph(Node("n", "reshape", ("x",), {"shape": [8, 15]})),
    "permute": lambda: image_graph(Node("n", "permute", ("x",), {"dims": [0, 3, 1, 2]})),
    "slice": lambda: image_graph(Node("n", "slice", ("x",), {"dim": 2, "start": 1, "stop": 6, "step": 2})),
    "cat": lambda: Graph(
        {"x": (3, 4), "y": (2, 4)}, {}, (Node("n", "cat", ("y", "x", "y"), {"dim": 1}),), {"out": "n"}
    ),
    "expand": lambda: Graph({"x": (3, 1)}, {}, (Node("n", "expand", ("x",), {"shape": [3, 4]}),), {"out": "n"}),
    "gather": lambda: image_graph(Node("n", "gather", ("x",), {"dim": 3, "index": [4, 0, 0, 2]})),
    "pad": lambda: image_graph(Node("n", "pad", ("x",), {"pads": [[0, 1], [2, 0], [1, -1]], "value": 0.5})),
    "sum": lambda: image_graph(Node("n", "sum", ("x",), {"dims": [1, 3], "keepdim": False})),
    "mean": lambda: image_graph(Node("n", "mean", ("x",), {"dims": [2, 3], "keepdim": True})),
    "amax": lambda: image_graph(Node("n", "amax", ("x",), {"dims": [1], "keepdim": False})),
    "cumsum": lambda: image_graph(Node("n", "cumsum", ("x",), {"dim": 2})),
    "avg_pool": lambda: image_graph(Node("n", "avg_pool", ("x",), {**_WINDOWS, "count_include_pad": True})),
    "avg_pool of what is there": lambda: image_graph(
        Node("n", "avg_pool", ("x",), {**_WINDOWS, "count_include_pad": False})
    ),
    "max_pool": lambda: image_graph(Node("n", "max_pool", ("x",), {**_WINDOWS, "dilation": [1, 1]})),
    "normalise": lambda: image_graph(Node("n", "normalise", ("x",), {"dims": [1, 3], "eps": 1e-5})),
    "softmax": lambda: image_graph(Node("n", "softmax", ("x",), {"dim": 2})),
}
"""By name: a graph whose output "out" is that operation of "x" (and "y")."""


def samples_of(graph: Graph, n: int = 40, scale: float = 1.0) -> dict[str, Tensor]:
    """Normal numbers for every input."""
    return {name: numbers(n, *shape, seed=i, scale=scale) for i, (name, shape) in enumerate(graph.inputs.items(), 10)}


def walk_graph() -> Graph:
    """A walk with a convolution, a normalisation, tables and a residual: posterior of x, likelihood of z0."""
    constants = {
        "w1": numbers(16, 1, 3, 3, seed=1, scale=0.4),
        "b1": numbers(16, seed=2, scale=0.1),
        "w2": numbers(8, 16 * 64, seed=3, scale=0.03),
        "b2": numbers(8, seed=4, scale=0.1),
        "w3": numbers(64, 4, seed=5, scale=0.5),
        "w4": numbers(64, 64, seed=6, scale=0.1),
        "b4": numbers(64, seed=7, scale=0.1),
    }
    nodes = (
        Node("h", "conv", ("x", "w1", "b1"), _conv(padding=[1, 1])),
        Node("g", "normalise", ("h",), {"dims": [2, 3], "eps": 1e-5}),
        Node("s", "pointwise", ("g",), {"function": SILU}),
        Node("f", "reshape", ("s",), {"shape": [16 * 64]}),
        Node("q", "linear", ("f", "w2", "b2")),
        Node("loc", "slice", ("q",), {"dim": 1, "start": 0, "stop": 4, "step": 1}),
        Node("logvar", "slice", ("q",), {"dim": 1, "start": 4, "stop": 8, "step": 1}),
        Node("d", "linear", ("z0", "w3")),
        Node("t", "pointwise", ("d",), {"function": [["tanh", "x"]]}),
        Node("r", "add", ("t", "d")),
        Node("a", "softmax", ("r",), {"dim": 1}),
        Node("m", "mul", ("a", "r")),
        Node("o", "linear", ("m", "w4", "b4")),
        Node("logits", "reshape", ("o",), {"shape": [1, 8, 8]}),
    )
    outputs = {"q0.loc": "loc", "q0.logvar": "logvar", "x.logits": "logits"}
    return Graph({"x": (1, 8, 8), "z0": (4,)}, constants, nodes, outputs)

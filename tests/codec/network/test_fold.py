"""Folding leaves the function as it is, and takes away the passes that it says it does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lucid.codec.network.fold import folded
from lucid.codec.network.graph import Graph, Node

CONV = {"stride": [1], "padding": [1], "dilation": [1], "groups": 1, "transposed": False, "output_padding": [0]}


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def graph_of(shape: tuple[int, ...], constants: dict[str, Tensor], *steps: tuple[str, tuple[str, ...], dict]) -> Graph:
    """A chain of nodes n0, n1, … whose last one is the output."""
    nodes = tuple(Node(f"n{i}", operation, inputs, attrs) for i, (operation, inputs, attrs) in enumerate(steps))
    return Graph({"x": shape}, constants, nodes, {"y": nodes[-1].name})


def linear_after() -> Graph:
    constants = {"w": numbers(4, 3), "b": numbers(4), "s": numbers(4), "t": numbers(4)}
    return graph_of(
        (5, 3), constants, ("linear", ("x", "w", "b"), {}), ("mul", ("n0", "s"), {}), ("add", ("n1", "t"), {})
    )


def linear_before() -> Graph:
    constants = {"w": numbers(4, 3), "s": numbers(3), "t": numbers(3)}
    return graph_of((5, 3), constants, ("mul", ("x", "s"), {}), ("add", ("n0", "t"), {}), ("linear", ("n1", "w"), {}))


def through_a_reshape() -> Graph:
    constants = {"w": numbers(4, 6), "b": numbers(4), "s": numbers(), "t": numbers()}
    return graph_of(
        (2, 3),
        constants,
        ("mul", ("x", "s"), {}),
        ("add", ("n0", "t"), {}),
        ("reshape", ("n1",), {"shape": [6]}),
        ("linear", ("n2", "w", "b"), {}),
    )


def around_conv(groups: int, transposed: bool) -> Graph:
    weight = numbers(4, 6 // groups, 3) if transposed else numbers(6, 4 // groups, 3)
    constants = {"w": weight, "r": numbers(4, 1), "s": numbers(6, 1), "t": numbers(1, 6, 1)[0]}
    attrs = {**CONV, "groups": groups, "transposed": transposed}
    return graph_of(
        (4, 7),
        constants,
        ("mul", ("x", "r"), {}),
        ("conv", ("n0", "w"), attrs),
        ("mul", ("n1", "s"), {}),
        ("add", ("n2", "t"), {}),
    )


FOLDED: dict[str, tuple[Callable[[], Graph], list[str]]] = {
    "after a linear layer": (linear_after, ["linear"]),
    "before a linear layer": (linear_before, ["linear"]),
    "through a reshape": (through_a_reshape, ["reshape", "linear"]),
    "around a convolution": (lambda: around_conv(1, transposed=False), ["conv"]),
    "around a grouped convolution": (lambda: around_conv(2, transposed=False), ["conv"]),
    "around a transposed convolution": (lambda: around_conv(1, transposed=True), ["conv"]),
    "around a grouped transposed one": (lambda: around_conv(2, transposed=True), ["conv"]),
}


@pytest.mark.parametrize("name", FOLDED)
def test_the_same_function_in_fewer_nodes(name: str) -> None:
    make, left = FOLDED[name]
    graph = make()
    x = {"x": numbers(3, *graph.inputs["x"])}
    after = folded(graph)
    assert [node.operation for node in after.nodes] == left
    assert torch.allclose(after.evaluate(x)["y"], graph.evaluate(x)["y"], rtol=1e-12, atol=1e-12)


def shifted_before_padding() -> Graph:
    return graph_of(
        (4, 7), {"w": numbers(6, 4, 3), "t": numbers()}, ("add", ("x", "t"), {}), ("conv", ("n0", "w"), CONV)
    )


def read_twice() -> Graph:
    constants = {"w": numbers(3, 3), "s": numbers(3)}
    return graph_of((3,), constants, ("linear", ("x", "w"), {}), ("mul", ("n0", "s"), {}), ("add", ("n0", "n1"), {}))


def a_number_for_each_place() -> Graph:
    constants = {"w": numbers(6, 4, 3), "s": numbers(6, 7)}
    return graph_of((4, 7), constants, ("conv", ("x", "w"), CONV), ("mul", ("n0", "s"), {}))


@pytest.mark.parametrize("make", [shifted_before_padding, read_twice, a_number_for_each_place])
def test_what_no_layer_can_take_over_stays(make: Callable[[], Graph]) -> None:
    graph = make()
    x = {"x": numbers(3, *graph.inputs["x"])}
    after = folded(graph)
    assert len(after.nodes) == len(graph.nodes)
    assert torch.allclose(after.evaluate(x)["y"], graph.evaluate(x)["y"], rtol=1e-12, atol=1e-12)

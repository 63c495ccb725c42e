"""A fixed network says what the float graph says, whatever the batch, and no more of it than is asked."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.codec.network.graphs import OPERATIONS, numbers, samples_of, walk_graph
from torch import Tensor

from lucid.codec.network.fixed import FixedNetwork
from lucid.codec.network.graph import OPERATIONS as GRAPH_OPERATIONS
from lucid.codec.network.graph import Graph, Node
from lucid.codec.network.integers import LOWER
from lucid.codec.network.operations import KINDS

TABLE = 2.0**-12
"""Tables of nearest entries are good to this share of the largest value, by their construction."""


def outputs_of(network: FixedNetwork, given: dict[str, Tensor]) -> dict[str, Tensor]:
    run = network.start(min(len(values) for values in given.values()))
    for name, values in given.items():
        run.feed(name, values)
    return {name: run.read(name) for name in network.outputs}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_meets_float64(name: str) -> None:
    graph = OPERATIONS[name]()
    samples = samples_of(graph, scale=3.0)
    network = FixedNetwork.quantise(graph, samples)
    expected, found = graph.evaluate(samples)["out"], outputs_of(network, samples)["out"]
    assert found.shape == expected.shape
    tolerance = TABLE if name in ("silu", "div") else 2.0**-17  # of 24 bits, 3 are headroom; products add their own
    assert float((found - expected).abs().max()) <= tolerance * float(expected.abs().max())


def test_every_operation_of_a_graph_has_an_integer_form() -> None:
    assert set(LOWER) == set(GRAPH_OPERATIONS)


def test_every_kind_of_operation_is_met_above() -> None:
    met = {
        node.operation.name
        for make in OPERATIONS.values()
        for node in FixedNetwork.quantise(make(), samples_of(make())).nodes
    }
    assert met | {"interpolate"} == set(KINDS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_foreign_data_change_nothing_but_the_numbers(name: str) -> None:
    graph = OPERATIONS[name]()
    network = FixedNetwork.quantise(graph, samples_of(graph))
    found = outputs_of(network, samples_of(graph, scale=1e6))["out"]
    assert bool(torch.isfinite(found).all())


def test_each_example_stands_alone() -> None:
    graph = walk_graph()
    samples = samples_of(graph, 64)
    network = FixedNetwork.quantise(graph, samples)
    together = outputs_of(network, samples)
    for size in (1, 7):
        parts = [
            outputs_of(network, {name: values[start : start + size] for name, values in samples.items()})
            for start in range(0, 64, size)
        ]
        for name, values in together.items():
            assert torch.equal(torch.cat([part[name] for part in parts]), values), (name, size)


def test_reads_compute_only_what_they_need() -> None:
    graph = walk_graph()
    samples = samples_of(graph)
    network = FixedNetwork.quantise(graph, samples)
    run = network.start(40)
    run.feed("x", samples["x"])
    assert torch.equal(run.read("q0.loc"), outputs_of(network, samples)["q0.loc"])
    with pytest.raises(AssertionError, match="'z0' has not been fed"):
        run.read("x.logits")
    run.feed("z0", samples["z0"])
    assert torch.equal(run.read("x.logits"), outputs_of(network, samples)["x.logits"])


def test_what_is_fed_is_put_on_the_grid_and_clamped() -> None:
    graph = Graph({"x": (1,)}, {}, (Node("n", "add", ("x", "x")),), {"out": "n", "same": "x"})
    network = FixedNetwork.quantise(graph, {"x": numbers(64, 1)})
    spec = network.inputs["x"]
    step = 2.0**-spec.fraction
    found = outputs_of(network, {"x": torch.tensor([[0.4 * step], [1e9], [-1e9]], dtype=torch.float64)})["same"]
    assert found.flatten().tolist() == [0.0, spec.high * step, spec.low * step]
    assert spec.high * step >= 8 * float(numbers(64, 1).abs().max())


def test_bits_and_counts_keep_their_own_grid() -> None:
    graph = Graph({"x": (3,)}, {}, (Node("n", "add", ("x", "x")),), {"out": "n"})
    for levels, fraction in ((1.0, 0), (4.0, 2)):
        samples = (torch.rand(64, 3, generator=torch.Generator().manual_seed(0)).double() * 9).floor() / levels
        assert FixedNetwork.quantise(graph, {"x": samples}).inputs["x"].fraction == fraction


@pytest.mark.parametrize(
    ("steps", "spread"),
    [
        ([["log1p", "x"]], 1e5),
        ([["sqrt", "x"]], 1e6),
        ([["mul", "x", 0.01], ["tanh", "t0"]], 1e3),
        ([["gt", "x", 3.0]], 10.0),
    ],
)
def test_functions_of_counts_are_good_at_every_count(steps: list[list[Any]], spread: float) -> None:
    generator = torch.Generator().manual_seed(0)
    counts = (torch.rand(400, 5, generator=generator).double() ** 6 * spread).floor()
    graph = Graph({"x": (5,)}, {}, (Node("n", "pointwise", ("x",), {"function": steps}),), {"out": "n"})
    expected = graph.evaluate({"x": counts})["out"]
    found = outputs_of(FixedNetwork.quantise(graph, {"x": counts}), {"x": counts})["out"]
    # The worst of an eightfold piece is its beginning: lines 1/512 of the count apart, (1/512)² / 8 of a logarithm.
    assert float((found - expected).abs().max()) <= 2.0**-20 * max(1.0, float(expected.abs().max()))


def test_narrow_posteriors_get_finer_tables() -> None:
    steps = [["sigmoid", "x"], ["mul", "x", "t0"]]
    constants = {"narrow": numbers(2, scale=0.1) - 16.0, "wide": numbers(2, scale=0.1)}

    def tables(width: str) -> set[str]:
        nodes = (
            Node("loc", "pointwise", ("x",), {"function": steps}),
            Node("zero", "mul", ("x", "nothing")),
            Node("logvar", "add", ("zero", width)),
        )
        given = {**constants, "nothing": torch.zeros((), dtype=torch.float64)}
        graph = Graph({"x": (2,)}, given, nodes, {"q0.loc": "loc", "q0.logvar": "logvar"})
        return {node.operation.name for node in FixedNetwork.quantise(graph, {"x": numbers(64, 2, scale=4.0)}).nodes}

    assert "lookup" in tables("wide")
    assert "interpolate" not in tables("wide")
    assert "interpolate" in tables("narrow")


@pytest.fixture(scope="module")
def walk() -> FixedNetwork:
    return FixedNetwork.quantise(walk_graph(), samples_of(walk_graph()))


def test_parts_make_the_same_network(walk: FixedNetwork) -> None:
    description, tensors = walk.to_parts()
    again = FixedNetwork.from_parts(json.loads(json.dumps(description)), tensors)
    given = samples_of(walk_graph(), scale=2.0)
    for name, values in outputs_of(walk, given).items():
        assert torch.equal(outputs_of(again, given)[name], values)
    assert again.to_parts()[0] == description
    assert again.proof() == walk.proof()


def test_a_device_that_computes_differently_is_refused(walk: FixedNetwork) -> None:
    description, tensors = walk.to_parts()
    weight = next(name for name in tensors if name.startswith("constant/w4"))
    changed = tensors[weight].clone()
    changed[0, 0] += 1
    network = FixedNetwork.from_parts(description, {**tensors, weight: changed})
    with pytest.raises(ValueError, match="known answers do not come out on cpu"):
        network.start(1)


def _changed(description: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(description)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


HOSTILE: list[tuple[tuple[Any, ...], Any, str]] = [
    (("nodes",), {}, "'nodes' of a fixed network must be a list"),
    (("nodes", 0), [1, 2], "a list of seven"),
    (("nodes", 0, 1), "exec", "knows the operations"),
    (("nodes", 0, 1), ["conv"], "knows the operations"),
    (("nodes", 0, 2), ["x"], "takes 2 to 3 inputs"),
    (("nodes", 0, 2), ["nothing", "x"], "known inputs"),
    (("nodes", 0, 0), "x", "needs a new name"),
    (("nodes", 0, 3), 10**30, "whole number within"),
    (("nodes", 0, 3), 63, "overflows|bits after the point"),
    (("nodes", 0, 4), 5, "whole number"),
    (("nodes", 0, 6), {}, "has the attributes"),
    (("nodes", 0, 6, "padding"), [2**12, 2**12], "numbers of an example"),
    (("nodes", 0, 6, "padding"), [1, -1], "pads by zeros or more"),
    (("nodes", 0, 6, "padding"), [2**40, 2**40], "does not fit"),
    (("nodes", 0, 6, "stride"), [0, 1], "steps forward"),
    (("nodes", 0, 6, "groups"), 3, "does not fit"),
    (("nodes", 0, 6, "transposed"), 1, "true or false"),
    (("inputs", "x"), [[1, 8, 8], 20, -(2**60), 2**60], "whole number within"),
    (("inputs", "x"), [[1, 8, 8], 19, -(2**52), 2**52], "overflows"),
    (("inputs", "x"), [[1, 8, -8], 20, -1, 1], "has no values or too many"),
    (("inputs", "x"), [[2**20, 2**20], 20, -1, 1], "has no values or too many"),
    (("inputs", "x"), [[1, 8, 8, 8], 20, -1, 1], "does not fit"),
    (("constants", "unknown"), 3, "needs a tensor of integers"),
    (("outputs", "q0.loc"), "nothing", "which nothing computes"),
    (("outputs", "q0.loc"), 3, "is text"),
    (("code",), "import os", "uses all of its parts"),
    (("known",), 5, "must be a str"),
]


@pytest.mark.parametrize(("path", "value", "message"), HOSTILE)
def test_hostile_parts_are_refused(walk: FixedNetwork, path: tuple[Any, ...], value: Any, message: str) -> None:
    description, tensors = walk.to_parts()
    with pytest.raises(ValueError, match=message):
        FixedNetwork.from_parts(_changed(json.loads(json.dumps(description)), path, value), tensors)


def test_hostile_tensors_are_refused(walk: FixedNetwork) -> None:
    description, tensors = walk.to_parts()
    name = next(iter(tensors))
    for wrong in (tensors[name].double(), tensors[name][:0], torch.full_like(tensors[name], 2**62, dtype=torch.int64)):
        with pytest.raises(ValueError, match=r"integers|within"):
            FixedNetwork.from_parts(description, {**tensors, name: wrong})
    with pytest.raises(ValueError, match="uses all of its parts"):
        FixedNetwork.from_parts(description, {**tensors, "constant/more": tensors[name]})
    table = next(name for name in tensors if ".table@" in name)
    with pytest.raises(ValueError, match="known answers"):
        FixedNetwork.from_parts(description, {**tensors, table: tensors[table] + 1}).start(1)


def test_samples_must_be_there_and_finite() -> None:
    graph = walk_graph()
    with pytest.raises(ValueError, match=r"needs samples .* of the input 'z0'; received none"):
        FixedNetwork.quantise(graph, {"x": numbers(4, 1, 8, 8)})
    with pytest.raises(ValueError, match="must be finite"):
        FixedNetwork.quantise(graph, {"x": numbers(4, 1, 8, 8), "z0": numbers(4, 4) * torch.inf})
    unknown = replace(graph, nodes=(*graph.nodes, Node("e", "exec", ("x",))))
    with pytest.raises(ValueError, match="no integer form of the operation 'exec'"):
        FixedNetwork.quantise(unknown, samples_of(graph, 4))

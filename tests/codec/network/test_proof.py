"""No number of a fixed network outgrows float64: the proof holds at the worst input, and refuses what it must."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.codec.network.graphs import OPERATIONS, numbers, samples_of, walk_graph
from tests.codec.network.slow_integers import slow_outputs

from lucid.codec.network.fixed import FixedNetwork
from lucid.codec.network.graph import Graph, Node
from lucid.codec.network.operations import LIMIT, Spec
from lucid.codec.network.operations.base import shifted
from lucid.codec.network.operations.lookup import Interpolate
from lucid.codec.network.operations.products import Linear, Matmul
from lucid.codec.network.proof import FixedNode
from lucid.codec.network.reference import EVALUATE


def _linear(weight: torch.Tensor, bound: int) -> FixedNetwork:
    low, high = int(weight.min()), int(weight.max())
    return FixedNetwork(
        {"x": Spec((weight.shape[1],), 0, -bound, bound)},
        {"w": Spec(tuple(weight.shape), 0, low, high, constant=weight)},
        [FixedNode("n", Linear(), ("x", "w"), 0)],
        {"out": "n"},
    )


def test_the_worst_input_of_a_layer_reaches_its_bound_and_never_passes_it() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(-(2**20), 2**20, (5, 300), generator=generator)
    bound = 2**22
    network = _linear(weight, bound)
    claimed = network.proved["n"].partial
    worst = 0
    for row in weight.tolist():  # in Python's integers, which do not overflow
        worst = max(worst, sum(abs(w) * bound for w in row))
        x = torch.tensor([[math.copysign(bound, w) for w in row]], dtype=torch.float64)
        run = network.start(1)
        run.feed("x", x)
        exact = [sum(w * int(v) for w, v in zip(other, x[0].tolist(), strict=True)) for other in weight.tolist()]
        assert [int(v) for v in run.read("out")[0].tolist()] == exact
    assert worst == claimed < LIMIT


def test_an_overflow_is_refused_one_bit_above_the_limit() -> None:
    weight = torch.full((1, 8), 2**26, dtype=torch.int64)
    assert _linear(weight, 2**24 - 1).proof()["n"] < 53
    with pytest.raises(ValueError, match=r"overflows: a number on the way can reach 2\^53.0"):
        _linear(weight, 2**24)


def test_an_overflow_in_int64_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be summed"):
        _linear(torch.full((1, 4096), 2**52, dtype=torch.int64), 1)


@pytest.mark.parametrize("name", ["conv", "conv, in groups", "conv, transposed", "conv over time"])
def test_the_worst_input_of_a_convolution_stays_within_its_bound(name: str) -> None:
    graph = OPERATIONS[name]()
    network = FixedNetwork.quantise(graph, samples_of(graph))
    layer, spec, made = graph.nodes[0], network.inputs["x"], network.proved["n"]
    weight = next(c.constant for name, c in network.constants.items() if name.startswith("w"))
    assert weight is not None
    # The gradient of one output's value says which sign every input must have to make it largest.
    x = torch.zeros(1, *spec.shape, dtype=torch.float64, requires_grad=True)
    out = EVALUATE["conv"](layer.attrs, x, weight.double())
    reached = 0
    for place in range(out[0].numel()):
        (signs,) = torch.autograd.grad(out.flatten()[place], x, retain_graph=True)
        reached = max(reached, sum(abs(int(w)) * spec.magnitude for w in signs.flatten().tolist()))
    claimed = made.partial
    assert claimed / 4 < reached <= claimed < LIMIT


def test_a_product_of_two_activations_is_bounded() -> None:
    bound = 2**25
    inputs = {"a": Spec((2, 4), 0, -bound, bound), "b": Spec((4, 2), 0, -bound, bound)}
    node = FixedNode("n", Matmul((0, 0)), ("a", "b"), 0)
    with pytest.raises(ValueError, match="overflows"):
        FixedNetwork({**inputs, "b": Spec((4, 2), 0, -bound, bound * 2)}, {}, [node], {"out": "n"})
    network = FixedNetwork(inputs, {}, [node], {"out": "n"})
    assert 4 * bound * bound <= network.proved["n"].partial < LIMIT


def test_the_lines_of_a_table_are_bounded_where_they_are_computed() -> None:
    """Far from zero, slope · x is large where the value is not."""
    far = 2**40

    def network(slope: int, reach: int = 8) -> FixedNetwork:
        tables = {
            name: Spec((2,), 0, value, value, constant=torch.full((2,), value))
            for name, value in (("values", 3), ("slopes", slope))
        }
        node = FixedNode("n", Interpolate(0, far), ("x", "values", "slopes"), 0)
        return FixedNetwork({"x": Spec((1,), 0, far, far + reach)}, tables, [node], {"out": "n"})

    run = network(2**12).start(1)
    run.feed("x", torch.tensor([[far + 5.0]], dtype=torch.float64))
    assert run.read("out").item() == 3 + 2**12 * 4
    with pytest.raises(ValueError, match=r"interpolate 'n' overflows: a number on the way can reach 2\^53"):
        network(2**13)
    with pytest.raises(ValueError, match="interpolate 'n' overflows"):
        network(2**12 - 1, far + 2**30)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_value_stays_in_its_proven_range(name: str) -> None:
    graph = OPERATIONS[name]()
    network = FixedNetwork.quantise(graph, samples_of(graph))
    generator = torch.Generator().manual_seed(1)
    run = network.start(64)
    for input_name, spec in network.inputs.items():
        ends = torch.tensor([spec.low, spec.high], dtype=torch.float64) * 2.0**-spec.fraction
        run.feed(input_name, ends[torch.randint(2, (64, *spec.shape), generator=generator)])
    spec = network.specs[network.outputs["out"]]
    found = run.read("out") * 2.0**spec.fraction
    assert torch.equal(found, found.round())
    assert spec.low <= float(found.min())
    assert float(found.max()) <= spec.high
    assert max(network.proof().values()) < 53


def test_planted_weights_overflow_and_are_refused_when_read() -> None:
    network = FixedNetwork.quantise(walk_graph(), samples_of(walk_graph()))
    description, tensors = network.to_parts()
    name = next(name for name in tensors if name.startswith("constant/w2"))
    with pytest.raises(ValueError, match="linear 'q' overflows"):
        FixedNetwork.from_parts(description, {**tensors, name: tensors[name].to(torch.int64) << 12})


def test_planted_clamps_overflow_and_are_refused_when_read() -> None:
    network = FixedNetwork.quantise(walk_graph(), samples_of(walk_graph()))
    wide = [replace(n, low=-(2**40), high=2**40) if n.name == "m" else n for n in network.nodes]
    assert FixedNetwork(network.inputs, network.constants, wide, network.outputs).proof()["m"] < 53
    inputs = {**network.inputs, "z0": replace(network.inputs["z0"], low=-(2**45), high=2**45)}
    with pytest.raises(ValueError, match="linear 'd' overflows"):
        FixedNetwork(inputs, network.constants, network.nodes, network.outputs)


@pytest.mark.parametrize(
    ("value", "shift"), [(v, s) for v in (-7, -6, -5, -2, -1, 0, 1, 2, 3, 5, 6) for s in (-2, -1, 3)]
)
def test_whole_numbers_are_shifted_as_float64_rounds(value: int, shift: int) -> None:
    assert shifted(value, shift) == round(value * 2.0**shift)


_FUNCTIONS: list[list[list[Any]]] = [
    [["relu", "x"]],
    [["maximum", "x", -0.5], ["minimum", "t0", 0.75]],
    [["sigmoid", "x"], ["mul", "x", "t0"]],
    [["tanh", "x"]],
    [["mul", "x", 60.0], ["sigmoid", "t0"]],
    [["leaky_relu", "x", 0.2]],
]


@st.composite
def _programs(draw: st.DrawFn) -> Graph:
    """Graphs of vectors of four, each step reading any earlier ones."""
    nodes: list[Node] = []
    constants: dict[str, torch.Tensor] = {}
    names = ["x"]
    for step in range(draw(st.integers(1, 7))):
        kind = draw(st.sampled_from(["linear", "pair", "pointwise", "normalise", "cumsum", "moved", "constant"]))
        a, b = draw(st.sampled_from(names)), draw(st.sampled_from(names))
        name = f"n{step}"
        if kind == "linear":
            scale, seed = 2.0 ** draw(st.integers(-9, 6)), draw(st.integers(0, 99))
            constants |= {f"w{step}": numbers(4, 4, seed=seed, scale=scale), f"b{step}": numbers(4, seed=seed + 1)}
            nodes.append(Node(name, "linear", (a, f"w{step}", f"b{step}")))
        elif kind == "pair":
            operation = draw(st.sampled_from(["add", "sub", "mul", "maximum", "minimum"]))
            nodes.append(Node(name, operation, (a, b)))
        elif kind == "constant":
            constants[f"c{step}"] = numbers(4, seed=step, scale=2.0 ** draw(st.integers(-6, 6)))
            operation = draw(st.sampled_from(["add", "sub", "mul", "div"]))
            nodes.append(Node(name, operation, (a, f"c{step}")))
        elif kind == "moved":
            half = {"dim": 1, "start": 1, "stop": 4, "step": 2}
            nodes.append(Node(f"{name}a", "slice", (a,), half))
            nodes.append(Node(f"{name}b", "slice", (b,), half))
            nodes.append(Node(name, "cat", (f"{name}b", f"{name}a"), {"dim": 1}))
        elif kind == "normalise":
            nodes.append(Node(name, "normalise", (a,), {"dims": [1], "eps": 1e-5}))
        elif kind == "cumsum":
            nodes.append(Node(name, "cumsum", (a,), {"dim": 1}))
        else:
            function = draw(st.sampled_from(_FUNCTIONS))
            nodes.append(Node(name, "pointwise", (a,), {"function": function}))
        names.append(name)
    return Graph({"x": (4,)}, constants, tuple(nodes), {"last": names[-1], "any": draw(st.sampled_from(names))})


@settings(max_examples=60, deadline=None, derandomize=True)
@given(_programs(), st.integers(0, 1000))
def test_random_programs_equal_slow_integers_bit_for_bit(graph: Graph, seed: int) -> None:
    network = FixedNetwork.quantise(graph, {"x": numbers(16, 4, seed=seed)})
    spec = network.inputs["x"]
    generator = torch.Generator().manual_seed(seed)
    typical = (numbers(3, 4, seed=seed + 1) * 2.0**spec.fraction).round().clamp(spec.low, spec.high).to(torch.int64)
    extreme = torch.randint(spec.low, spec.high + 1, (2, 4), generator=generator)
    ends = torch.tensor([[spec.low, spec.high, spec.low, spec.high]])
    x = torch.cat([typical, extreme, ends])
    run = network.start(len(x))
    run.feed("x", x.double() * 2.0**-spec.fraction)
    for place, row in enumerate(x.tolist()):
        for name, expected in slow_outputs(network, row).items():
            assert [value.as_integer_ratio() for value in run.read(name)[place].tolist()] == [
                value.as_integer_ratio() for value in expected
            ]

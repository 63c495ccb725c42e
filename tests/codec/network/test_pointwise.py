"""Programs of one variable: each step is the function it is named after, and programs join without repeating."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lucid.codec.network.pointwise import (
    FUNCTIONS,
    IDENTITY,
    Function,
    affine_of,
    applied,
    evaluate,
    joined,
    without_logit_of_sigmoid,
)

X = torch.linspace(-3, 3, 61, dtype=torch.float64)
SILU = joined("mul", [IDENTITY, applied(IDENTITY, "sigmoid")])

# By the standard library, one number at a time.
PLAIN = {
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
    "log_sigmoid": lambda x: -math.log1p(math.exp(-x)),
    "hardsigmoid": lambda x: min(1.0, max(0.0, x / 6 + 0.5)),
    "hardswish": lambda x: x * min(1.0, max(0.0, x / 6 + 0.5)),
    "not": lambda x: float(x == 0),
    "relu": lambda x: max(0.0, x),
    "sign": lambda x: float((x > 0) - (x < 0)),
    "expm1": math.expm1,
    "trunc": lambda x: float(math.trunc(x)),
    "frac": lambda x: x - math.trunc(x),
    "neg": lambda x: -x,
}


@pytest.mark.parametrize("name", PLAIN)
def test_a_step_is_the_function_it_is_named_after(name: str) -> None:
    expected = torch.tensor([PLAIN[name](x) for x in X.tolist()], dtype=torch.float64)
    assert torch.allclose(evaluate(applied(IDENTITY, name), X), expected, rtol=1e-12, atol=1e-12)


def test_steps_with_numbers() -> None:
    assert torch.allclose(
        evaluate((("elu", "x", 0.7, 1.5, 2.0),), X),
        torch.where(X > 0, 1.5 * X, 1.5 * 0.7 * torch.expm1(2.0 * X)),
    )
    assert torch.allclose(evaluate((("softplus", "x", 2.0, 20.0),), X), (1 + (2 * X).exp()).log() / 2)
    assert evaluate((("floor_divide", "x", 2.0),), X).equal((X / 2).floor())
    assert evaluate((("leaky_relu", "x", 0.1),), X).equal(torch.maximum(X, 0.1 * X))


def test_what_is_true_is_one() -> None:
    positive = applied(IDENTITY, "gt", 0.0)
    chosen = joined("where", [positive, applied(IDENTITY, "sqrt"), applied(IDENTITY, "neg")])
    found = evaluate(chosen, X)
    assert found.equal(torch.where(X > 0, X.clamp(min=0).sqrt(), -X))  # the NaN of the other branch is not chosen
    assert evaluate(positive, X).equal((X > 0).double())


def test_a_missing_value() -> None:
    filled = joined("where", [applied(applied(IDENTITY, "missing"), "isnan"), 0.0, applied(IDENTITY, "missing")])
    assert evaluate(filled, torch.tensor([-1.0, 0.0, 3.0], dtype=torch.float64)).tolist() == [0.0, 0.0, 3.0]


def test_what_parts_share_is_computed_once() -> None:
    twice = joined("add", [SILU, applied(SILU, "tanh")])
    assert [step[0] for step in twice] == ["sigmoid", "mul", "tanh", "add"]
    assert torch.allclose(evaluate(twice, X), X * X.sigmoid() + (X * X.sigmoid()).tanh())


def test_a_program_survives_json() -> None:
    program = joined("add", [SILU, 0.1])
    assert evaluate(json.loads(json.dumps(program)), X).equal(evaluate(program, X))


def test_every_step_is_a_function_of_numbers() -> None:
    """Each entry of the list gives float64 for float64, whatever number of arguments it takes."""
    for name, function in FUNCTIONS.items():
        for count in (1, 2, 3, 4):
            try:
                made = function(*(torch.tensor(0.5, dtype=torch.float64) for _ in range(count)))
            except TypeError:
                continue
            assert made.dtype == torch.float64, name
            break
        else:
            pytest.fail(f"{name} takes no number of arguments")


numbers = st.floats(-10, 10, allow_nan=False).filter(lambda n: n == 0 or abs(n) > 1e-3)
affine_steps = st.lists(
    st.tuples(st.sampled_from(["add", "sub", "mul", "div", "rsub", "neg"]), numbers), min_size=0, max_size=6
)


@given(affine_steps)
def test_affine_programs_are_recognised(steps: list[tuple[str, float]]) -> None:
    function: Function = IDENTITY
    for name, number in steps:
        if name == "rsub":
            function = joined("sub", [number, function])
        elif name == "neg":
            function = applied(function, "neg")
        elif name != "div" or number:
            function = applied(function, name, number)
    found = affine_of(function)
    assert found is not None
    scale, shift = found
    expected = evaluate(function, X)
    assert torch.allclose(scale * X + shift, expected, rtol=1e-9, atol=1e-6 * (1 + float(expected.abs().max())))


@pytest.mark.parametrize(
    "function",
    [SILU, applied(IDENTITY, "relu"), applied(IDENTITY, "square"), joined("mul", [IDENTITY, IDENTITY]),
     joined("div", [1.0, IDENTITY]), applied(IDENTITY, "div", 0.0)],
)  # fmt: skip
def test_others_are_not(function: Function) -> None:
    assert affine_of(function) is None


def log_odds(source: Function, low: float, high: float) -> Function:
    p = applied(applied(applied(source, "sigmoid"), "maximum", low), "minimum", high)
    return joined("sub", [applied(p, "log"), applied(applied(p, "neg"), "log1p")])


def check_undone(source: Function, expected: Tensor) -> None:
    function = log_odds(source, 1e-38, 1 - 1e-7)
    assert torch.allclose(evaluate(function, X), expected, atol=1e-6)  # where digits are left
    far = torch.tensor([40.0], dtype=torch.float64)
    assert float(evaluate(function, far)) < 17
    assert evaluate(without_logit_of_sigmoid(function), X).equal(expected)
    assert evaluate(without_logit_of_sigmoid(function), far).equal(evaluate(source, far))


def test_the_logits_of_a_sigmoid_are_what_went_in() -> None:
    check_undone(IDENTITY, X)
    check_undone(SILU, X * X.sigmoid())


def test_what_only_resembles_it_stays() -> None:
    p = applied(applied(applied(IDENTITY, "sigmoid"), "maximum", 1e-9), "minimum", 1 - 1e-9)
    other = joined("sub", [applied(p, "log"), applied(applied(applied(IDENTITY, "tanh"), "neg"), "log1p")])
    for function in (other, joined("add", [applied(p, "log"), applied(applied(p, "neg"), "log1p")]), SILU, IDENTITY):
        assert without_logit_of_sigmoid(function) == function

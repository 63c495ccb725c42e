"""What a condition may be, and who refuses one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import lucid.nn as nn
from lucid.io import build, describe
from lucid.models import VAE, Condition, VAEConfig

LABELS, VECTORS = Condition(num_classes=3), Condition(size=2)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Condition(), ValueError, "exactly one"),
        (lambda: Condition(3, 2), ValueError, "exactly one"),
        (lambda: Condition(0), ValueError, "num_classes must be positive; received 0"),
        (lambda: Condition(size=True), TypeError, "size must be an int; received True"),
    ],
)
def test_a_condition_is_one_of_two_kinds(make: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


REFUSED: list[tuple[Condition, Any, type[Exception], str]] = [
    (LABELS, None, ValueError, "this model is conditional: give condition=, labels"),
    (LABELS, [0, 1], TypeError, "received list"),
    (LABELS, torch.tensor([0, 1, 2]), ValueError, r"with N = 2 examples; received shape \(3,\)"),
    (LABELS, torch.tensor([0.0, 1.0]), TypeError, "received torch.float32"),
    (LABELS, torch.tensor([0, 3]), ValueError, "0 … 2; received labels from 0 to 3"),
    (LABELS, torch.tensor([-1, 0]), ValueError, "received labels from -1 to 0"),
    (VECTORS, torch.zeros(2, 3), ValueError, r"\(N, 2\)"),
    (VECTORS, torch.zeros(2, 2, dtype=torch.int64), TypeError, "floating-point"),
    (VECTORS, torch.tensor([[0.0, 1.0], [torch.nan, 0.0]]), ValueError, "finite"),
]


@pytest.mark.parametrize(("declared", "given", "error", "message"), REFUSED)
def test_what_is_given_must_be_what_is_declared(
    declared: Condition, given: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        declared.check(given, rows=2)


def test_what_fits_comes_back_unchanged() -> None:
    for declared, given in ((LABELS, torch.tensor([2, 0])), (VECTORS, torch.zeros(2, 2))):
        assert declared.check(given, rows=2) is given


def test_a_description_makes_it_again() -> None:
    for declared in (LABELS, VECTORS):
        assert build(describe(declared)) == declared


CALLS: dict[str, Callable[[VAE, torch.Tensor, torch.Tensor], Any]] = {
    "walk": lambda m, x, c: m.walk(x, condition=c),
    "elbo": lambda m, x, c: m.elbo(x, condition=c),
    "log_likelihood": lambda m, x, c: m.log_likelihood(x, 2, condition=c),
    "reconstruct": lambda m, x, c: m.reconstruct(x, condition=c),
    "sample": lambda m, _x, c: m.sample(2, condition=c),
    "embed": lambda m, x, c: m.embed(x, condition=c),
    "interpolate": lambda m, x, c: m.interpolate(x, x, condition=c),
    "vary": lambda m, x, c: m.vary(x, 1, condition=c),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_model_that_takes_none_refuses_one(name: str) -> None:
    model = VAE(VAEConfig(encoders=[nn.Linear(4, 4)], decoders=[nn.Linear(2, 4)]))
    assert model.condition is None
    with pytest.raises(ValueError, match="this VAE takes no condition, and one was given"):
        CALLS[name](model, torch.zeros(2, 4), torch.tensor([0, 1]))

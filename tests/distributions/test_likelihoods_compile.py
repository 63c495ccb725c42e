"""Every likelihood's loss compiles as one graph, with the value and the gradient of eager."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator

import pytest
import torch
from tests.distributions.likelihood_cases import CASES
from torch import Tensor

# One of each class: the other cases are the same code with other numbers.
NAMES = list({type(case.make()).__name__: name for name, case in CASES.items()}.values())


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the compiler's own, about its imports
        yield
    torch.compiler.reset()


def agrees(name: str, backend: str) -> None:
    case = CASES[name]
    likelihood, params, x = case.make().eval(), case.params(4, 2, 3), case.values(4, 2, 3)

    def loss(params: Tensor) -> Tensor:
        return -likelihood(params, x).log_prob(x).mean()

    results: list[tuple[Tensor, Tensor]] = []
    for run in (loss, torch.compile(loss, fullgraph=True, backend=backend)):
        leaf = params.clone().requires_grad_()
        value = run(leaf)
        results.append((value.detach(), *torch.autograd.grad(value, leaf)))
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_one_graph(name: str) -> None:
    agrees(name, "eager")


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("name", ["mixture_of_logistics(5, channels=2)", "negative_binomial"])
def test_the_compiled_code_computes_the_same(name: str) -> None:
    agrees(name, "inductor")

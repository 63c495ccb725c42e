"""A part of a batch draws what it would have drawn within the whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from lucid.distributions import (
    BernoulliLogits,
    CategoricalGrid,
    DiagonalGaussian,
    DiscretisedLogisticGrid,
    IsotropicGaussian,
    Rows,
    StandardNormal,
    draw,
)

N = 7


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


PARAMETERS = torch.randn(N, 4, 2, generator=generator(5))
DISTRIBUTIONS: dict[str, Callable[[Tensor], Distribution]] = {
    "diagonal": lambda p: DiagonalGaussian(p, 0.1 * p),
    "standard": StandardNormal,
    "isotropic": lambda p: IsotropicGaussian(p, torch.ones(())),
    "bernoulli": BernoulliLogits,
    "logistic": lambda p: DiscretisedLogisticGrid(p.sigmoid(), p, 16),
    "categorical": lambda p: CategoricalGrid(p.unsqueeze(1) * torch.arange(5.0).view(1, 5, 1, 1)),
}
every = pytest.mark.parametrize("name", DISTRIBUTIONS)


@every
@pytest.mark.parametrize("sample_shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("ends", [(N,), (3, N), (1, 2, 6, N), (0, N)])
def test_the_parts_together_draw_what_the_whole_draws(
    name: str, sample_shape: tuple[int, ...], ends: tuple[int, ...]
) -> None:
    make = DISTRIBUTIONS[name]
    whole = draw(make(PARAMETERS), sample_shape, generator=generator())
    parts: list[Tensor] = []
    for begin, end in zip((0, *ends), ends, strict=False):
        rows = Rows(generator(), begin, N)
        parts.append(draw(make(PARAMETERS[begin:end]), sample_shape, generator=rows))
    assert torch.equal(torch.cat(parts, len(sample_shape)), whole)


@every
def test_the_streams_of_all_parts_are_in_the_same_state_afterwards(name: str) -> None:
    """So the next latent's draws fit together too."""
    states: list[Tensor] = []
    for begin, end in ((0, 2), (2, N), (3, 3)):
        rows = Rows(generator(), begin, N)
        draw(DISTRIBUTIONS[name](PARAMETERS[begin:end]), generator=rows)
        states.append(rows.generator.get_state())
    assert all(torch.equal(states[0], state) for state in states)


def test_gradients_go_through_the_draws_of_a_part() -> None:
    loc = PARAMETERS[2:5].clone().requires_grad_()
    draw(DiagonalGaussian(loc, torch.zeros_like(loc)), generator=Rows(generator(), 2, N)).sum().backward()
    assert torch.equal(loc.grad, torch.ones_like(loc))  # type: ignore[arg-type]


def test_a_distribution_of_pytorchs_own_kind_draws_other_numbers_in_each_part_and_the_same_each_time() -> None:
    foreign = Independent(Normal(torch.zeros(3, 4), 1.0), 1)
    first, again, other = (draw(foreign, generator=Rows(generator(), begin, N)) for begin in (0, 0, 3))
    assert torch.equal(first, again)
    assert not (first == other).any()
    # The first part alone draws what a whole batch of its size does.
    assert torch.equal(first, draw(foreign, generator=generator()))

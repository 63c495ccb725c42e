"""Drawing: from an explicit generator, reproducibly, and without a trace in the global stream."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Distribution, Independent, Normal

from lucid.distributions import (
    BernoulliLogits,
    CategoricalGrid,
    DiagonalGaussian,
    DiscretisedLogisticGrid,
    IsotropicGaussian,
    StandardNormal,
    draw,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


ZEROS = torch.zeros(4, 3)
DISTRIBUTIONS: dict[str, Distribution] = {
    "diagonal": DiagonalGaussian(ZEROS, ZEROS),
    "standard": StandardNormal(ZEROS),
    "isotropic": IsotropicGaussian(ZEROS, torch.ones(())),
    "bernoulli": BernoulliLogits(ZEROS),
    "logistic": DiscretisedLogisticGrid(ZEROS, ZEROS, 256),
    "categorical": CategoricalGrid(torch.zeros(4, 5, 3)),
    "foreign": Independent(Normal(ZEROS, 1.0), 1),
    "foreign discrete": Independent(TorchBernoulli(logits=ZEROS), 1),
}
every = pytest.mark.parametrize("name", DISTRIBUTIONS)


@every
def test_a_generator_decides_and_the_global_stream_is_untouched(name: str) -> None:
    before = torch.get_rng_state()
    first, again = (draw(DISTRIBUTIONS[name], (64,), generator=generator(3)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert first.shape == (64, 4, 3)
    assert torch.equal(first, again)
    assert not torch.equal(first, draw(DISTRIBUTIONS[name], (64,), generator=generator(4)))


@every
def test_one_generator_goes_on_from_draw_to_draw(name: str) -> None:
    stream = generator(3)
    assert not torch.equal(
        draw(DISTRIBUTIONS[name], (64,), generator=stream), draw(DISTRIBUTIONS[name], (64,), generator=stream)
    )


@every
def test_without_a_generator_the_global_stream_decides(name: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        first = draw(DISTRIBUTIONS[name], (64,))
        second = draw(DISTRIBUTIONS[name], (64,))
        torch.manual_seed(11)
        assert torch.equal(first, draw(DISTRIBUTIONS[name], (64,)))
    assert not torch.equal(first, second)


def test_a_foreign_draw_leaves_the_streams_of_other_devices_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    draw(DISTRIBUTIONS["foreign"], generator=generator())
    assert seeded == []


def test_draws_are_reparameterised_where_they_can_be() -> None:
    loc = torch.zeros(4, 3, requires_grad=True)
    for distribution in (DiagonalGaussian(loc, ZEROS), Independent(Normal(loc, 1.0), 1)):
        (gradient,) = torch.autograd.grad(draw(distribution, (5,), generator=generator()).sum(), loc)
        assert bool((gradient == 5).all())
    assert not draw(BernoulliLogits(loc), generator=generator()).requires_grad
    with pytest.raises(NotImplementedError, match="BernoulliLogits is discrete: draw from it with sample"):
        BernoulliLogits(loc).rsample()


@pytest.mark.parametrize("name", ["bernoulli", "logistic", "categorical"])
def test_the_mode_is_the_likeliest_value(name: str) -> None:
    logits = torch.randn(50, 1, generator=generator(1))
    scale = torch.randn(50, 1, generator=generator(2)) - 2
    distribution, levels = {
        "bernoulli": (BernoulliLogits(logits), 2),
        "logistic": (DiscretisedLogisticGrid(logits.sigmoid(), scale, 9), 9),
        "categorical": (CategoricalGrid(torch.randn(50, 6, 1, generator=generator(3))), 6),
    }[name]
    support: Tensor = (torch.arange(levels) / (levels - 1)).view(-1, 1, 1).expand(-1, 50, 1)
    masses = distribution.log_prob(support)
    inside = masses.argmax(0) if name != "logistic" else masses[1:-1].argmax(0) + 1
    # The open outer bins of a wide logistic may hold more than the bin of its mean, which is the mode elsewhere.
    keep = torch.ones(50, dtype=torch.bool) if name != "logistic" else (masses.argmax(0) == inside)
    chosen = (distribution.mode.squeeze(-1) * (levels - 1)).round().long()
    assert int(keep.sum()) > 10
    assert torch.equal(chosen[keep], inside[keep])


def test_the_variance_of_a_bernoulli() -> None:
    logits = torch.tensor([[0.0, 3.0, -80.0]])
    p = logits.double().sigmoid()
    torch.testing.assert_close(BernoulliLogits(logits).variance.double(), p * (1 - p), rtol=1e-6, atol=0)
    assert math.isfinite(float(BernoulliLogits(logits).variance.log().sum()))

"""The maximum mean discrepancy in loops and in expectation, and InfoVAE made of it."""

from __future__ import annotations

import math

import pytest
import torch
from tests.objectives.families import FAMILIES, data, one_level

from lucid.distributions import MixturePrior, Prior, VampPrior
from lucid.models import VAE, draws, drive
from lucid.objectives import InfoVAE, squared_mmd


def kernel(x: torch.Tensor, y: torch.Tensor) -> float:
    squared, dims = float((x - y).square().sum()), len(x)
    return sum(2 * dims * s / (2 * dims * s + squared) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))


def by_loops(x: torch.Tensor, y: torch.Tensor) -> float:
    def mean(a: torch.Tensor, b: torch.Tensor) -> float:
        return sum(kernel(i, j) for i in a for j in b) / (len(a) * len(b))

    return mean(x, x) + mean(y, y) - 2 * mean(x, y)


def test_is_its_definition() -> None:
    x, y = data(7)[:, :3], 2 * data(4, seed=1)[:, :3] + 1
    assert float(squared_mmd(x, y)) == pytest.approx(by_loops(x, y), rel=1e-10)
    assert float(squared_mmd(x, x)) == pytest.approx(0, abs=1e-12)


def test_tells_distributions_apart_and_not_samples_of_one() -> None:
    stream = torch.Generator().manual_seed(0)
    x, y = (torch.randn(400, 2, generator=stream).double() for _ in range(2))
    # Both mean over n² pairs, of which the n equal ones are 7 each: that is the bias of 2 · 7 / n at most.
    same = float(squared_mmd(x, y))
    assert 0 <= same < 14 / 400 + 0.02
    assert float(squared_mmd(x, y + 1)) > 10 * same
    assert float(squared_mmd(x, 3 * y)) > 10 * same


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("alpha", "strength"), [(0.0, 1.0), (0.4, 20.0), (1.0, 50.0), (-1.0, 2.0)])
def test_infovae_is_its_definition(family: str, alpha: float, strength: float) -> None:
    objective, beta = InfoVAE(alpha, strength), 0.5
    record = objective.record(FAMILIES[family]().walk(data()), torch.Generator().manual_seed(0))
    z, drawn = record.latents[-1].value.detach().flatten(1), record.kept[0].flatten(1)
    assert drawn.shape == z.shape
    kl = [float(level.mean().detach()) for level in record.kl()]
    weighed = (1 - alpha) * kl[-1] + (alpha + strength - 1) * by_loops(z, drawn) + sum(kl[:-1])
    expected = float(record.reconstruction().mean().detach()) + beta * weighed
    assert float(objective(record, beta).loss.detach()) == pytest.approx(expected, rel=1e-9)


def test_what_the_latents_are_compared_with_is_drawn_from_the_prior() -> None:
    objective = InfoVAE()
    record = objective.record(one_level().walk(data(4000)), torch.Generator().manual_seed(0))
    drawn = record.kept[0]
    assert float(drawn.mean()) == pytest.approx(0, abs=4 / math.sqrt(8000))
    assert float(drawn.var()) == pytest.approx(1, abs=4 * math.sqrt(2 / 8000))
    again = objective.record(one_level().walk(data(4000)), torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again.kept[0])


def test_at_its_plainest_it_is_the_elbo() -> None:
    objective = InfoVAE(alpha=0.0, strength=1.0)
    record = objective.record(one_level().walk(data()))
    torch.testing.assert_close(objective(record, 1.0).loss, -record.elbo().mean())


def test_latents_on_top_of_each_other_have_finite_gradients() -> None:
    z = torch.zeros(4, 2, requires_grad=True)
    squared_mmd(z, torch.zeros(4, 2)).backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()


def test_bad_weights_and_foreign_walks_are_refused() -> None:
    with pytest.raises(ValueError, match="alpha must be at most 1"):
        InfoVAE(alpha=1.5)
    with pytest.raises(ValueError, match=r"strength must be at least 1 − alpha"):
        InfoVAE(alpha=0.0, strength=0.5)
    with pytest.raises(ValueError, match=r"driven by InfoVAE itself: record = objective.record"):
        InfoVAE()(drive(one_level().walk(data()), draws()), 1.0)


@pytest.mark.parametrize("prior", [MixturePrior(2, components=3), VampPrior((6,), components=3, unit_interval=False)])
def test_a_prior_that_alpha_1_could_not_train_is_refused(prior: Prior) -> None:
    """Below 1 its KL has a weight, and all of it has a gradient. Where nothing is learned, nothing is refused."""
    model = one_level()
    assert isinstance(model, VAE)
    model.set_top_prior(prior.double())
    with pytest.raises(ValueError, match="InfoVAE at alpha 1 cannot train a Mixture prior: the KL is gone"):
        InfoVAE(1.0, 50.0).record(model.walk(data()))
    with torch.no_grad():
        InfoVAE(1.0, 50.0).record(model.walk(data()))
    objective = InfoVAE(0.9, 50.0)
    objective(objective.record(model.walk(data())), 1.0).loss.backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in prior.parameters())

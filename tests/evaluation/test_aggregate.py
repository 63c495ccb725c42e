"""The aggregate posterior against a linear-Gaussian model of Gaussian data, where both parts are in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from tests.linear_gaussian import LinearGaussian, arbitrary, exact, randn
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from lucid.distributions import MixturePrior
from lucid.evaluation import aggregate_gap, deepest_latents
from lucid.models import VAE

N = 1000


def world(seed: int = 0) -> tuple[LinearGaussian, Tensor, Tensor, Tensor]:
    """A model whose x is Gaussian, N draws of it, and their mean and covariance."""
    oracle = arbitrary(1, priors=False, latents=(2,), seed=seed)
    mean, root = randn(5, seed=seed + 200), 0.6 * randn(5, 5, seed=seed + 201)
    return oracle, mean + randn(N, 5, seed=seed + 202) @ root.T, mean, root @ root.T


def truth(oracle: LinearGaussian, mean: Tensor, covariance: Tensor) -> tuple[float, float]:
    """I_q(x; z) and KL(q(z) ‖ N(0, I)), for q(z) = N(A m + a, A S Aᵀ + U)."""
    q = oracle.encoders[0]
    noise = q.logvar.exp().diag()
    spread = q.weight @ covariance @ q.weight.T + noise
    information = 0.5 * (torch.logdet(spread) - torch.logdet(noise))
    size = len(q.bias)
    standard = MultivariateNormal(torch.zeros(size).double(), torch.eye(size).double())
    gap = kl_divergence(MultivariateNormal(q.weight @ mean + q.bias, spread), standard)
    return float(information), float(gap)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_both_parts_meet_their_closed_forms(seed: int) -> None:
    oracle, x, mean, covariance = world(seed)
    found = aggregate_gap(oracle.model(), x, num_samples=4, max_examples=N)
    information, gap = truth(oracle, mean, covariance)
    # 4 standard errors, and the bias of an average over N posteriors, e^I / N to first order.
    bias = math.exp(2 * information) / N
    assert abs(found.information.value - information) < 4 * found.information.standard_error + bias
    assert abs(found.gap.value - gap) < 4 * found.gap.standard_error + bias
    assert found.num_examples == N
    assert not found.saturated


def test_leaving_an_example_out_errs_the_other_way() -> None:
    oracle, x, mean, covariance = world()
    information, _ = truth(oracle, mean, covariance)
    for few in (20, 50):
        parts = [aggregate_gap(oracle.model(), part, num_samples=20) for part in x.split(few)[:40]]
        low = torch.tensor([part.information.value for part in parts])
        high = torch.tensor([part.information_at_most.value for part in parts])
        assert float(low.mean()) < information < float(high.mean())
        # They close in on the truth as the examples become more.
        assert float(high.mean() - low.mean()) < 30 / few


def test_the_kl_is_the_closed_one_of_the_bound() -> None:
    oracle, x, _, _ = world()
    found = aggregate_gap(oracle.model(), x, num_samples=8)
    assert abs(found.kl.value - float(oracle.kl(x)[0].mean())) < 0.05
    assert found.kl.value == pytest.approx(found.information.value + found.gap.value, abs=1e-9)


def test_the_gap_of_a_model_whose_data_is_its_own_is_none() -> None:
    """q(z|x) = p(z|x) and x from p(x): then q(z) is p(z)."""
    oracle = exact(latents=2)
    z, noise = randn(N, 2, seed=3), randn(N, 5, seed=4)
    found = aggregate_gap(oracle.model(), z @ oracle.weight.T + oracle.bias + noise, num_samples=4)
    assert abs(found.gap.value) < 4 * found.gap.standard_error + 0.01
    assert "the prior is not the cause" in found.explain()


def test_it_is_measured_against_the_models_own_prior() -> None:
    """A prior that is q(z) itself has no gap."""
    oracle, x, mean, covariance = world()
    q = oracle.encoders[0]
    spread = q.weight @ covariance @ q.weight.T + q.logvar.exp().diag()
    prior = MixturePrior(2, components=1).double()
    with torch.no_grad():
        prior.loc.copy_((q.weight @ mean + q.bias)[None])
        prior.logvar.copy_(spread.diagonal().log()[None])
    model = oracle.model()
    before = aggregate_gap(model, x)
    model.set_top_prior(prior)
    after = aggregate_gap(model, x)
    correlation = spread / spread.diagonal().sqrt().outer(spread.diagonal().sqrt())
    left = -0.5 * float(torch.logdet(correlation))  # what a diagonal Gaussian cannot say
    assert after.gap.value == pytest.approx(left, abs=0.1)
    assert before.gap.value > left + 0.5
    assert after.information.value == pytest.approx(before.information.value, abs=1e-9)


def test_examples_are_spread_over_the_data_and_the_seed_decides() -> None:
    oracle, x, _, _ = world()
    x = x[x[:, 0].argsort()]  # as a file sorted by class would be
    model = oracle.model()
    found = [aggregate_gap(model, x, max_examples=300, seed=seed, batch_size=size) for seed, size in ((1, 64), (1, 64))]
    assert found[0] == found[1]
    assert found[0].num_examples == N // 4
    by_hand = aggregate_gap(model, x[::4], seed=1, batch_size=64)
    assert by_hand.kl.value == pytest.approx(found[0].kl.value, abs=4 * by_hand.kl.standard_error)
    assert aggregate_gap(model, x, max_examples=300, seed=2) != found[0]


@pytest.mark.parametrize(("at_most", "stride"), [(None, 1), (300, 4), (1000, 1), (999, 2)])
def test_every_kth_example_is_taken_whatever_the_batches(at_most: int | None, stride: int) -> None:
    oracle, x, _, _ = world()
    stream = torch.Generator().manual_seed(0)
    found = deepest_latents(oracle.model(), x, 30, stream, max_examples=at_most)
    assert torch.equal(torch.cat([latent.x for latent in found]), x[::stride])


def test_several_levels_and_the_mode_of_the_model() -> None:
    oracle = arbitrary(3, priors=True)
    model: VAE = oracle.model()
    model.train()
    found = aggregate_gap(model, randn(200, 5, seed=5))
    assert model.training
    assert found.kl.value == pytest.approx(found.information.value + found.gap.value, abs=1e-9)


def test_what_is_said() -> None:
    oracle, x, _, _ = world()
    said = aggregate_gap(oracle.model(), x).explain()
    assert "A prior fitted to the latents closes the gap" in said
    assert "lucid fit-prior RUN --out FOLDER" in said
    few = aggregate_gap(oracle.model(), 100 * x[:5])
    assert few.saturated
    assert "5 examples cannot show more than 1.6 nats" in few.explain()
    collapsed = LinearGaussian(
        oracle.weight,
        oracle.bias,
        (type(oracle.encoders[0])(*(0 * part for part in vars(oracle.encoders[0]).values())),),
    )
    assert "it has collapsed" in aggregate_gap(collapsed.model(), x).explain()
    assert [row.unit for row in few.to_table()] == ["nats"] * 3
    assert few.to_json()["saturated"] is True


def test_wrong_settings_are_refused() -> None:
    oracle, x, _, _ = world()
    for name in ("num_samples", "max_examples", "batch_size"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1; received 0"):
            aggregate_gap(oracle.model(), x, **{name: 0})
    with pytest.raises(ValueError, match="needs at least 2 examples"):
        aggregate_gap(oracle.model(), x[:1])
    model = oracle.model()
    with torch.no_grad():
        next(model.encoders.parameters()).fill_(math.nan)
    with pytest.raises(FloatingPointError, match="is not finite at 1000 examples"):
        aggregate_gap(model, x)

"""The bound against a model whose log p(x) is known exactly: never above it, equal at the exact posterior."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from tests.linear_gaussian import (
    Conditional,
    LinearGaussian,
    arbitrary,
    exact,
    exact_at,
    generator,
    near,
    randn,
    stranger,
    tightening,
    tightening_gap,
)
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from lucid.models import Record, draws, drive, importance_weighted

SHAPES = [(1, False), (2, False), (2, True), (3, False), (3, True)]
shapes = pytest.mark.parametrize(("depth", "priors"), SHAPES)


def walked(oracle: LinearGaussian, x: Tensor, num_samples: int, seed: int = 0) -> Record:
    with torch.no_grad():
        return drive(oracle.model().walk(x), draws(generator(seed), num_samples=num_samples))


def mean_and_error(per_row: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
    """Mean over the draws of each example, and its standard error."""
    per_row = per_row.view(num_samples, -1)
    return per_row.mean(0), per_row.std(0) / math.sqrt(num_samples)


def assert_within_error(per_row: Tensor, num_samples: int, truth: Tensor, errors: float = 4.0) -> None:
    mean, error = mean_and_error(per_row, num_samples)
    assert bool(((mean - truth).abs() <= errors * error + 1e-9).all()), f"{mean} ± {error}, exactly {truth}"


# The oracle itself


def test_the_oracle_agrees_with_pytorch() -> None:
    oracle = arbitrary(1, priors=False)
    x = randn(6, 5, seed=1)
    truth = MultivariateNormal(oracle.bias, oracle.weight @ oracle.weight.T + torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(oracle.log_prob(x), truth.log_prob(x))
    # Bayes: log p(x) = log p(x|z) + log p(z) − log p(z|x) at any z.
    z = randn(6, 4, seed=2)
    mean, covariance = oracle.posterior(x)
    joint = MultivariateNormal(z @ oracle.weight.T + oracle.bias, torch.eye(5, dtype=torch.float64)).log_prob(x)
    prior = MultivariateNormal(torch.zeros(4, dtype=torch.float64), torch.eye(4, dtype=torch.float64)).log_prob(z)
    torch.testing.assert_close(joint + prior - MultivariateNormal(mean, covariance).log_prob(z), oracle.log_prob(x))
    # The gap of the bound is the KL to the exact posterior.
    q_mean, q_covariance = oracle.moments(x)[0]
    gap = kl_divergence(MultivariateNormal(q_mean, q_covariance), MultivariateNormal(mean, covariance))
    torch.testing.assert_close(oracle.log_prob(x) - oracle.elbo(x), gap)


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("epsilon", [0.3, 1e-3])
def test_the_oracle_agrees_with_a_gap_worked_out_by_hand(depth: int, epsilon: float) -> None:
    oracle = tightening(depth, epsilon)
    x = randn(4, 5, seed=3)
    torch.testing.assert_close(oracle.log_prob(x) - oracle.elbo(x), tightening_gap(depth, epsilon).expand(4))


# lucid against the oracle


def test_at_the_exact_posterior_every_draw_weighs_log_p() -> None:
    oracle = exact()
    x = randn(7, 5, seed=4)
    log_weight = walked(oracle, x, 50).log_weight().view(50, 7)
    torch.testing.assert_close(log_weight, oracle.log_prob(x).expand(50, 7), rtol=0, atol=1e-10)


@shapes
def test_at_the_exact_joint_posterior_the_bound_is_log_p(depth: int, priors: bool) -> None:
    x = randn(1, 5, seed=5)
    oracle = exact_at(x, depth, priors)
    record = walked(oracle, x, 2000)
    torch.testing.assert_close(record.log_weight(), oracle.log_prob(x).expand(2000), rtol=0, atol=1e-10)
    assert_within_error(record.elbo(), 2000, oracle.log_prob(x))


@shapes
def test_the_elbo_and_the_kl_of_each_level_have_their_exact_means(depth: int, priors: bool) -> None:
    oracle = arbitrary(depth, priors)
    x = randn(4, 5, seed=6)
    record = walked(oracle, x, 20_000)
    assert_within_error(record.elbo(), 20_000, oracle.elbo(x))
    assert_within_error(record.log_weight(), 20_000, oracle.elbo(x))
    assert_within_error(record.reconstruction(), 20_000, oracle.reconstruction(x))
    for measured, truth in zip(record.kl(), oracle.kl(x), strict=True):
        assert_within_error(measured, 20_000, truth)


@shapes
@pytest.mark.parametrize("seed", [10, 200, 3000])
def test_the_elbo_is_never_above_log_p(depth: int, priors: bool, seed: int) -> None:
    oracle = arbitrary(depth, priors, seed=seed)
    x = randn(16, 5, seed=seed)
    assert bool((oracle.elbo(x) < oracle.log_prob(x)).all())
    mean, error = mean_and_error(walked(oracle, x, 2000, seed).elbo(), 2000)
    assert bool((mean < oracle.log_prob(x) + 4 * error).all())
    bound = oracle.model().elbo(x, 2000, generator=generator(seed))
    assert bool((bound.per_example < oracle.log_prob(x) + 4 * error).all())


@shapes
def test_encoders_that_vary_their_variance_do_not_pass_log_p_either(depth: int, priors: bool) -> None:
    oracle = arbitrary(depth, priors, seed=40)
    model = oracle.model()
    with torch.no_grad():
        for i, layer in enumerate([*model.encoders, *(model.priors or [])]):
            assert isinstance(layer, torch.nn.Linear)
            layer.weight.copy_(0.5 * randn(*layer.weight.shape, seed=400 + i))
        x = randn(16, 5, seed=41)
        record = drive(model.walk(x), draws(generator(0), num_samples=4000))
    mean, error = mean_and_error(record.elbo(), 4000)
    assert bool((mean < oracle.log_prob(x) + 4 * error).all())


@pytest.mark.parametrize("depth", [2, 3])
def test_the_gap_closes_at_its_rate(depth: int) -> None:
    x = randn(1, 5, seed=7)
    gaps: list[float] = []
    for epsilon in (0.08, 0.02):
        oracle = tightening(depth, epsilon)
        gap = oracle.log_prob(x) - walked(oracle, x, 20_000).log_weight()
        assert_within_error(gap, 20_000, tightening_gap(depth, epsilon))
        gaps.append(float(gap.mean()))
    # Linear in ε up to ε². The standard error of each measured gap is near sqrt(2·gap/20,000), 4 % of the smaller one.
    assert gaps[0] / gaps[1] == pytest.approx(4.0, rel=0.2)


@shapes
@pytest.mark.parametrize("seed", [0, 100, 200])
def test_importance_weights_average_to_p_of_x(depth: int, priors: bool, seed: int) -> None:
    """E[w] = p(x) without bias, on the scale of w, not of log w."""
    x = randn(1, 5, seed=61 + seed)
    oracle = near(x, depth, priors, seed=seed)
    ratio = (walked(oracle, x, 20_000, seed).log_weight() - oracle.log_prob(x)).exp()
    error = ratio.std() / math.sqrt(20_000)
    assert 1e-4 < float(error) < 0.03, f"{error}: draws that differ too little or too much to say anything"
    assert abs(float(ratio.mean()) - 1) < 3 * float(error)


@shapes
def test_log_likelihood_meets_log_p_and_tightens_with_k(depth: int, priors: bool) -> None:
    x = randn(1, 5, seed=61)
    oracle = near(x, depth, priors)
    model = oracle.model()
    truth = float(oracle.log_prob(x))
    estimate = model.log_likelihood(x, 20_000, generator=generator(3))
    # The delta method: the relative standard error of the mean weight, from the effective sample size.
    error = math.sqrt(1 / float(estimate.effective_sample_size) - 1 / 20_000)
    assert 1e-4 < error < 0.03
    assert abs(float(estimate) - truth) < 3 * error
    # In expectation IW-1 is the ELBO, and IW-k rises with k towards log p(x).
    curve = importance_weighted(model, x.repeat(4000, 1), [1, 4], generator(4))
    assert float(curve[0]) == pytest.approx(float(oracle.elbo(x)), abs=4 * float(curve[0].standard_error))
    for lower, higher in pairwise(curve):
        difference = higher.per_example - lower.per_example
        assert float(difference.mean()) > 4 * float(difference.std()) / math.sqrt(4000)
        assert float(higher) < truth + 4 * float(higher.standard_error)


@shapes
def test_closed_form_and_sampled_kl_agree_where_both_hold(depth: int, priors: bool) -> None:
    oracle = arbitrary(depth, priors, seed=70)
    record = walked(oracle, randn(1, 5, seed=71), 20_000)
    for level, latent in enumerate(record.latents):
        closed_form_holds = not priors or level == depth - 1
        assert latent.prior_known_first == closed_form_holds
        difference = latent.log_ratio() - latent.kl()
        if closed_form_holds:
            assert_within_error(difference, 20_000, torch.zeros(1, dtype=torch.float64))
        else:
            assert bool((difference == 0).all())


# A learned prior reads a latent that inference draws later: the closed form is not the term of the bound.


def test_the_closed_form_with_a_learned_prior_is_another_number() -> None:
    """The counter-example: the term of the bound is −1.01, the closed form +2.99."""
    oracle = stranger()
    x = torch.zeros(1, 1, dtype=torch.float64)
    assert float(oracle.kl(x)[0]) == pytest.approx(-1.01, abs=0.005)
    assert float(oracle.kl_of_strangers(x)[0]) == pytest.approx(2.99, abs=0.005)
    record = walked(oracle, x, 20_000)
    assert_within_error(record.kl()[0], 20_000, oracle.kl(x)[0])
    posterior, prior = record.latents[0].posterior, record.latents[0].prior
    assert posterior is not None
    assert_within_error(kl_divergence(posterior, prior), 20_000, oracle.kl_of_strangers(x)[0])


def test_the_closed_form_would_leave_a_tight_bound_far_from_log_p() -> None:
    """As q becomes exact, lucid's gap goes to 0; with the closed form it would grow without limit, as S/ε."""
    x = randn(1, 5, seed=8)
    oracle = tightening(2, 0.01)
    record = walked(oracle, x, 4000)
    assert float(oracle.log_prob(x) - record.log_weight().mean()) < 0.1
    naive = -oracle.reconstruction(x) - torch.stack(oracle.kl_of_strangers(x)).sum(0)
    assert float(oracle.log_prob(x) - naive) > 50
    assert_within_error(record.elbo(), 4000, oracle.elbo(x))


def test_the_closed_form_would_overstate_the_elbo() -> None:
    """With latents that run against the prior it claims 10 nats that the model does not have."""
    one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    oracle = stranger()
    oracle = LinearGaussian(
        oracle.weight,
        oracle.bias,
        (oracle.encoders[0], Conditional(-one, zero, zero - 4)),
        (Conditional(one, zero, zero - 2.3),),
    )
    x = torch.zeros(1, 1, dtype=torch.float64)
    naive = -oracle.reconstruction(x) - torch.stack(oracle.kl_of_strangers(x)).sum(0)
    assert float(naive - oracle.elbo(x)) == pytest.approx(math.exp(2.3), rel=1e-6)  # Cov(z_0, z_1) / prior variance
    assert_within_error(walked(oracle, x, 20_000).elbo(), 20_000, oracle.elbo(x))

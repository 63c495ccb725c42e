"""Masses of counts in float32 against many digits, where differences of log Γ would have lost theirs."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tests.distributions.likelihood_cases import generator

from lucid.distributions import (
    NegativeBinomial,
    NegativeBinomialCounts,
    Poisson,
    PoissonCounts,
    ZeroInflatedCounts,
    ZeroInflatedNegativeBinomial,
)

mpmath: Any = pytest.importorskip("mpmath")

COUNTS = [0.0, 1.0, 2.0, 5.0, 50.0, 1e4, 1e6]
MEANS = [1e-9, 1e-3, 1.0, 40.0, 1e4, 1e6, 1e9]
CONCENTRATIONS = [1e-9, 1e-2, 1.0, 30.0, 1e4, 1e9]


def poisson(x: float, log_rate: float) -> float:
    with mpmath.workdps(40):
        return float(x * mpmath.mpf(log_rate) - mpmath.exp(log_rate) - mpmath.loggamma(mpmath.mpf(x) + 1))


def negative_binomial(x: float, log_mean: float, log_concentration: float) -> float:
    with mpmath.workdps(40):
        mean, r = mpmath.exp(mpmath.mpf(log_mean)), mpmath.exp(mpmath.mpf(log_concentration))
        ways = mpmath.loggamma(x + r) - mpmath.loggamma(r) - mpmath.loggamma(mpmath.mpf(x) + 1)
        return float(ways + r * mpmath.log(r / (r + mean)) + x * mpmath.log(mean / (r + mean)))


@pytest.mark.parametrize("mean", MEANS)
def test_the_poisson_keeps_its_digits_in_float32(mean: float) -> None:
    log_rate = torch.tensor(mean).log()
    found = PoissonCounts(log_rate.expand(7, 1)).log_prob(torch.tensor(COUNTS).unsqueeze(1))
    truth = torch.tensor([poisson(x, float(log_rate)) for x in COUNTS])
    torch.testing.assert_close(found, truth, rtol=3e-6, atol=3e-6)


@pytest.mark.parametrize("concentration", CONCENTRATIONS)
@pytest.mark.parametrize("mean", MEANS)
def test_the_negative_binomial_keeps_its_digits_in_float32(mean: float, concentration: float) -> None:
    log_mean, log_concentration = torch.tensor(mean).log(), torch.tensor(concentration).log()
    distribution = NegativeBinomialCounts(log_mean.expand(7, 1), log_concentration.expand(7, 1))
    found = distribution.log_prob(torch.tensor(COUNTS).unsqueeze(1))
    truth = torch.tensor([negative_binomial(x, float(log_mean), float(log_concentration)) for x in COUNTS])
    torch.testing.assert_close(found, truth, rtol=3e-6, atol=3e-6)


@pytest.mark.parametrize("x", [0.0, 3.0, 2e5])
@pytest.mark.parametrize("log_mean", [-2.0, 1.5, 12.0])
@pytest.mark.parametrize("log_concentration", [-4.0, 0.5, 18.0])
def test_the_gradient_of_the_negative_binomial_is_its_derivative(
    x: float, log_mean: float, log_concentration: float
) -> None:
    leaves = [torch.tensor([[value]], requires_grad=True) for value in (log_mean, log_concentration)]
    found = torch.autograd.grad(NegativeBinomialCounts(*leaves).log_prob(torch.tensor([[x]])).sum(), leaves)
    mean, r = math.exp(log_mean), math.exp(log_concentration)
    by_mean = r * (x - mean) / (r + mean)
    with mpmath.workdps(40):
        big = mpmath.mpf(r)
        by_r = float(
            big * (mpmath.digamma(x + big) - mpmath.digamma(big) + mpmath.log(big / (big + mean)) + 1)
            - big * (x + big) / (big + mean)
        )
    assert float(found[0]) == pytest.approx(by_mean, rel=2e-5, abs=1e-6)
    assert float(found[1]) == pytest.approx(by_r, rel=1e-3, abs=1e-3 * max(1.0, abs(by_mean) * 1e-2))


def test_a_large_concentration_is_the_poisson() -> None:
    log_mean = torch.linspace(-3, 8, 12).unsqueeze(1)
    x = log_mean.exp().round()
    near = NegativeBinomialCounts(log_mean, torch.full_like(log_mean, 20.0))
    torch.testing.assert_close(near.log_prob(x), PoissonCounts(log_mean).log_prob(x), rtol=1e-5, atol=1e-5)


def test_sample_moments_are_mean_and_variance() -> None:
    n = 100_000
    log_mean, log_concentration = torch.tensor([[1.0, 4.0, -1.0]]), torch.tensor([[0.0, 2.0, -1.0]])
    counts = NegativeBinomialCounts(log_mean, log_concentration)
    logits = torch.tensor([[-1.0, 0.5, 1.0]])
    for distribution in (PoissonCounts(log_mean), counts, ZeroInflatedCounts(logits, counts)):
        draws = distribution.sample((n,), generator=generator(4)).double()
        assert bool((draws == draws.round()).all())
        assert bool((draws >= 0).all())
        error = draws.std(0) / math.sqrt(n)
        assert bool(((draws.mean(0) - distribution.mean).abs() < 4 * error).all())
        squares = (draws - distribution.mean).square()
        error = squares.std(0) / math.sqrt(n)
        assert bool(((squares.mean(0) - distribution.variance).abs() < 4 * error).all())


def test_the_streams_of_two_examples_differ() -> None:
    """Each example has a stream of its own, and equal parameters must not make equal draws."""
    draws = PoissonCounts(torch.full((50, 20), 3.0)).sample(generator=generator(5))
    assert len({tuple(row) for row in draws.tolist()}) == 50
    assert torch.equal(draws, PoissonCounts(torch.full((50, 20), 3.0)).sample(generator=generator(5)))


def test_the_start_has_the_moments_of_the_data() -> None:
    x = NegativeBinomialCounts(torch.full((50_000, 1), 1.5), torch.zeros(50_000, 1)).sample(generator=generator(6))
    assert float(Poisson().initial_params(x)) == pytest.approx(1.5, abs=0.05)
    log_mean, log_concentration = NegativeBinomial().initial_params(x).tolist()
    assert log_mean == pytest.approx(1.5, abs=0.05)
    assert log_concentration == pytest.approx(0.0, abs=0.1)
    likelihood = ZeroInflatedNegativeBinomial()
    assert bool((likelihood.initial_params(x)[:2] == NegativeBinomial().initial_params(x)).all())

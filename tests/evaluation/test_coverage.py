"""The stated intervals hold the truth as often as they say, on linear-Gaussian models of three sizes.

`benchmarks/estimators.py` prints the same with more data sets, draws and steps.
"""

from __future__ import annotations

import math

import pytest
import torch
from tests import linear_gaussian as oracles
from torch import Tensor

from lucid.evaluation import Annealing, annealed, evaluate
from lucid.models import VAE

SETS, EXAMPLES = 100, 30


def close(features: int, latents: int) -> tuple[VAE, float]:
    """A model whose encoder is a little off, and E log p(x) over its own data: minus their entropy."""
    exact = oracles.exact(features, latents)
    (q,) = exact.encoders
    off = oracles.Conditional(0.95 * q.weight, 0.95 * q.bias, q.logvar + 0.05)
    covariance = exact.weight @ exact.weight.T + torch.eye(features, dtype=torch.float64)
    entropy = 0.5 * float(torch.linalg.slogdet(2 * math.pi * math.e * covariance).logabsdet)
    return oracles.LinearGaussian(exact.weight, exact.bias, (off,)).model(), -entropy


def check(values: Tensor, errors: Tensor, truth: float) -> None:
    """z-scores have mean 0 and variance 1, and 95 % of them are within 1.96, as exactly as so many of them can tell."""
    z = (values - truth) / errors
    n = len(z)
    assert abs(float(z.mean())) < 4 / math.sqrt(n)
    # Of Student's t with 29 degrees of freedom: variance 29/27.
    assert abs(float(z.square().mean()) - 29 / 27) < 4 * math.sqrt(2 / n)
    covered = float((z.abs() < 1.96).double().mean())
    assert abs(covered - 0.94) < 4 * math.sqrt(0.94 * 0.06 / n)


@pytest.mark.parametrize(("features", "latents"), [(5, 3), (20, 10), (60, 25)])
def test_the_interval_of_the_importance_weighted_bound_holds_log_p_of_x(features: int, latents: int) -> None:
    model, truth = close(features, latents)
    found = []
    for number in range(SETS):
        x = model.sample(EXAMPLES, generator=torch.Generator().manual_seed(number), noise=True)
        found.append(evaluate(model, x, num_samples=[50], elbo_samples=1, seed=number).log_likelihood)
    values, errors = torch.tensor([[one.value, one.standard_error] for one in found], dtype=torch.float64).unbind(1)
    check(values, errors, truth)


@pytest.mark.parametrize(("features", "latents"), [(5, 3), (20, 10), (60, 25)])
def test_the_interval_of_annealed_importance_sampling_holds_log_p_of_x(features: int, latents: int) -> None:
    model, truth = close(features, latents)
    x = model.sample(SETS * EXAMPLES, generator=torch.Generator().manual_seed(7), noise=True)
    how = Annealing(num_steps=10, num_chains=4, leapfrogs=2, start="posterior", max_rows=SETS * EXAMPLES * 4)
    parts = annealed(model, x, how).log_likelihood.view(SETS, EXAMPLES)
    check(parts.mean(1), parts.std(1) / math.sqrt(EXAMPLES), truth)

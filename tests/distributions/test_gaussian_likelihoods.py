"""What only the Gaussian likelihoods with a scale of their own do."""

from __future__ import annotations

import pytest
import torch
from tests.distributions.likelihood_cases import FLOAT32_MAX, generator, trained_optimal_scale

from lucid.distributions import Gaussian, LearnedScaleGaussian, OptimalScaleGaussian


@pytest.mark.parametrize("logvar", [-FLOAT32_MAX, -1e3, 1e3, FLOAT32_MAX])
def test_an_extreme_learned_scale_stays_finite(logvar: float) -> None:
    likelihood = LearnedScaleGaussian()
    with torch.no_grad():
        likelihood.logvar.fill_(logvar)
    log_prob = likelihood(torch.zeros(2, 3)).log_prob(torch.ones(2, 3)).sum()
    log_prob.backward()
    assert bool(log_prob.isfinite())
    assert likelihood.logvar.grad is not None
    assert bool(likelihood.logvar.grad.isfinite())


def test_the_learned_scale_is_learned() -> None:
    """Its optimum is the root mean square of the residuals, and the gradient there is zero."""
    residual = torch.randn(50, 4, generator=generator(3))
    rms = float(residual.square().mean().sqrt())
    for scale, sign in ((0.5 * rms, -1), (rms, 0), (2 * rms, 1)):
        likelihood = LearnedScaleGaussian(scale)
        loss = -likelihood(torch.zeros(50, 4)).log_prob(residual).mean()
        loss.backward()
        assert likelihood.logvar.grad is not None
        gradient = float(likelihood.logvar.grad)
        assert gradient == pytest.approx(0, abs=1e-5) if sign == 0 else gradient * sign > 0.1


def test_the_optimal_scale_is_the_best_of_a_grid_of_scales() -> None:
    x, mean = torch.randn(40, 3, generator=generator(4)), torch.randn(40, 3, generator=generator(5))
    distribution = OptimalScaleGaussian()(mean, x)
    best = float(distribution.log_prob(x).mean())
    optimum = float((x - mean).square().mean().sqrt())
    assert float(distribution.stddev[0, 0]) == pytest.approx(optimum, rel=1e-6)
    for factor in torch.linspace(0.5, 2, 31).tolist():
        assert float(Gaussian(optimum * factor)(mean).log_prob(x).mean()) <= best + 1e-5


def test_the_optimal_scale_gives_the_mean_the_gradient_of_the_whole_objective() -> None:
    """∂/∂μ of D/2 · log mean (x − μ)², σ² not held constant, is what its training must follow."""
    x = torch.randn(10, 3, generator=generator(6), dtype=torch.float64)
    mean = torch.randn(10, 3, generator=generator(7), dtype=torch.float64, requires_grad=True)
    (taken,) = torch.autograd.grad(OptimalScaleGaussian().double()(mean, x).log_prob(x).mean(), mean)
    (whole,) = torch.autograd.grad(-0.5 * 3 * (x - mean).square().mean().log(), mean)
    torch.testing.assert_close(taken, whole)


def test_the_optimal_scale_of_evaluation_is_the_running_one_and_ignores_x() -> None:
    likelihood = OptimalScaleGaussian(momentum=0.25)
    residuals = [torch.full((4, 2), r) for r in (1.0, 2.0, 3.0, 4.0, 5.0)]
    for residual in residuals:
        likelihood(torch.zeros(4, 2), residual)
    running = 1.0
    for n, r in enumerate((1.0, 2.0, 3.0, 4.0, 5.0), start=1):
        running += (r**2 - running) * max(1 / n, 0.25)
    assert float(likelihood.variance) == pytest.approx(running)
    likelihood.eval()
    x = torch.full((4, 2), 9.0)
    assert float(likelihood(torch.zeros(4, 2), x).variance[0, 0]) == pytest.approx(running)
    assert float(likelihood.variance) == pytest.approx(running)
    likelihood.train()
    likelihood(torch.zeros(4, 2))  # no data: nothing to fit
    assert float(likelihood.variance) == pytest.approx(running)


def test_the_optimal_scale_travels_in_the_state_dict() -> None:
    trained, fresh = trained_optimal_scale(), OptimalScaleGaussian(momentum=0.5).eval()
    assert set(trained.state_dict()) == {"variance", "num_batches"}
    fresh.load_state_dict(trained.state_dict())
    mean, x = torch.zeros(2, 3), torch.ones(2, 3)
    assert torch.equal(fresh(mean).log_prob(x), trained(mean).log_prob(x))
    for likelihood in (fresh.train(), trained.train()):
        likelihood(mean, x)
    assert torch.equal(fresh.variance, trained.variance)


def test_the_optimal_scale_fits_all_draws_of_an_example() -> None:
    """K draws give K·B rows, draw-major, for B examples."""
    x = torch.randn(4, 3, generator=generator(8))
    means = torch.randn(5 * 4, 3, generator=generator(9))
    distribution = OptimalScaleGaussian()(means, x)
    expected = (x - means.view(5, 4, 3)).square().mean()
    torch.testing.assert_close(distribution.variance[0, 0], expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_optimal_scale_of_perfect_means_is_a_number(dtype: torch.dtype) -> None:
    likelihood = OptimalScaleGaussian().to(dtype)
    mean = torch.zeros(3, 2, dtype=dtype)
    likelihood(mean, mean)
    assert bool(likelihood.eval()(mean).log_prob(mean).isfinite().all())

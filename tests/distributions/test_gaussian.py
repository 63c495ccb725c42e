"""Gaussians against torch.distributions, numerical integration and Monte Carlo."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from lucid.distributions import DiagonalGaussian, IsotropicGaussian, StandardNormal, tempered


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


SHAPES = [(3,), (2, 3), (2, 3, 2), ()]


def twin(q: DiagonalGaussian | StandardNormal) -> Independent:
    return Independent(Normal(q.loc, (0.5 * q.logvar).exp()), len(q.event_shape))


def pair(shape: tuple[int, ...]) -> tuple[DiagonalGaussian, DiagonalGaussian]:
    n = (4, *shape)
    return (
        DiagonalGaussian(randn(*n, seed=1), randn(*n, seed=2)),
        DiagonalGaussian(randn(*n, seed=3), randn(*n, seed=4)),
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_densities_and_moments_are_pytorchs(shape: tuple[int, ...]) -> None:
    q, _ = pair(shape)
    z = randn(5, 4, *shape, seed=5)
    for ours in (q, StandardNormal(q.loc)):
        theirs = twin(ours)
        assert (ours.batch_shape, ours.event_shape) == ((4,), shape)
        torch.testing.assert_close(ours.log_prob(z), theirs.log_prob(z))
        torch.testing.assert_close(ours.entropy().expand(4), theirs.entropy())
        torch.testing.assert_close(ours.mean, theirs.mean)
        torch.testing.assert_close(ours.variance, theirs.variance)
        torch.testing.assert_close(ours.mode, theirs.mode)
    isotropic = IsotropicGaussian(q.loc, torch.tensor(0.3, dtype=torch.float64))
    normal = Independent(Normal(q.loc, 0.3), len(shape))
    torch.testing.assert_close(isotropic.log_prob(z), normal.log_prob(z))
    torch.testing.assert_close(isotropic.variance, normal.variance)


@pytest.mark.parametrize("shape", SHAPES)
def test_kl_is_pytorchs_for_any_trailing_shape(shape: tuple[int, ...]) -> None:
    q, p = pair(shape)
    standard = StandardNormal(q.loc)
    torch.testing.assert_close(kl_divergence(q, p), kl_divergence(twin(q), twin(p)))
    torch.testing.assert_close(kl_divergence(q, standard), kl_divergence(twin(q), twin(standard)))
    assert kl_divergence(standard, standard).tolist() == [0.0] * 4


@pytest.mark.parametrize(("loc", "logvar"), [(0.0, 1.0), (2.0, 0.0), (-1.5, -3.0), (0.3, 2.0)])
def test_kl_is_the_integral(loc: float, logvar: float) -> None:
    q = DiagonalGaussian(torch.tensor([[loc]], dtype=torch.float64), torch.tensor([[logvar]], dtype=torch.float64))
    p = DiagonalGaussian(torch.tensor([[0.5]], dtype=torch.float64), torch.tensor([[-0.7]], dtype=torch.float64))
    steps = torch.linspace(-12, 12, 2001, dtype=torch.float64).view(-1, 1, 1)
    z = q.loc + q.scale * steps
    width = float(q.scale) * 24 / 2000
    for prior in (p, StandardNormal(q.loc)):
        integrand = q.log_prob(z).exp() * (q.log_prob(z) - prior.log_prob(z))
        assert float(kl_divergence(q, prior)) == pytest.approx(width * float(integrand.sum()), rel=1e-9)


def test_kl_has_its_half() -> None:
    """KL(N(2, 1) ‖ N(0, 1)) = 2² / 2."""
    q = DiagonalGaussian(torch.tensor([[2.0]]), torch.zeros(1, 1))
    assert float(kl_divergence(q, StandardNormal(q.loc))) == 2.0
    assert float(kl_divergence(q, DiagonalGaussian(torch.zeros(1, 1), torch.zeros(1, 1)))) == 2.0


def test_kl_meets_monte_carlo_within_its_standard_error() -> None:
    q, p = pair((2, 3))
    z = q.rsample((50_000,), generator=generator(6))
    for prior in (p, StandardNormal(q.loc)):
        ratio = q.log_prob(z) - prior.log_prob(z)
        error = ratio.std(0) / math.sqrt(50_000)
        assert bool(((ratio.mean(0) - kl_divergence(q, prior)).abs() < 4 * error).all())


def test_kl_of_a_nearly_collapsed_unit_keeps_its_digits_in_float32() -> None:
    """exp(v) − 1 − v is v²/2 there; computed as written it is lost to rounding below v = 1e-4."""
    logvar = torch.tensor([[1e-5]])
    truth = 0.25e-10
    q = DiagonalGaussian(torch.zeros(1, 1), logvar)
    # expm1(v) − v still subtracts equal numbers: its error is a unit of the last place of v, 1e-12, not noise of the
    # size of float32's epsilon, 6e-8, which exp(v) − 1 leaves.
    assert float(kl_divergence(q, StandardNormal(q.loc))) == pytest.approx(truth, abs=1e-12)
    assert float(kl_divergence(q, DiagonalGaussian(q.loc, torch.zeros(1, 1)))) == pytest.approx(truth, abs=1e-12)


def test_rsample_has_its_moments_and_its_gradients() -> None:
    n = 40_000
    loc, logvar = randn(2, 3, seed=1).requires_grad_(), randn(2, 3, seed=2).requires_grad_()
    q = DiagonalGaussian(loc, logvar)
    z = q.rsample((n,), generator=generator(7))
    standardised = (z - loc) / q.scale
    assert bool((standardised.mean(0).abs() < 4 / math.sqrt(n)).all())
    assert bool(((standardised.square().mean(0) - 1).abs() < 4 * math.sqrt(2 / n)).all())
    by_loc, by_logvar = torch.autograd.grad(z.sum(), (loc, logvar))
    torch.testing.assert_close(by_loc, torch.full_like(loc, n))
    torch.testing.assert_close(by_logvar, 0.5 * (z - loc).detach().sum(0))
    assert not q.sample().requires_grad


def test_halves_are_mean_then_log_variance_whatever_the_size() -> None:
    for latents in (1, 2, 3, 5):
        h = torch.arange(2.0 * latents).repeat(4, 1)
        q = DiagonalGaussian.from_concatenated(h)
        assert q.loc[0].tolist() == list(range(latents))
        assert q.logvar[0].tolist() == list(range(latents, 2 * latents))
    h = torch.randn(2, 6, 4, 5, generator=generator())
    q = DiagonalGaussian.from_concatenated(h)
    assert torch.equal(q.loc, h[:, :3])
    assert torch.equal(q.logvar, h[:, 3:])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_of_half_precision_become_float32(dtype: torch.dtype) -> None:
    h = torch.randn(2, 6, generator=generator()).to(dtype)
    q = DiagonalGaussian.from_concatenated(h)
    assert q.loc.dtype == q.logvar.dtype == q.rsample().dtype == torch.float32
    assert torch.equal(q.loc, h[:, :3].float())


@pytest.mark.parametrize("size", [1e3, 1e10, 3e38])
@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1)])
def test_no_finite_output_makes_a_kl_or_a_log_ratio_infinite(size: float, signs: tuple[int, int]) -> None:
    for other in (size, -size, 0.0):
        h = torch.tensor([[size * signs[0], size * signs[1]]], requires_grad=True)
        g = torch.tensor([[other, other]], requires_grad=True)
        q, p = DiagonalGaussian.from_concatenated(h), DiagonalGaussian.from_concatenated(g)
        z = q.rsample(generator=generator())
        kls = [kl_divergence(q, p), kl_divergence(q, StandardNormal(z)), q.log_prob(z) - p.log_prob(z)]
        for kl in kls:
            assert bool(kl.isfinite().all())
            gradients = torch.autograd.grad(kl.sum(), (h, g), retain_graph=True, allow_unused=True)
            assert all(gradient is None or bool(gradient.isfinite().all()) for gradient in gradients)


# Temperature


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_multiplies_the_standard_deviation(temperature: float) -> None:
    q, _ = pair((3,))
    scale = torch.tensor(0.3, dtype=torch.float64)
    for distribution in (q, StandardNormal(q.loc), IsotropicGaussian(q.loc, scale)):
        cooled = tempered(distribution, temperature)
        torch.testing.assert_close(cooled.stddev, temperature * distribution.stddev)
        torch.testing.assert_close(cooled.mean, distribution.mean)


def test_temperature_one_is_the_distribution_and_zero_its_mean() -> None:
    q, _ = pair((3,))
    for distribution in (q, StandardNormal(q.loc), IsotropicGaussian(q.loc, torch.tensor(0.3, dtype=torch.float64))):
        assert tempered(distribution, 1.0) is distribution
        assert torch.equal(tempered(distribution, 0.0).sample(), distribution.mean)


@pytest.mark.parametrize("temperature", [-1.0, -1e-9, math.nan, math.inf])
def test_a_wrong_temperature_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be finite and not negative; received"):
        tempered(pair((3,))[0], temperature)


def test_a_distribution_without_a_scale_is_refused_by_name() -> None:
    foreign = Independent(Normal(torch.zeros(2, 3), 1.0), 1)
    assert tempered(foreign, 1.0) is foreign
    with pytest.raises(ValueError, match=r"Independent has no scale to multiply by temperature 0\.5"):
        tempered(foreign, 0.5)

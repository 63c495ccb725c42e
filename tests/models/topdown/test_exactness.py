"""The bound of a top-down model against truth: linear-Gaussian, by quadrature, and its KL by Monte Carlo."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from tests.models.topdown.small import generator, rand, small, stirred
from torch import Tensor, nn

from lucid.distributions import DiagonalGaussian, Gaussian, MixturePrior
from lucid.models import Stage, TopDownConfig, TopDownVAE, draws, drive, given, importance_weighted

D, C = 3, 4  # data, channels of h


class LinearTwoLevels(NamedTuple):
    """z₁ ~ N(0, 1), z₀ ~ N(β·h₁ + b, s²), x ~ N(W h₀, I), with h₁ = m + A₁ z₁ and h₀ = (I + E) h₁ + A₀ z₀."""

    m: Tensor
    A1: Tensor
    A0: Tensor
    E: Tensor
    beta: Tensor
    b: Tensor
    log_s: Tensor
    W: Tensor

    @classmethod
    def random(cls) -> LinearTwoLevels:
        g = generator(7)
        shapes = ((C, 1), (C, 1), (C, 1), (C, C), (1, C), (1, 1), (1, 1), (D, C))
        scales = (1.0, 1.0, 1.0, 0.3, 0.5, 1.0, 0.3, 0.7)
        return cls(*(a * torch.randn(s, generator=g, dtype=torch.float64) for s, a in zip(shapes, scales, strict=True)))

    def joint(self) -> tuple[Tensor, Tensor]:
        """Mean and covariance of (z₁, z₀, x)."""
        # Each as a constant and a linear map of independent standard normals (e₁, e₀, e_x).
        s, identity = self.log_s.exp(), torch.eye(C, dtype=torch.float64)
        z1 = torch.cat([torch.ones(1, 1), torch.zeros(1, 1 + D)], 1).double()
        h1 = self.A1 @ z1
        z0 = self.beta @ h1 + s @ torch.cat([torch.zeros(1, 1), torch.ones(1, 1), torch.zeros(1, D)], 1).double()
        h0 = (identity + self.E) @ h1 + self.A0 @ z0
        x = self.W @ h0 + torch.cat([torch.zeros(D, 2), torch.eye(D)], 1).double()
        mean_z0 = self.beta @ self.m + self.b
        mean_x = self.W @ ((identity + self.E) @ self.m + self.A0 @ mean_z0)
        maps = torch.cat([z1, z0, x])
        return torch.cat([torch.zeros(1, 1).double(), mean_z0, mean_x])[:, 0], maps @ maps.T

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x), exactly."""
        mean, covariance = self.joint()
        return torch.distributions.MultivariateNormal(mean[2:], covariance[2:, 2:]).log_prob(x)


class FromStacked(nn.Module):
    """(h, x) stacked along dimension 1, one position, to a and b of a residual posterior: affine, b constant."""

    def __init__(self, slope: Tensor, offset: Tensor, log_ratio: Tensor) -> None:
        super().__init__()
        self.slope, self.offset, self.log_ratio = slope, offset, log_ratio

    def forward(self, h: Tensor, features: Tensor) -> Tensor:
        a = torch.cat([h, features], 1)[..., 0] @ self.slope.T + self.offset
        return torch.stack([a, self.log_ratio.expand_as(a)], 1).flatten(1, 2)[..., None]


class Affine(nn.Module):
    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: object) -> object:
        return self.function(*inputs)  # type: ignore[operator]


def linear_model(p: LinearTwoLevels) -> TopDownVAE:
    """A `TopDownVAE` with the parts of `p` and the true posterior: its networks are replaced, its walk is not."""
    config = TopDownConfig(shape=(D,), likelihood=Gaussian(1.0), stages=(Stage((1,), C, 1, blocks=2),))
    model = TopDownVAE(config).double()
    with torch.no_grad():
        model.entrances[0].map.copy_(p.m.T[..., None])
    s = p.log_s.exp()
    model.encoders[0] = Affine(lambda x, _condition: x)
    model.priors[0] = Affine(
        lambda h: (
            torch.cat([p.beta @ h + p.b, p.log_s.expand(len(h), 1, 1)], 1),
            p.E @ h,
        )
    )
    model.decoders[1] = Affine(lambda h, z: h + p.A1 @ z)
    model.decoders[0] = Affine(lambda h, z: h + p.A0 @ z)
    model.head = Affine(  # type: ignore[assignment]
        lambda h: p.W @ h
    )
    # p(z₁|x), and p(z₀|h₁, x), which reads z₀'s own prior mean off h₁ and weighs it with x.
    mean, covariance = p.joint()
    gain = covariance[:1, 2:] @ torch.linalg.inv(covariance[2:, 2:])
    variance = covariance[0, 0] - (gain @ covariance[2:, :1])[0, 0]
    zeros = torch.zeros(1, C, dtype=torch.float64)
    model.posteriors[1] = FromStacked(torch.cat([zeros, gain], 1), -(gain @ mean[2:]), 0.5 * variance.log())
    # x − W (I + E) h₁ = (W A₀) z₀ + noise, z₀ ~ N(β h₁ + b, s²); the posterior reads h = (I + E) h₁.
    w = p.W @ p.A0
    back = torch.linalg.inv(torch.eye(C, dtype=torch.float64) + p.E)
    v = 1 / (s**-2 + w.T @ w)
    prior_slope = p.beta @ back
    # (mean_q − mean_p)/s = v wᵀ (x − W h − w (β h₁ + b)) / s, the Kalman update.
    update = v @ w.T / s
    slope = torch.cat([-update @ (p.W + w @ prior_slope), update], 1)
    model.posteriors[0] = FromStacked(slope, -(update @ w @ p.b)[0], 0.5 * (v / s**2).log()[0, 0])
    return model


def test_with_the_true_posterior_every_weight_is_exactly_p_of_x() -> None:
    p = LinearTwoLevels.random()
    model, x = linear_model(p), 2 * torch.randn(5, D, generator=generator(1), dtype=torch.float64)
    record = drive(model.walk(x), draws(generator(2), num_samples=50))
    torch.testing.assert_close(record.log_weight(), p.log_prob(x).repeat(50), rtol=1e-9, atol=1e-9)


def test_with_another_posterior_the_bound_is_below_and_importance_weighting_reaches_p_of_x() -> None:
    p = LinearTwoLevels.random()
    model, x = linear_model(p), torch.randn(4, D, generator=generator(1), dtype=torch.float64)
    for posterior in model.posteriors:
        posterior.offset = posterior.offset + 0.4  # type: ignore[assignment, operator]
        posterior.log_ratio = posterior.log_ratio + 0.2  # type: ignore[assignment, operator]
    truth = p.log_prob(x)
    bound = model.elbo(x, 4000, generator=generator(3))
    assert torch.all(bound.per_example < truth - 0.05)
    one, many = importance_weighted(model, x.repeat(500, 1), [1, 200], generator(4))
    assert many.per_example.view(500, 4).mean(0).sub(truth).abs().max() < 0.02
    assert one.per_example.view(500, 4).mean(0).lt(truth - 0.05).all()


def test_the_estimate_of_a_nonlinear_model_meets_quadrature() -> None:
    """One number each for x, z₁ and z₀, all networks as they are: log p(x) by integrating over both latents."""
    stages = (Stage((1,), 8, 1, blocks=2),)
    model = small((1,), stages, Gaussian(0.7)).double()
    x = torch.tensor([[0.3], [-1.2]], dtype=torch.float64)
    grid = torch.linspace(-7, 7, 141, dtype=torch.float64)
    z1, unit = (a.reshape(-1, 1, 1) for a in torch.meshgrid(grid, grid, indexing="ij"))
    with torch.no_grad():
        standard = drive(model.walk(num_examples=len(z1)), given([z1], then=lambda d: d.mean)).latents[0].prior
        assert isinstance(standard, DiagonalGaussian)
        z0 = standard.loc + standard.scale * unit  # a grid in the prior's own units: p(z₀) dz₀ = N(u; 0, 1) du
        record = drive(model.walk(num_examples=len(z1)), given([z1, z0]))
        log_prior = -0.5 * (z1.square() + unit.square()).flatten() - math.log(2 * math.pi)
        integrand = log_prior + record.likelihood.log_prob(x[:, None, :])
        truth = integrand.logsumexp(1) + 2 * math.log(float(grid[1] - grid[0]))
    found = model.log_likelihood(x.repeat(400, 1), 100, generator=generator(5)).per_example.view(400, 2)
    error = found.std(0) / 20
    assert torch.all((found.mean(0) - truth).abs() < 4 * error + 2e-3), (found.mean(0), truth, error)
    bound = model.elbo(x, 2000, generator=generator(6)).per_example
    assert torch.all(bound < truth)
    assert torch.all(bound > truth - 50)


def test_the_closed_form_kl_of_each_level_meets_monte_carlo() -> None:
    model, x = small(), rand(2, 1, 8, 5)
    with torch.no_grad():
        record = drive(model.walk(x), draws(generator(1), num_samples=3000))
        for level, (latent, kl) in enumerate(zip(record.latents, record.kl(), strict=True)):
            assert latent.prior_known_first
            difference = (latent.log_ratio() - kl).view(3000, 2)
            error = difference.std(0) / math.sqrt(3000)
            assert kl.mean() > 0.05, level
            assert torch.all(difference.mean(0).abs() < 4 * error), level


def test_with_a_learned_top_prior_the_sampled_kl_is_that_of_the_mixture() -> None:
    model, x = small(top_prior=MixturePrior((3, 1, 1), 4)), rand(2, 1, 8, 5)
    stirred(model)
    with torch.no_grad():
        record = drive(model.walk(x), draws(generator(1), num_samples=7))
        top = record.latents[-1]
        prior = model.top_prior
        assert isinstance(prior, MixturePrior)
        expected = prior(torch.empty(14, 3, 1, 1), lambda _u: top.prior).log_prob(top.value)
        assert top.posterior is not None
        log_q = top.posterior.log_prob(top.value.view(7, 2, 3, 1, 1)).flatten()
        torch.testing.assert_close(record.kl()[-1], log_q - expected)


def test_both_ways_through_the_model_agree_in_every_bit() -> None:
    """What a codec needs: the receiver, who has the latents alone, meets the sender's priors and likelihood."""
    model, x = small(num_classes=3), rand(4, 1, 8, 5)
    condition = torch.tensor([0, 1, 2, 1])
    with torch.no_grad():
        sent = drive(model.walk(x, condition=condition), draws(generator()))
        values = [latent.value for latent in reversed(sent.latents)]
        received = drive(model.walk(num_examples=4, condition=condition), given(values))
    assert torch.equal(sent.params, received.params)
    for a, b in zip(sent.latents, received.latents, strict=True):
        assert torch.equal(a.prior.mean, b.prior.mean)
        assert torch.equal(a.prior.variance, b.prior.variance)

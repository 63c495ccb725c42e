"""The contract of posteriors, which every posterior listed here passes."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal, kl_divergence

from lucid import io
from lucid.distributions import (
    DiagonalGaussian,
    DiagonalPosterior,
    FlowPosterior,
    FullCovarianceGaussian,
    FullCovariancePosterior,
    Posterior,
    Rows,
    StandardNormal,
    draw,
    tempered,
)
from lucid.models import Latent

Make = Callable[[tuple[int, ...]], Posterior]


def flow(shape: tuple[int, ...], **options: object) -> FlowPosterior:
    if find_spec("zuko") is None:
        pytest.skip("flows need zuko")
    return FlowPosterior(shape, **{"context": 3, "hidden": 16, **options})  # pyright: ignore[reportArgumentType]


POSTERIORS: dict[str, Make] = {
    "diagonal": lambda _shape: DiagonalPosterior(),
    "full covariance": lambda _shape: FullCovariancePosterior(),
    "inverse autoregressive": flow,
    "spline flow": lambda shape: flow(shape, univariate="spline"),
    "coupling": lambda shape: flow(shape, passes=2, transforms=3, univariate="spline"),
    "without context": lambda shape: flow(shape, context=0),
}
FLOWS = tuple(POSTERIORS)[2:]
every = pytest.mark.parametrize("name", POSTERIORS)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(name: str, shape: tuple[int, ...], scale: float = 0.15) -> Posterior:
    """A posterior with arbitrary parameters, in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        posterior = POSTERIORS[name](shape).double()
    stream = generator(1)
    with torch.no_grad():
        for parameter in posterior.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=stream, dtype=torch.float64))
    return posterior


def emitted(posterior: Posterior, shape: tuple[int, ...], rows: int = 1, same: bool = True) -> Tensor:
    """What an encoder might emit: for one example in every row, or another in each."""
    size = (1 if same else rows, posterior.num_outputs(shape[0]), *shape[1:])
    h = 0.7 * torch.randn(size, generator=generator(2), dtype=torch.float64)
    return h.expand(rows, *size[1:])


def distribution(name: str, shape: tuple[int, ...], rows: int = 1, same: bool = True) -> Distribution:
    posterior = made(name, shape)
    return posterior(emitted(posterior, shape, rows, same))


@every
@torch.no_grad()
def test_the_density_integrates_to_one(name: str) -> None:
    z = torch.linspace(-40, 40, 40_001, dtype=torch.float64).view(-1, 1, 1)
    mass = torch.trapezoid(distribution(name, (1,)).log_prob(z).exp().flatten(), z.flatten())
    assert float(mass) == pytest.approx(1.0, abs=1e-4)
    axis = torch.linspace(-14, 14, 301, dtype=torch.float64)
    density = distribution(name, (2,)).log_prob(torch.cartesian_prod(axis, axis).unsqueeze(1)).exp()
    assert float(density.sum()) * float(axis[1] - axis[0]) ** 2 == pytest.approx(1.0, abs=2e-3)


@every
@torch.no_grad()
def test_draws_follow_the_density(name: str) -> None:
    """Kolmogorov–Smirnov of 4,000 draws against the integral of the density."""
    drawn = draw(distribution(name, (1,), rows=4000), generator=generator(3)).flatten()
    z = torch.linspace(-40, 40, 40_001, dtype=torch.float64)
    below = torch.cumulative_trapezoid(distribution(name, (1,)).log_prob(z.view(-1, 1, 1)).exp().flatten(), z)
    assert stats.kstest(below[torch.searchsorted(z[1:], drawn)].numpy(), "uniform").pvalue > 1e-3


@every
@torch.no_grad()
def test_moments_of_draws_are_mean_and_variance(name: str) -> None:
    shape, n = (4,), 4000
    one, single = (distribution(name, shape, rows=rows) for rows in (n, 1))
    drawn = draw(one, generator=generator(4))
    squared = (drawn - drawn.mean(0)).square()
    # A flow's own figures are estimates from 64 draws: they have a standard error too.
    own = 1 / n + (1 / 64 if name in FLOWS else 0)
    assert bool(((drawn.mean(0) - single.mean[0]).abs() < 4 * drawn.std(0) * math.sqrt(own)).all())
    assert bool(((squared.mean(0) - single.variance[0]).abs() < 4 * squared.std(0) * math.sqrt(own)).all())


@every
def test_the_density_of_a_draw_is_that_of_the_same_value_given(name: str) -> None:
    """With its gradient: by the value, by what the encoder emitted, and by the posterior's own parameters."""
    posterior = made(name, (4,))
    h = emitted(posterior, (4,), rows=5, same=False).requires_grad_()
    inputs = [h, *posterior.parameters()]

    def of_draw(fold: Callable[[Tensor], Tensor]) -> list[Tensor]:
        one = posterior(h)
        z = draw(one, (3,), generator=generator(5))
        log_prob = one.log_prob(fold(z))
        return [log_prob, *torch.autograd.grad(log_prob.square().sum(), inputs)]

    for kept, computed in zip(of_draw(lambda z: z), of_draw(lambda z: z * 1.0), strict=True):
        torch.testing.assert_close(kept, computed, rtol=1e-7, atol=1e-7)
    # As the walk lays draws out and takes them up again.
    folded = of_draw(lambda z: z.flatten(0, 1).unflatten(0, (-1, 5)))
    for kept, computed in zip(folded, of_draw(lambda z: z * 1.0), strict=True):
        torch.testing.assert_close(kept, computed, rtol=1e-7, atol=1e-7)


@every
def test_a_detached_draw_keeps_only_the_gradient_of_the_parameters(name: str) -> None:
    posterior = made(name, (4,))
    h = emitted(posterior, (4,), rows=5, same=False).requires_grad_()
    one = posterior(h)
    z = draw(one, generator=generator(5))
    by_copy, by_detached, by_leaf = (
        torch.autograd.grad(one.log_prob(value).sum(), h, retain_graph=True)[0]
        for value in (z.detach().clone(), z.detach(), z.detach().requires_grad_())
    )
    assert torch.equal(by_detached, by_copy)
    assert torch.equal(by_leaf, by_copy)
    with torch.no_grad():
        changed = draw(one, generator=generator(6))
        changed.add_(1.0)
        torch.testing.assert_close(one.log_prob(changed), one.log_prob(changed.clone()))


@every
@torch.no_grad()
def test_monte_carlo_meets_the_kl(name: str) -> None:
    """`Latent.kl`, in closed form or sampled, against an average over many draws."""
    n = 4000
    one = distribution(name, (3,), rows=n)
    prior = StandardNormal(torch.empty(n, 3, dtype=torch.float64))
    z = draw(one, generator=generator(7))
    ratio = one.log_prob(z * 1.0) - prior.log_prob(z)
    again = Latent(draw(one, generator=generator(8)), prior, one).kl()
    error = math.hypot(float(ratio.std()), float(again.std())) / math.sqrt(n)
    assert abs(float(ratio.mean() - again.mean())) < 4 * error


@every
def test_values_with_leading_dimensions(name: str) -> None:
    shapes = [(3,)] if name == "full covariance" else [(3,), (2, 3), (2, 2, 2)]
    for shape in shapes:
        one = distribution(name, shape, rows=4, same=False)
        assert (one.batch_shape, one.event_shape) == ((4,), shape)
        z = torch.randn(5, 4, *shape, generator=generator(5), dtype=torch.float64)
        assert one.log_prob(z).shape == (5, 4)
        torch.testing.assert_close(one.log_prob(z)[3], one.log_prob(z[3]))
        assert draw(one, (5,), generator=generator()).shape == z.shape
        assert one.mean.shape == (4, *shape)


@every
def test_rows_draw_what_the_whole_would(name: str) -> None:
    posterior = made(name, (3,))
    h = emitted(posterior, (3,), rows=6, same=False)
    whole = draw(posterior(h), (2,), generator=generator(7))
    parts = [
        draw(posterior(h[first:end]), (2,), generator=Rows(generator(7), first, 6))
        for first, end in ((0, 2), (2, 5), (5, 6))
    ]
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-12, atol=1e-12)


@every
def test_temperature(name: str) -> None:
    one = distribution(name, (2,), rows=1000)
    assert tempered(one, 1.0) is one
    cool, warm = (draw(tempered(one, t), generator=generator(9)).detach().var(0) for t in (0.25, 1.0))
    assert bool((cool < warm).all())
    frozen = draw(tempered(one, 0.0), generator=generator(9)).detach()
    torch.testing.assert_close(frozen, frozen[:1].expand_as(frozen))


@every
@pytest.mark.parametrize("size", [30.0, 1e10, 3e38])
def test_no_finite_output_breaks_a_kl_or_its_gradient(name: str, size: float) -> None:
    latents = 30 if name == "full covariance" else 6  # a triangular solve grows with the size
    posterior = POSTERIORS[name]((latents,))
    for seed in range(4):
        signs = torch.randn(4, posterior.num_outputs(latents), generator=generator(seed)).sign()
        h = (size * signs).requires_grad_()
        one = posterior(h)
        z = draw(one, generator=generator(seed))
        prior = StandardNormal(z)
        for kl in (Latent(z, prior, one).kl(), Latent(z, prior, one).log_ratio(), one.log_prob(z.detach() + 1)):
            assert bool(kl.isfinite().all())
            (gradient,) = torch.autograd.grad(kl.sum(), h, retain_graph=True)
            assert bool(gradient.isfinite().all())


@every
def test_save_and_load(name: str, tmp_path: Path) -> None:
    posterior = made(name, (3,)).float()
    io.save(posterior, tmp_path / "posterior")
    loaded = io.load(tmp_path / "posterior")
    assert type(loaded) is type(posterior)
    assert io.describe(loaded) == io.describe(posterior)
    h, z = emitted(posterior, (3,), 4, same=False).float(), torch.randn(4, 3, generator=generator(13))
    assert torch.equal(loaded(h).log_prob(z), posterior(h).log_prob(z))


@every
def test_half_precision_outputs_make_a_float32_density(name: str) -> None:
    posterior = made(name, (3,)).to(torch.bfloat16)
    h = emitted(posterior, (3,), 4, same=False).to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        one = posterior(h)
        z = draw(one, generator=generator())
        assert one.log_prob(z).dtype == one.log_prob(z + 1).dtype == z.dtype == torch.float32


@every
def test_autocast_costs_the_density_no_digit(name: str) -> None:
    posterior = made(name, (3,)).float()
    h = emitted(posterior, (3,), 4, same=False).float()
    z = torch.randn(4, 3, generator=generator(15))
    exact = posterior(h).log_prob(z)
    with torch.autocast("cpu", torch.bfloat16):
        one = posterior(h)
        assert torch.equal(one.log_prob(z), exact)
        kept = one.log_prob(draw(one, generator=generator()))
    torch.testing.assert_close(kept, posterior(h).log_prob(draw(posterior(h), generator=generator())))


COMPILED: dict[str, Make] = {  # every kind, as small as it can be
    "full covariance": POSTERIORS["full covariance"],
    "inverse autoregressive": lambda shape: flow(shape, transforms=1),
    "spline flow": lambda shape: flow(shape, transforms=1, univariate="spline"),
}


@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs g++")
@pytest.mark.parametrize("name", COMPILED)
def test_a_training_step_compiles_in_one_graph(name: str) -> None:
    posterior = COMPILED[name]((3,))
    h = emitted(posterior, (3,), 8, same=False).float().requires_grad_()

    def loss(h: Tensor) -> Tensor:
        one = posterior(h)
        z = draw(one)
        return Latent(z, StandardNormal(z), one).kl().sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    gradients: list[Tensor] = []
    for step in (compiled, loss):
        torch.manual_seed(0)
        gradients.append(torch.autograd.grad(step(h), h)[0])
    torch.testing.assert_close(*gradients)


# What is each one's own


def test_the_full_covariance_gaussian_is_pytorchs() -> None:
    one = distribution("full covariance", (4,), rows=5, same=False)
    assert isinstance(one, FullCovarianceGaussian)
    twin = MultivariateNormal(one.loc, scale_tril=one.scale_tril)
    z = torch.randn(3, 5, 4, generator=generator(14), dtype=torch.float64)
    torch.testing.assert_close(one.log_prob(z), twin.log_prob(z))
    torch.testing.assert_close(one.covariance, twin.covariance_matrix)
    torch.testing.assert_close(one.variance, twin.variance)
    torch.testing.assert_close(one.entropy(), twin.entropy())
    loc, logvar = (torch.randn(5, 4, generator=generator(seed), dtype=torch.float64) for seed in (15, 16))
    standard = MultivariateNormal(torch.zeros_like(loc), torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(kl_divergence(one, StandardNormal(loc)), kl_divergence(twin, standard))
    diagonal = MultivariateNormal(loc, torch.diag_embed(logvar.exp()))
    torch.testing.assert_close(kl_divergence(one, DiagonalGaussian(loc, logvar)), kl_divergence(twin, diagonal))
    torch.testing.assert_close(one.total_correlation, kl_divergence(one, one.marginals))


def test_any_covariance_can_be_emitted() -> None:
    """From a Cholesky factor L: σ_i is the length of row i, a_ij = L_ij / L_ii."""
    root = torch.randn(4, 4, generator=generator(17), dtype=torch.float64)
    covariance = root @ root.T + 0.1 * torch.eye(4)
    factor = torch.linalg.cholesky(covariance)
    lower = (factor / factor.diagonal().unsqueeze(1)).tril(-1)
    rows, columns = torch.tril_indices(4, 4, -1)
    h = torch.cat([torch.zeros(4), covariance.diagonal().log(), lower[rows, columns]]).double()
    torch.testing.assert_close(FullCovariancePosterior()(h[None]).covariance[0], covariance)


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_begins_as_the_diagonal_posterior(name: str) -> None:
    posterior = POSTERIORS[name]((4,)).double()
    h = emitted(posterior, (4,), 3, same=False)
    z = torch.randn(3, 4, generator=generator(18), dtype=torch.float64)
    torch.testing.assert_close(posterior(h).log_prob(z), DiagonalPosterior()(h[:, :8]).log_prob(z))
    torch.testing.assert_close(posterior(h).mean, h[:, :4])


@pytest.mark.parametrize("name", FLOWS)
def test_the_log_determinant_is_that_of_autograd(name: str) -> None:
    posterior = made(name, (4,), scale=0.3)
    assert isinstance(posterior, FlowPosterior)
    context = torch.randn(1, posterior.context, generator=generator(19), dtype=torch.float64)
    context = context if posterior.context else None
    u = torch.randn(1, 4, generator=generator(20), dtype=torch.float64)
    z, log_det = posterior.flow(u, context)
    jacobian = torch.autograd.functional.jacobian(lambda v: posterior.flow(v, context)[0][0], u)[:, 0]
    torch.testing.assert_close(log_det[0], torch.linalg.slogdet(jacobian).logabsdet)
    back, inverse_det = posterior.flow.inverse(z, context)
    torch.testing.assert_close(back, u)
    torch.testing.assert_close(inverse_det, -log_det)


def test_what_no_encoder_for_it_emits_is_refused() -> None:
    with pytest.raises(ValueError, match=r"an even number; received \(2, 5\)"):
        DiagonalPosterior()(torch.zeros(2, 5))
    with pytest.raises(ValueError, match=r"so 2, 5, 9, 14, … of them .*; received \(2, 6\)"):
        FullCovariancePosterior()(torch.zeros(2, 6))
    with pytest.raises(ValueError, match=r"received \(2, 5, 4\)"):
        FullCovariancePosterior()(torch.zeros(2, 5, 4))
    with pytest.raises(ValueError, match=r"takes \(N, 7\) from the encoder, 2·2 \+ 3 channels; received \(2, 4\)"):
        flow((2,))(torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"was made for latents of shape \(2,\); it was asked for 3 channels"):
        flow((2,)).num_outputs(3)
    with pytest.raises(ValueError, match="context must be a whole number that is not negative; received -1"):
        flow((2,), context=-1)

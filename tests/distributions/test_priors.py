"""The contract of priors, which every prior listed here passes."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.distributions import Distribution

import lucid.models  # noqa: F401  registers the priors  # pyright: ignore[reportUnusedImport]
from lucid import io
from lucid.distributions import (
    DiagonalGaussian,
    DiagonalPosterior,
    FlowPrior,
    FullCovariancePosterior,
    Infer,
    MixturePrior,
    Posterior,
    Prior,
    Rows,
    StandardNormal,
    StandardNormalPrior,
    VampPrior,
    draw,
    tempered,
)

FEATURES = 5  # of the data that VampPrior's pseudo-inputs are

Make = Callable[[tuple[int, ...]], Prior]


def flow(shape: tuple[int, ...], **options: object) -> FlowPrior:
    if find_spec("zuko") is None:
        pytest.skip("flows need zuko")
    return FlowPrior(shape, **{"transforms": 2, "hidden": 16, **options})  # pyright: ignore[reportArgumentType]


PRIORS: dict[str, Make] = {
    "standard": lambda _shape: StandardNormalPrior(),
    "mixture": lambda shape: MixturePrior(shape, components=4),
    "vamp": lambda _shape: VampPrior(FEATURES, components=4),
    "vamp, free": lambda _shape: VampPrior(FEATURES, components=4, unit_interval=False),
    "spline flow": flow,
    "affine flow": lambda shape: flow(shape, univariate="affine"),
    "coupling": lambda shape: flow(shape, passes=2, transforms=3),
}
FLOWS = ("spline flow", "affine flow", "coupling")
every = pytest.mark.parametrize("name", PRIORS)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(name: str, shape: tuple[int, ...], scale: float = 0.3) -> Prior:
    """A prior with arbitrary parameters, in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prior = PRIORS[name](shape).double()
    stream = generator(1)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=stream, dtype=torch.float64))
    return prior


def encoder(shape: tuple[int, ...], dtype: torch.dtype = torch.float64, posterior: Posterior | None = None) -> Infer:
    """An arbitrary way from data to posteriors."""
    latents = math.prod(shape)
    posterior = posterior or DiagonalPosterior()
    width = posterior.num_outputs(shape[0]) * latents // shape[0]
    weight = 0.4 * torch.randn(FEATURES, width, generator=generator(2), dtype=torch.float64).to(dtype)
    return lambda x: posterior((x.to(dtype) @ weight).view(-1, width // math.prod(shape[1:]), *shape[1:]))


def distribution(name: str, shape: tuple[int, ...], rows: int = 1, scale: float = 0.3) -> Distribution:
    return made(name, shape, scale)(torch.empty(rows, *shape, dtype=torch.float64), encoder(shape))


@every
def test_the_density_integrates_to_one_in_one_dimension(name: str) -> None:
    z = torch.linspace(-40, 40, 80_001, dtype=torch.float64).view(-1, 1, 1)
    with torch.no_grad():
        mass = torch.trapezoid(distribution(name, (1,)).log_prob(z).exp().flatten(), z.flatten())
    assert float(mass) == pytest.approx(1.0, abs=2e-5)


@every
def test_the_density_integrates_to_one_in_two_dimensions(name: str) -> None:
    axis = torch.linspace(-12, 12, 301, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis).unsqueeze(1)
    with torch.no_grad():
        density = distribution(name, (2,), scale=0.15).log_prob(z).exp()
    # A spline's slope jumps at its knots, which costs the sum over a grid digits.
    assert float(density.sum()) * float(axis[1] - axis[0]) ** 2 == pytest.approx(1.0, abs=2e-3)


@every
def test_draws_follow_the_density(name: str) -> None:
    """Kolmogorov–Smirnov of 4,000 draws against the integral of the density."""
    with torch.no_grad():
        drawn = draw(distribution(name, (1,), rows=4000), generator=generator(3)).flatten()
    z = torch.linspace(-40, 40, 80_001, dtype=torch.float64)
    with torch.no_grad():
        below = torch.cumulative_trapezoid(distribution(name, (1,)).log_prob(z.view(-1, 1, 1)).exp().flatten(), z)
    found = torch.searchsorted(z[1:], drawn)
    assert stats.kstest(below[found].numpy(), "uniform").pvalue > 1e-3


@torch.no_grad()
@every
def test_moments_of_draws_are_mean_and_variance(name: str) -> None:
    shape, n = (3, 2), 4000
    one, single = (distribution(name, shape, rows=rows) for rows in (n, 1))
    drawn = draw(one, generator=generator(4))
    squared = (drawn - drawn.mean(0)).square()
    # A flow's own figures are estimates from 64 draws: they have a standard error too.
    own = 1 / n + (1 / 64 if name in FLOWS else 0)
    assert bool(((drawn.mean(0) - single.mean[0]).abs() < 4 * drawn.std(0) * math.sqrt(own)).all())
    assert bool(((squared.mean(0) - single.variance[0]).abs() < 4 * squared.std(0) * math.sqrt(own)).all())


@every
def test_values_with_leading_dimensions_and_any_trailing_shape(name: str) -> None:
    for shape in ((3,), (2, 3), (2, 2, 2)):
        one = distribution(name, shape, rows=4)
        assert (one.batch_shape, one.event_shape) == ((4,), shape)
        z = torch.randn(5, 4, *shape, generator=generator(5), dtype=torch.float64)
        assert one.log_prob(z).shape == (5, 4)
        torch.testing.assert_close(one.log_prob(z)[3], one.log_prob(z[3]))
        assert draw(one, (5,), generator=generator()).shape == z.shape
        assert one.mean.shape == (4, *shape)


@every
def test_a_generator_decides_and_rows_draw_what_the_whole_would(name: str) -> None:
    before = torch.get_rng_state()
    whole = draw(distribution(name, (3,), rows=6), generator=generator(7))
    again = draw(distribution(name, (3,), rows=6), generator=generator(7))
    parts = [
        draw(distribution(name, (3,), rows=rows), generator=Rows(generator(7), first, 6))
        for first, rows in ((0, 2), (2, 3), (5, 1))
    ]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(whole, again)
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-12, atol=1e-12)
    assert not torch.equal(whole, draw(distribution(name, (3,), rows=6), generator=generator(8)))


@every
def test_temperature(name: str) -> None:
    one = distribution(name, (2,), rows=1000)
    assert tempered(one, 1.0) is one
    spread = [draw(tempered(one, t), generator=generator(9)).detach().var(0) for t in (0.25, 1.0)]
    assert bool((spread[0] < spread[1]).all())
    frozen = draw(tempered(one, 0.0), generator=generator(9)).detach()
    assert len(frozen.mul(1e6).round().unique(dim=0)) <= 4  # one value, or one a component
    # Cooling twice is cooling once by the product.
    twice, once = tempered(tempered(one, 0.5), 0.5), tempered(one, 0.25)
    z = torch.randn(1000, 2, generator=generator(10), dtype=torch.float64)
    torch.testing.assert_close(twice.log_prob(z), once.log_prob(z))


@every
@pytest.mark.parametrize("size", [10.0, 1e10, 3e37])
def test_no_finite_parameter_or_latent_within_bounds_breaks_the_density(name: str, size: float) -> None:
    prior = PRIORS[name]((3,))
    stream = generator(11)
    own = {key: p for key, p in prior.named_parameters() if not key.startswith("flow.")}
    with torch.no_grad():
        for parameter in own.values():
            parameter.copy_(size * torch.randn(parameter.shape, generator=stream).sign())
    for z in (torch.full((4, 3), 1e5), torch.full((4, 3), -1e5), torch.zeros(4, 3)):
        z.requires_grad_()
        log_prob = prior(z, encoder((3,), torch.float32)).log_prob(z)
        assert bool(log_prob.isfinite().all())
        gradients = torch.autograd.grad(log_prob.sum(), [z, *own.values()], allow_unused=True)
        assert all(gradient is None or bool(gradient.isfinite().all()) for gradient in gradients)


@every
def test_every_parameter_is_learned(name: str) -> None:
    prior = made(name, (3,))
    parameters = list(prior.parameters())
    if not parameters:
        assert name == "standard"
        return
    z = torch.randn(64, 3, generator=generator(12), dtype=torch.float64)
    gradients = torch.autograd.grad(prior(z, encoder((3,))).log_prob(z).sum(), parameters)
    assert all(bool(gradient.abs().sum() > 0) for gradient in gradients)


@every
def test_save_and_load(name: str, tmp_path: Path) -> None:
    prior = made(name, (2, 3)).float()
    io.save(prior, tmp_path / "prior")
    loaded = io.load(tmp_path / "prior")
    assert type(loaded) is type(prior)
    assert io.describe(loaded) == io.describe(prior)
    z = torch.randn(4, 2, 3, generator=generator(13))
    infer = encoder((2, 3), torch.float32)
    assert torch.equal(loaded(z, infer).log_prob(z), prior(z, infer).log_prob(z))


@every
def test_half_precision_parameters_make_a_float32_density(name: str) -> None:
    prior = made(name, (3,)).to(torch.bfloat16)
    z = torch.randn(4, 3, generator=generator(14))
    with torch.autocast("cpu", torch.bfloat16):
        one = prior(z, encoder((3,), torch.float32))
        assert one.log_prob(z).dtype == torch.float32
    assert draw(one, generator=generator()).dtype == torch.float32


@every
def test_autocast_costs_the_density_no_digit(name: str) -> None:
    prior = made(name, (3,)).float()
    z = torch.randn(4, 3, generator=generator(14))
    exact = prior(z, encoder((3,), torch.float32)).log_prob(z)
    posteriors = encoder((3,), torch.float32)(getattr(prior, "pseudo_inputs", torch.empty(4, FEATURES)))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(prior(z, lambda _: posteriors).log_prob(z), exact)


COMPILED: dict[str, Make] = {  # every kind, as small as it can be
    "mixture": PRIORS["mixture"],
    "vamp": PRIORS["vamp"],
    "spline flow": lambda shape: flow(shape, transforms=1),
    "affine flow": lambda shape: flow(shape, transforms=1, univariate="affine"),
}


@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs g++")
@pytest.mark.parametrize("name", COMPILED)
def test_it_compiles_in_one_graph(name: str) -> None:
    prior = COMPILED[name]((3,))
    infer = encoder((3,), torch.float32)

    def loss(z: Tensor) -> Tensor:
        return prior(z, infer).log_prob(z).sum()

    z = torch.randn(8, 3, generator=generator(15))
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(z), loss(z))


# What is each one's own


def test_a_vamp_prior_is_the_mixture_of_its_posteriors() -> None:
    prior = made("vamp", (3,))
    assert isinstance(prior, VampPrior)
    z = torch.randn(6, 3, generator=generator(16), dtype=torch.float64)
    posteriors = encoder((3,))(prior.free.sigmoid())
    assert isinstance(posteriors, DiagonalGaussian)
    by_hand = torch.stack([posteriors.log_prob(row.expand(4, 3)).exp().mean().log() for row in z])
    torch.testing.assert_close(prior(z, encoder((3,))).log_prob(z), by_hand)


def test_a_vamp_prior_takes_posteriors_of_any_kind() -> None:
    infer = encoder((2,), posterior=FullCovariancePosterior())
    prior = made("vamp", (2,))
    axis = torch.linspace(-12, 12, 601, dtype=torch.float64)
    one = prior(torch.empty(1, 2, dtype=torch.float64), infer)
    mass = one.log_prob(torch.cartesian_prod(axis, axis).unsqueeze(1)).exp().sum() * (axis[1] - axis[0]) ** 2
    assert float(mass.detach()) == pytest.approx(1.0, abs=1e-3)
    many = prior(torch.empty(4000, 2, dtype=torch.float64), infer)
    drawn = draw(many, generator=generator(17)).detach()
    error = drawn.std(0) / math.sqrt(4000)
    assert bool(((drawn.mean(0) - many.mean[0]).abs() < 4 * error).all())


@pytest.mark.parametrize("name", ["mixture", "spline flow", "affine flow"])
def test_started_from_latents_a_prior_describes_them_better(name: str) -> None:
    z = 0.3 * torch.randn(500, 2, generator=generator(18), dtype=torch.float64) + torch.tensor([4.0, -2.0])
    prior = PRIORS[name]((2,)).double()
    prior.start(torch.empty(500, FEATURES), z)
    after = prior(z, encoder((2,))).log_prob(z).mean().detach()
    truth = -(0.5 * 2 * (math.log(2 * math.pi) + 1) + 2 * math.log(0.3))
    assert abs(float(after) - truth) < 0.8  # nats; the standard normal is 11 off
    assert float(StandardNormal(z).log_prob(z).mean()) < truth - 9


def test_started_from_data_pseudo_inputs_are_examples() -> None:
    x = torch.rand(20, FEATURES, generator=generator(19)).clamp(0.1, 0.9)
    prior = VampPrior(FEATURES, components=20)
    prior.start(x)
    torch.testing.assert_close(prior.pseudo_inputs.detach(), x)
    free = VampPrior(FEATURES, components=20, unit_interval=False)
    free.start(10 * x)
    assert torch.equal(free.pseudo_inputs.detach(), 10 * x)
    with pytest.raises(ValueError, match=r"x must lie in \[0, 1\] .* Make the prior with unit_interval=False"):
        prior.start(10 * x)
    with pytest.raises(ValueError, match=r"x must hold examples of shape \(5,\); received \(3,\)"):
        prior.start(x[:, :3])


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_begins_as_the_standard_normal(name: str) -> None:
    z = 3 * torch.randn(7, 4, generator=generator(20))
    torch.testing.assert_close(PRIORS[name]((4,))(z, encoder((4,))).log_prob(z), StandardNormal(z).log_prob(z))


def test_a_mixture_is_scipys() -> None:
    prior = made("mixture", (3,))
    assert isinstance(prior, MixturePrior)
    z = torch.randn(5, 3, generator=generator(21), dtype=torch.float64)
    weights = prior.logits.softmax(0).detach()
    parts = [
        float(weight) * stats.multivariate_normal(loc.numpy(), logvar.exp().diag().numpy()).pdf(z.numpy())
        for weight, loc, logvar in zip(weights, prior.loc.detach(), prior.logvar.detach(), strict=True)
    ]
    torch.testing.assert_close(prior(z).log_prob(z).exp().detach(), torch.from_numpy(sum(parts)))


def test_a_mixture_in_parts_is_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    prior = made("mixture", (3,))
    z = torch.randn(5, 7, 3, generator=generator(22), dtype=torch.float64)
    whole = prior(z[0], encoder((3,))).log_prob(z)
    monkeypatch.setattr("lucid.distributions.mixture._MAX_NUMBERS", 30)
    with torch.no_grad():
        torch.testing.assert_close(prior(z[0], encoder((3,))).log_prob(z), whole)


def test_a_choice_among_components_has_no_gradient() -> None:
    with pytest.raises(NotImplementedError, match="Mixture chooses one of its components: draw from it with sample"):
        distribution("mixture", (3,)).rsample()


@pytest.mark.parametrize("name", ["mixture", "spline flow"])
def test_latents_of_another_shape_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"was made for latents of shape \(3,\); .* has shape \(4,\)"):
        PRIORS[name]((3,))(torch.empty(2, 4), encoder((4,)))


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="components must be at least 1; received 0"):
        MixturePrior(2, components=0)
    with pytest.raises(TypeError, match=r"components must be an int; received 2\.5"):
        VampPrior(2, components=2.5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"shape must name at least one dimension; received \(\)"):
        MixturePrior(())
    with pytest.raises(ValueError, match="univariate must be 'affine' or 'spline'; received 'cubic'"):
        flow((2,), univariate="cubic")


def test_without_zuko_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zuko.nn", None)
    with pytest.raises(ImportError, match=r"flows need zuko: pip install 'lucid-vae\[flows\]'"):
        FlowPrior(2)


@pytest.mark.skipif(find_spec("zuko") is None, reason="flows need zuko")
def test_loading_zuko_leaves_pytorchs_own_checks_on() -> None:
    """By itself it switches them off for the whole process."""
    script = """
from torch.distributions import Normal
from lucid.distributions import FlowPrior
FlowPrior(2)
try:
    Normal(0.0, -1.0)
except ValueError:
    print("refused")
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout == "refused\n"

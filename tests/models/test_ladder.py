"""The ladder against a linear-Gaussian model that is known exactly, and the merge of evidence and prior."""

from __future__ import annotations

import copy
import itertools
import math
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.linear_gaussian import generator, randn
from tests.linear_ladder import LinearLadder, arbitrary, exact
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

import lucid
import lucid.nn as nn
from lucid.distributions import (
    DiagonalGaussian,
    DiagonalPosterior,
    FullCovariancePosterior,
    MixturePrior,
    StandardNormal,
    StandardNormalPrior,
    VampPrior,
)
from lucid.models import LadderVAE, Record, VAEConfig, draws, drive, importance_weighted, weighted_loss
from lucid.models.ladder import merged

depths = pytest.mark.parametrize("depth", [1, 2, 3])
SIZES = (4, 3, 2)


def build(depth: int = 3, **options: Any) -> LadderVAE:
    """A different width at each level, so that nothing fits in another's place."""
    sizes = SIZES[:depth]
    return LadderVAE(
        VAEConfig(
            encoders=[nn.Linear(n, 2 * m) for n, m in zip((5, *sizes), sizes, strict=False)],
            decoders=[nn.Linear(4, 5), *(nn.Linear(n, m) for m, n in itertools.pairwise(sizes))],
            priors=[nn.Linear(n, 2 * m) for m, n in itertools.pairwise(sizes)] or None,
            **options,
        )
    )


def walked(oracle: LinearLadder, x: Tensor, num_samples: int) -> Record:
    with torch.no_grad():
        return drive(oracle.model().walk(x), draws(generator(0), num_samples=num_samples))


def assert_within_error(per_row: Tensor, num_samples: int, truth: Tensor) -> None:
    """The mean over the draws of each example is within four of its standard errors of the truth."""
    per_row = per_row.view(num_samples, -1)
    error = per_row.std(0) / math.sqrt(num_samples)
    assert bool(((per_row.mean(0) - truth).abs() <= 4 * error + 1e-9).all()), f"{per_row.mean(0)} ± {error}: {truth}"


# Against the truth


@depths
def test_where_the_true_posterior_is_representable_every_draw_weighs_log_p(depth: int) -> None:
    oracle = exact(depth)
    x = randn(7, 5, seed=4)
    torch.testing.assert_close(oracle.elbo(x), oracle.log_prob(x))  # the oracle with itself
    log_weight = walked(oracle, x, 50).log_weight().view(50, 7)
    torch.testing.assert_close(log_weight, oracle.log_prob(x).expand(50, 7), rtol=0, atol=1e-9)


@depths
@pytest.mark.parametrize("seed", [0, 200])
def test_the_elbo_and_the_kl_of_each_level_have_their_exact_means(depth: int, seed: int) -> None:
    oracle = arbitrary(depth, seed=seed)
    x = randn(4, 5, seed=6)
    record = walked(oracle, x, 10_000)
    assert_within_error(record.elbo(), 10_000, oracle.elbo(x))
    assert_within_error(record.log_weight(), 10_000, oracle.elbo(x))
    assert_within_error(record.reconstruction(), 10_000, oracle.reconstruction(x))
    for measured, truth in zip(record.kl(), oracle.kl(x), strict=True):
        assert_within_error(measured, 10_000, truth)
    assert bool((oracle.elbo(x) < oracle.log_prob(x)).all())


@depths
def test_the_kl_of_every_level_is_a_closed_form_that_its_samples_meet(depth: int) -> None:
    record = walked(arbitrary(depth, seed=70), randn(1, 5, seed=71), 10_000)
    for latent in record.latents:
        assert latent.prior_known_first
        assert latent.posterior is not None
        assert torch.equal(latent.kl(), kl_divergence(latent.posterior, latent.prior))
        assert_within_error(latent.log_ratio() - latent.kl(), 10_000, torch.zeros(1, dtype=torch.float64))


@depths
def test_importance_weights_tighten_the_bound_towards_log_p(depth: int) -> None:
    oracle = arbitrary(depth, seed=30)
    x = randn(1, 5, seed=31)
    truth = float(oracle.log_prob(x))
    curve = importance_weighted(oracle.model(), x.repeat(500, 1), [1, 4, 64], generator(4))
    assert float(curve[0]) == pytest.approx(float(oracle.elbo(x)), abs=4 * float(curve[0].standard_error))
    for lower, higher in itertools.pairwise(curve):
        difference = higher.per_example - lower.per_example
        assert float(difference.mean()) > 4 * float(difference.std()) / math.sqrt(500)
        assert float(higher) < truth + 4 * float(higher.standard_error)
    # On the scale of the weights there is no bias: E[w] = p(x).
    weights = (walked(oracle, x, 50_000).log_weight() - truth).exp()
    error = float(weights.std()) / math.sqrt(50_000)
    assert error < 0.1
    assert float(weights.mean()) == pytest.approx(1.0, abs=4 * error)


# The merge


@pytest.mark.parametrize(("logvar", "prior_logvar"), [(0.3, -0.7), (-3.0, 2.0), (4.0, -1.0), (0.0, 0.0)])
def test_the_merge_is_the_product_of_both_densities(logvar: float, prior_logvar: float) -> None:
    """By numerical integration: the normalised product has the merged density at every point."""
    grid = torch.linspace(-60, 60, 120_001, dtype=torch.float64)[:, None]
    parts = [
        DiagonalGaussian(torch.full((1, 1), loc, dtype=torch.float64), torch.full((1, 1), v, dtype=torch.float64))
        for loc, v in ((1.3, logvar), (-0.4, prior_logvar))
    ]
    product = (parts[0].log_prob(grid[:, None]) + parts[1].log_prob(grid[:, None])).exp()[:, 0]
    density = product / torch.trapezoid(product, grid[:, 0])
    found = merged(*parts).log_prob(grid[:, None]).exp()[:, 0]
    torch.testing.assert_close(found, density, rtol=1e-6, atol=1e-12)


def test_the_merge_and_its_kl_are_finite_wherever_scales_are_bounded() -> None:
    """All corners that `bounded_halves` lets through, in float32, with their gradients."""
    corners = list(itertools.product((-1e5, 0.0, 1e5), (-21.0, 0.0, 21.0), (-1e5, 1e5), (-21.0, 0.0, 21.0)))
    numbers = torch.tensor(corners, requires_grad=True)
    loc, logvar, prior_loc, prior_logvar = (column[:, None] for column in numbers.unbind(1))
    prior = DiagonalGaussian(prior_loc, prior_logvar)
    q = merged(DiagonalGaussian(loc, logvar), prior)
    kl = kl_divergence(q, prior)
    z = q.rsample(generator=generator(0))
    (kl.sum() + z.sum() + 1e-20 * q.log_prob(z).sum()).backward()
    assert numbers.grad is not None
    for tensor in (q.loc, q.logvar, kl, numbers.grad):
        assert bool(tensor.isfinite().all())
    assert bool((kl >= 0).all())
    # Never less certain than either, and between both means.
    assert bool((q.logvar <= torch.minimum(logvar, prior_logvar) + 1e-5).all())
    assert bool((q.loc >= torch.minimum(loc, prior_loc)).all())


def test_evidence_that_knows_nothing_leaves_the_prior() -> None:
    prior = DiagonalGaussian(torch.tensor([[0.7, -2.0]]), torch.tensor([[0.1, -1.0]]))
    q = merged(DiagonalGaussian(torch.full((1, 2), 50.0), torch.full((1, 2), 21.0)), prior)
    torch.testing.assert_close(q.loc, prior.loc, rtol=0, atol=1e-6)
    torch.testing.assert_close(q.logvar, prior.logvar, rtol=0, atol=1e-6)
    assert float(kl_divergence(q, prior)) < 1e-12


# The order of things


def test_the_ladder_step_by_step() -> None:
    """The definition, written out for three levels."""
    model, x = build().double(), randn(6, 5, seed=0)
    record = drive(model.walk(x), draws(generator(1)))
    z0, z1, z2 = (latent.value for latent in record.latents)
    mean0, logvar0 = model.encoders[0](x).chunk(2, 1)
    mean1, logvar1 = model.encoders[1](mean0).chunk(2, 1)
    mean2, logvar2 = model.encoders[2](mean1).chunk(2, 1)
    top, middle, low = (latent.posterior for latent in reversed(record.latents))
    assert isinstance(top, DiagonalGaussian)
    torch.testing.assert_close((top.loc, top.logvar), (mean2, logvar2))
    assert isinstance(record.latents[2].prior, StandardNormal)
    assert model.priors is not None
    for q, deeper, mean, logvar, prior in (
        (middle, z2, mean1, logvar1, model.priors[1]),
        (low, z1, mean0, logvar0, model.priors[0]),
    ):
        assert isinstance(q, DiagonalGaussian)
        prior_mean, prior_logvar = prior(deeper).chunk(2, 1)
        precision = (-logvar).exp() + (-prior_logvar).exp()
        torch.testing.assert_close(q.variance, 1 / precision)
        torch.testing.assert_close(q.loc, (mean * (-logvar).exp() + prior_mean * (-prior_logvar).exp()) / precision)
    path = model.decoders[0](z0 + model.decoders[1](z1 + model.decoders[2](z2)))
    torch.testing.assert_close(record.params, path)
    torch.testing.assert_close(model.decode([z0, z1, z2]), path)


def test_walks_meet_the_deepest_latent_first_and_records_are_indexed_by_level() -> None:
    model, x = build(), randn(6, 5, seed=0).float()
    for walk, rows in ((model.walk(x), 6), (model.walk(num_examples=4), 4)):
        met: list[int] = []

        def choose(distribution: Distribution, met: list[int] = met) -> Tensor:
            met.append(distribution.event_shape[0])
            return distribution.mean

        record = drive(walk, choose)
        assert met == [2, 3, 4]
        assert [tuple(latent.value.shape) for latent in record.latents] == [(rows, 4), (rows, 3), (rows, 2)]


def test_the_fixed_api_has_the_loss_of_the_walk() -> None:
    model, x = build(hierarchical_kl=False, kl_weight=0.7), randn(6, 5, seed=0).float()
    torch.manual_seed(0)
    output = model(x)
    assert [tuple(z.shape) for z in output.zs] == [(6, 4), (6, 3), (6, 2)]
    loss = model.get_loss(x, *output)
    record = drive(model.walk(x), draws_of(output.zs))
    torch.testing.assert_close(loss.loss, weighted_loss(record, [0.7] * 3).loss)
    loss.loss.backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in model.parameters())


def draws_of(zs: list[Tensor]) -> Callable[[Distribution], Tensor]:
    remaining = list(zs)
    return lambda _distribution: remaining.pop()


def test_every_method_of_a_model_works() -> None:
    model, x = build(reconstruction_loss="bce"), torch.rand(3, 5, generator=generator(0))
    assert model.reconstruct(x).shape == x.shape
    assert model.sample(4).shape == (4, 5)
    assert [tuple(model.embed(x, level).shape) for level in range(3)] == [(3, 4), (3, 3), (3, 2)]
    line = model.interpolate(x, x.flip(0), steps=3)
    torch.testing.assert_close(line[0], model.reconstruct(x))
    torch.testing.assert_close(line[-1], model.reconstruct(x).flip(0))
    assert model.vary(x, levels=1, num_samples=2).shape == (2, 3, 5)
    assert bool(model.log_likelihood(x, 5).per_example.isfinite().all())


def test_maps_of_latents_join_at_their_resolution() -> None:
    model = LadderVAE(
        VAEConfig(
            encoders=[nn.Conv2d(1, 6, 3, stride=2, padding=1), nn.Conv2d(3, 4, 3, stride=2, padding=1)],
            decoders=[nn.ConvTranspose2d(3, 1, 2, stride=2), nn.ConvTranspose2d(2, 3, 2, stride=2)],
            priors=[nn.ConvTranspose2d(2, 6, 2, stride=2)],
        )
    )
    x = torch.rand(2, 1, 8, 8, generator=generator(0))
    model.get_loss(x, *model(x)).loss.backward()
    assert [tuple(z.shape) for z in model.encode(x).zs] == [(2, 3, 4, 4), (2, 2, 2, 2)]
    assert model.sample(3).shape == (3, 1, 8, 8)


# Composition


@pytest.mark.parametrize("prior", [StandardNormalPrior(), MixturePrior(2, 4), VampPrior(5, 4)])
def test_any_prior_of_the_deepest_latent(prior: lucid.distributions.Prior, tmp_path: Path) -> None:
    model, x = build(top_prior=prior), torch.rand(3, 5, generator=generator(0))
    loss = model.get_loss(x, *model(x)).loss
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())
    record = drive(model.walk(x), draws(generator(0), num_samples=3))
    latent = record.latents[-1]
    expected = prior(latent.value, lambda u: evidence_of_the_top(model, u)).log_prob(latent.value)
    assert latent.posterior is not None
    # The prior stands for one row an example; the draws of each are laid out draw-major.
    own = latent.posterior.log_prob(latent.value.view(3, 3, 2)).flatten()
    torch.testing.assert_close(latent.log_ratio(), own - expected)
    lucid.save(model, tmp_path / "model")
    again = lucid.load(tmp_path / "model")
    assert torch.equal(again.sample(4, generator=generator(1)), model.eval().sample(4, generator=generator(1)))


def evidence_of_the_top(model: LadderVAE, u: Tensor) -> DiagonalGaussian:
    for encoder in model.encoders[:-1]:
        u = encoder(u).chunk(2, 1)[0]
    return DiagonalGaussian.from_concatenated(model.encoders[-1](u))


def test_a_prior_that_is_set_later_is_saved(tmp_path: Path) -> None:
    model = build()
    before = model.config
    prior = MixturePrior(2, 3)
    model.set_top_prior(prior)
    lucid.save(model, tmp_path / "model")
    again = lucid.load(tmp_path / "model")
    assert isinstance(again.top_prior, MixturePrior)
    assert torch.equal(again.top_prior.loc, prior.loc)
    assert before.top_prior is None  # another model may have been made of it


def test_a_copy_and_its_state_dict_are_whole() -> None:
    model = build()
    fresh = build()
    fresh.load_state_dict(model.state_dict())
    for other in (fresh, copy.deepcopy(model)):
        assert torch.equal(other.sample(3, generator=generator(0)), model.sample(3, generator=generator(0)))


@pytest.mark.parametrize(("backend", "depth"), [("aot_eager", 3), ("inductor", 2)])
def test_the_walk_compiles_whole(backend: str, depth: int) -> None:
    if backend == "inductor" and not shutil.which("g++"):
        pytest.skip("needs g++")
    model, x = build(depth), torch.rand(6, 5, generator=generator(0))
    noise = [torch.randn(6, n, generator=generator(n)) for n in reversed(SIZES[:depth])]

    def loss(x: Tensor) -> Tensor:
        eps = iter(noise)
        return weighted_loss(drive(model.walk(x), lambda q: q.mean + q.stddev * next(eps)), [1.0] * depth).loss

    found: list[tuple[Tensor, list[Tensor]]] = []
    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the compiler's own remarks about its imports
        for function in (torch.compile(loss, backend=backend, fullgraph=True), loss):
            value = function(x)
            value.backward()
            found.append((value.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]))
            model.zero_grad()
    torch.compiler.reset()
    assert len(found[0][1]) == len(list(model.parameters()))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-5)


# Errors in words


def test_several_levels_need_priors() -> None:
    config = VAEConfig(encoders=[nn.Linear(5, 8), nn.Linear(4, 4)], decoders=[nn.Linear(4, 5), nn.Linear(2, 4)])
    with pytest.raises(ValueError, match=r"LadderVAE of depth 2 needs priors.*merged.*list of 1 modules"):
        LadderVAE(config)


def test_other_posteriors_cannot_be_merged() -> None:
    with pytest.raises(ValueError, match=r"merges diagonal Gaussians.*received FullCovariancePosterior"):
        build(posterior=FullCovariancePosterior())
    model, x = build(posterior=DiagonalPosterior()), torch.rand(3, 5, generator=generator(0))
    plain = build()
    plain.load_state_dict(model.state_dict())
    bounds = [float(m.elbo(x, generator=generator(0))) for m in (model, plain)]
    assert bounds[0] == bounds[1]


def test_a_decoder_that_misses_the_shape_of_the_level_below_is_named() -> None:
    config = VAEConfig(
        encoders=[nn.Linear(5, 8), nn.Linear(4, 4)],
        decoders=[nn.Linear(4, 5), nn.Linear(2, 7)],
        priors=[nn.Linear(2, 8)],
    )
    with pytest.raises(ValueError, match=r"decoders\[1\] emitted \(3, 7\) where the latent of level 0 is \(3, 4\)"):
        LadderVAE(config)(torch.rand(3, 5))


def test_an_encoder_reads_the_mean_of_the_level_below() -> None:
    config = VAEConfig(
        encoders=[nn.Linear(5, 8), nn.Linear(6, 4)],
        decoders=[nn.Linear(4, 5), nn.Linear(2, 4)],
        priors=[nn.Linear(2, 8)],
    )
    with pytest.raises(ValueError, match=r"the mean of level 0 has 4 features where encoders\[1\] takes 6"):
        LadderVAE(config)(torch.rand(3, 5))


def test_a_condition_is_refused() -> None:
    with pytest.raises(ValueError, match="LadderVAE takes no condition"):
        build().elbo(torch.rand(3, 5), condition=torch.zeros(3, dtype=torch.int64))

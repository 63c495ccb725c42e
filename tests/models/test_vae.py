"""The fixed API of the `VAE`: shapes, the loss by hand, β, and the levels' order."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import lucid.models as models
import lucid.nn as nn
from lucid.models import VAE, VAEConfig, draws, drive, weighted_loss

SIZES = (3, 2, 4)
FEATURES = 5


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def build(depth: int = 1, priors: bool = False, **options: Any) -> VAE:
    """A different number of latents at each level, so that nothing fits in another's place."""
    sizes = (FEATURES, *SIZES[:depth])
    return VAE(
        VAEConfig(
            encoders=[nn.Linear(sizes[i], 2 * sizes[i + 1]) for i in range(depth)],
            # Read from the deepest: SIZES[depth − 1] → 7 → 6 → FEATURES.
            decoders=[
                nn.Linear(SIZES[depth - 1] if i == depth - 1 else 6 + i, FEATURES if i == 0 else 5 + i)
                for i in range(depth)
            ],
            priors=[nn.Linear(sizes[i + 2], 2 * sizes[i + 1]) for i in range(depth - 1)] if priors else None,
            **options,
        )
    )


SHAPES = [(1, False), (2, False), (2, True), (3, False), (3, True)]
shapes = pytest.mark.parametrize(("depth", "priors"), SHAPES)


def test_the_documented_example() -> None:
    config = models.VAEConfig(
        encoders=[nn.Sequential(nn.Linear(784, 128))],
        decoders=[nn.Sequential(nn.Linear(64, 784))],
        reconstruction_loss="bce",
    )
    model = models.VAE(config)
    x = rand(8, 784)
    recon, mus, logvars, zs = model(x)
    loss, recon_loss, kl = model.get_loss(x, recon, mus, logvars, zs)
    assert recon.shape == (8, 784)
    assert [t.shape for t in (*mus, *logvars, *zs)] == [(8, 64)] * 3
    assert loss.shape == recon_loss.shape == kl.shape == ()
    assert torch.equal(loss, recon_loss + kl)
    loss.backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in model.parameters())


@shapes
def test_every_output_is_indexed_by_level(depth: int, priors: bool) -> None:
    model, x = build(depth, priors), rand(6, FEATURES)
    output = model(x)
    assert output._fields == ("recon", "mus", "logvars", "zs")
    assert output.recon.shape == x.shape
    for tensors in output[1:]:
        assert [tuple(t.shape) for t in tensors] == [(6, n) for n in SIZES[:depth]]
    encoded = model.encode(x)
    assert encoded._fields == ("zs", "mus", "logvars")
    # Inference goes up: each level's mean and log-variance come from the level below.
    h = x
    for level, (mu, logvar) in enumerate(zip(output.mus, output.logvars, strict=True)):
        n = SIZES[level]
        emitted = model.encoders[level](h)
        torch.testing.assert_close(mu, emitted[:, :n])
        torch.testing.assert_close(logvar, emitted[:, n:])
        h = output.zs[level]
    # Generation comes down, from the deepest latent alone.
    for decoder in reversed(model.decoders):
        h = decoder(h)
    torch.testing.assert_close(output.recon, h)
    torch.testing.assert_close(model.decode(output.zs), h)
    assert torch.equal(
        model.decode([*(torch.full_like(z, math.nan) for z in output.zs[:-1]), output.zs[-1]]), model.decode(output.zs)
    )


def by_hand(
    model: VAE, x: Tensor, recon: Tensor, mus: Any, logvars: Any, zs: Any, weight: float
) -> tuple[float, float, float]:
    """The definition, in float64, one number at a time."""
    x, recon = x.double(), recon.detach().double()
    if model.config.reconstruction_loss == "mse":
        recon_loss = float((0.5 * (x - recon) ** 2 + 0.5 * math.log(2 * math.pi)).sum(1).mean())
    else:
        p = recon.sigmoid()
        recon_loss = float(-(x * p.log() + (1 - x) * (1 - p).log()).sum(1).mean())
    total = 0.0
    for level, (mu, logvar, z) in enumerate(zip(mus, logvars, zs, strict=True)):
        mu, logvar, z = mu.detach().double(), logvar.detach().double(), z.detach().double()
        if model.priors is not None and level < model.depth - 1:
            emitted = model.priors[level](zs[level + 1]).detach().double()
            prior_mu, prior_logvar = emitted[:, : SIZES[level]], emitted[:, SIZES[level] :]
            log_q = -0.5 * ((z - mu) ** 2 / logvar.exp() + logvar)
            log_p = -0.5 * ((z - prior_mu) ** 2 / prior_logvar.exp() + prior_logvar)
            total += weight * float((log_q - log_p).sum(1).mean())
        else:
            total += weight * float(0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1).mean())
    return recon_loss + total, recon_loss, total


@shapes
@pytest.mark.parametrize("loss", ["mse", "bce"])
@pytest.mark.parametrize("hierarchical", [True, False])
def test_the_loss_by_hand(depth: int, priors: bool, loss: str, hierarchical: bool) -> None:
    model = build(depth, priors, reconstruction_loss=loss, hierarchical_kl=hierarchical, kl_weight=0.7)
    x = rand(9, FEATURES)
    output = model(x)
    found = model.get_loss(x, *output)
    assert found._fields == ("loss", "recon_loss", "kl")
    expected = by_hand(model, x, *output, weight=0.7 / depth if hierarchical else 0.7)
    assert [float(t.detach()) for t in found] == pytest.approx(list(expected), rel=1e-5, abs=1e-5)


@shapes
def test_with_weight_one_on_every_level_the_loss_is_minus_the_elbo(depth: int, priors: bool) -> None:
    x = rand(9, FEATURES)
    for options in ({"hierarchical_kl": False}, {"kl_weight": float(depth)}):
        model = build(depth, priors, **options)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            loss = model.get_loss(x, *model(x)).loss
            torch.manual_seed(5)
            bound = model.elbo(x)
        torch.testing.assert_close(loss, -bound.value)
        torch.testing.assert_close(bound.value, -bound.reconstruction - torch.stack(bound.kl).sum())


def test_the_weighted_loss_of_a_walk_weighs_each_level() -> None:
    record = drive(build(3, True).walk(rand(9, FEATURES)), draws(torch.Generator().manual_seed(1)))
    loss = weighted_loss(record, [0.1, 2.0, 0.0])
    kl = [float(level.detach().mean()) for level in record.kl()]
    assert float(loss.kl.detach()) == pytest.approx(0.1 * kl[0] + 2.0 * kl[1], rel=1e-5)
    assert float(loss.recon_loss.detach()) == pytest.approx(float(record.reconstruction().detach().mean()), rel=1e-6)
    assert float(loss.loss.detach()) == pytest.approx(float((loss.recon_loss + loss.kl).detach()), rel=1e-6)
    assert [float(level.detach()) for level in loss.level_kl] == pytest.approx(kl, rel=1e-6)


def test_the_elbo_is_never_weighted() -> None:
    x, bounds = rand(9, FEATURES), []
    model = build(2, True)
    for weight in (1.0, 100.0):
        model.config.kl_weight = weight
        bounds.append(float(model.elbo(x, generator=torch.Generator().manual_seed(1))))
    assert bounds[0] == bounds[1]


def test_the_loss_does_not_depend_on_the_batch_or_the_number_of_features_by_averaging() -> None:
    """Summed over features, averaged over examples: twice the batch is the same, twice the features the double."""
    model, x = build(), rand(4, FEATURES)
    output = model(x)
    once = model.get_loss(x, *output)
    twice = model.get_loss(
        x.repeat(2, 1), output.recon.repeat(2, 1), *[[t.repeat(2, 1) for t in ts] for ts in output[1:]]
    )
    for a, b in zip(once, twice, strict=True):
        torch.testing.assert_close(a, b)
    wide = VAE(VAEConfig(encoders=[nn.Linear(2 * FEATURES, 12)], decoders=[nn.Linear(6, 2 * FEATURES)]))
    doubled = wide.get_loss(
        x.repeat(1, 2), output.recon.repeat(1, 2), *[[t.repeat(1, 2) for t in ts] for ts in output[1:]]
    )
    for a, b in zip(once, doubled, strict=True):
        torch.testing.assert_close(2 * a, b)


def test_reparameterize_is_one_differentiable_draw() -> None:
    model = build()
    mu, logvar = torch.zeros(20_000, 2, requires_grad=True), torch.full((20_000, 2), math.log(4.0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        z = model.reparameterize(mu, logvar)
    assert float(z.detach().std()) == pytest.approx(2.0, abs=4 * 2 / math.sqrt(2 * 40_000))
    assert torch.autograd.grad(z.sum(), mu)[0].eq(1).all()


def test_shallow_latents_reach_every_parameter_of_the_priors() -> None:
    model = build(3, True)
    x = rand(9, FEATURES)
    model.get_loss(x, *model(x)).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool((parameter.grad != 0).any()), name


# β


def step(model: VAE, x: Tensor) -> tuple[float, float]:
    """One call: the weight that was applied, by the ratio to the unweighted KL, and β afterwards."""
    output = model(x)
    kl = sum(0.5 * (mu**2 + v.exp() - 1 - v).sum(1).mean() for mu, v in zip(output.mus, output.logvars, strict=True))
    return float((model.get_loss(x, *output).kl / kl).detach()), model.current_beta()


def test_the_schedule_replaces_beta_at_each_training_step_only() -> None:
    model, x = build(kl_weight=9.0, beta_schedule=lambda step: 0.5 * step), rand(8, FEATURES)
    assert model.current_beta() == 0.0
    weights = [step(model, x)[0] for _ in range(3)]
    assert weights == pytest.approx([0.0, 0.5, 1.0], abs=1e-6)
    model.eval()
    assert [step(model, x) for _ in range(3)] == [pytest.approx((1.5, 1.5))] * 3
    model.elbo(x)
    model.log_likelihood(x, 3)
    assert int(model.beta_step) == 3
    model.train()
    assert step(model, x) == pytest.approx((1.5, 2.0))


def test_forward_alone_is_no_step() -> None:
    model, x = build(beta_schedule=float), rand(8, FEATURES)
    model(x)
    model.encode(x)
    model.elbo(x)
    model.reconstruct(x)
    assert model.current_beta() == 0.0


def test_the_step_lives_in_the_state_dict() -> None:
    model, x = build(beta_schedule=float), rand(8, FEATURES)
    for _ in range(4):
        step(model, x)
    resumed = build(beta_schedule=float)
    resumed.load_state_dict(model.state_dict())
    assert resumed.current_beta() == 4.0


@pytest.mark.parametrize(("hierarchical", "weight"), [(True, 0.5 / 3), (False, 0.5)])
def test_hierarchical_kl_spreads_beta_over_the_levels(hierarchical: bool, weight: float) -> None:
    model = build(3, hierarchical_kl=hierarchical, beta_schedule=lambda _: 0.5)
    assert step(model, rand(8, FEATURES))[0] == pytest.approx(weight)


@pytest.mark.parametrize(
    ("schedule", "kind", "message"),
    [
        (
            lambda _: -0.1,
            ValueError,
            "beta_schedule must return a non-negative, finite β; at step 0 it returned -0.1",
        ),
        (lambda _: math.nan, ValueError, "at step 0 it returned nan"),
        (lambda _: math.inf, ValueError, "at step 0 it returned inf"),
        (lambda _: "warm", TypeError, "beta_schedule must return a number; at step 0 it returned 'warm'"),
        (lambda _: None, TypeError, "beta_schedule must return a number; at step 0 it returned None"),
        (lambda _: [0.1, 0.2], TypeError, r"beta_schedule must return a number; at step 0 it returned \[0.1, 0.2\]"),
    ],
)
def test_a_schedule_that_returns_nonsense_is_told(
    schedule: Callable[[int], Any], kind: type[Exception], message: str
) -> None:
    model, x = build(beta_schedule=schedule), rand(8, FEATURES)
    with pytest.raises(kind, match=message):
        model.get_loss(x, *model(x))
    with pytest.raises(kind, match=message):
        model.current_beta()
    assert int(model.beta_step) == 0


def test_the_step_at_which_a_schedule_fails_is_named() -> None:
    model, x = build(beta_schedule=lambda step: 1.0 - step), rand(8, FEATURES)
    step_error = "at step 2 it returned -1.0"
    for _ in range(2):
        model.get_loss(x, *model(x))
    with pytest.raises(ValueError, match=step_error):
        model.get_loss(x, *model(x))


def test_a_schedule_may_return_any_number() -> None:
    for value in (torch.tensor(0.5), 1, True):
        model = build(beta_schedule=lambda _, value=value: value)
        assert model.current_beta() == float(value)


# Convolutional latents


def conv(**options: Any) -> VAE:
    """(1, 8, 8) → latents (2, 4, 4) → latents (3, 2, 2), with a prior from the latter to the former."""
    return VAE(
        VAEConfig(
            encoders=[nn.Conv2d(1, 4, 2, stride=2), nn.Conv2d(2, 6, 2, stride=2)],
            decoders=[nn.ConvTranspose2d(5, 1, 2, stride=2), nn.ConvTranspose2d(3, 5, 2, stride=2)],
            priors=[nn.ConvTranspose2d(3, 4, 2, stride=2)],
            **options,
        )
    )


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_convolutional_latents(loss: str) -> None:
    model, x = conv(reconstruction_loss=loss, hierarchical_kl=False), rand(3, 1, 8, 8)
    output = model(x)
    assert [tuple(z.shape) for z in output.zs] == [(3, 2, 4, 4), (3, 3, 2, 2)]
    found = model.get_loss(x, *output)
    # The same numbers flat are the same loss: any trailing shape is summed.
    flat = VAE(VAEConfig(encoders=[nn.Linear(1, 2)], decoders=[nn.Linear(1, 1)], reconstruction_loss=loss))
    mu, logvar = (t[-1].flatten(1) for t in (output.mus, output.logvars))
    deepest = flat.get_loss(x.flatten(1), output.recon.flatten(1), [mu], [logvar], [output.zs[-1].flatten(1)])
    torch.testing.assert_close(found.recon_loss, deepest.recon_loss)
    assert model.priors is not None
    emitted = model.priors[0](output.zs[1])
    q = torch.distributions.Normal(output.mus[0], (0.5 * output.logvars[0]).exp())
    p = torch.distributions.Normal(emitted[:, :2], (0.5 * emitted[:, 2:]).exp())
    shallow = (q.log_prob(output.zs[0]) - p.log_prob(output.zs[0])).flatten(1).sum(1).mean()
    torch.testing.assert_close(found.kl, deepest.kl + shallow, rtol=1e-5, atol=1e-4)
    found.loss.backward()
    assert model.reconstruct(x).shape == x.shape
    assert model.embed(x).shape == (3, 3, 2, 2)
    assert model.sample(4).shape == (4, 1, 8, 8)
    assert model.interpolate(x, x.flip(0), 3).shape == (3, 3, 1, 8, 8)
    assert model.log_likelihood(x, 7).per_example.shape == (3,)

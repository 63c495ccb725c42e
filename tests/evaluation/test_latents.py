"""Active units and per-unit KL, on models whose units were built active or collapsed."""

from __future__ import annotations

import math

import torch
from tests.evaluation.exact import linear

import lucid.nn as nn
from lucid.evaluation import evaluate, unit_statistics
from lucid.models import VAE, VAEConfig, draws, drive


def planted(mean_weights: list[float], logvars: list[float]) -> VAE:
    """One level; unit i has mean `mean_weights[i]` · x_0 and its own log-variance, whatever x is."""
    units = len(mean_weights)
    weight = torch.zeros(2 * units, 3)
    weight[:units, 0] = torch.tensor(mean_weights)
    bias = torch.tensor([0.0] * units + logvars)
    return VAE(VAEConfig(encoders=[linear(3, 2 * units, weight, bias)], decoders=[linear(units, 3)]))


def normal(n: int, features: int = 3) -> torch.Tensor:
    x = torch.randn(n, features, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    return (x - x.mean(0)) / x.std(0)


def test_active_units_are_those_built_active() -> None:
    # Variances of the means: 1, 0.0144 (just active), 0.0081 (just not), 0; the last is far from the prior and still
    # inactive.
    model = planted([1.0, 0.12, 0.09, 0.0], [-2.0, 0.0, 0.0, -3.0])
    (units,) = unit_statistics(model, normal(300).split(64))
    torch.testing.assert_close(units.variance, torch.tensor([1.0, 0.0144, 0.0081, 0.0]).double(), rtol=1e-6, atol=1e-9)
    assert units.active.tolist() == [True, True, False, False]
    found = evaluate(model, normal(300), num_samples=1)
    assert found.active_units == (2,)
    assert found.latent_units == (4,)


def test_kl_of_units_is_the_closed_form_and_sums_to_the_level() -> None:
    model = planted([1.0, 0.0], [-2.0, 0.0])
    x = normal(200)
    (units,) = unit_statistics(model, x.split(70))
    # E[μ²] is 199/200 for standardised x.
    expected = 0.5 * (199 / 200 + math.exp(-2.0) - 1 + 2.0)
    assert units.kl is not None
    torch.testing.assert_close(units.kl, torch.tensor([expected, 0.0], dtype=torch.float64), rtol=1e-9, atol=1e-12)
    found = evaluate(model, x, num_samples=1)
    assert math.isclose(found.kl[0], float(units.kl.sum()), rel_tol=1e-9)


def two_levels(deep_weight_on_x: float) -> VAE:
    """Level 0 is pure noise beside a little of x_0; level 1 copies it."""
    first = torch.zeros(4, 3)
    first[0, 0] = deep_weight_on_x
    second = torch.zeros(4, 2)
    second[0, 0] = second[1, 1] = 1.0
    return VAE(
        VAEConfig(
            encoders=[linear(3, 4, first), linear(2, 4, second, torch.tensor([0.0, 0.0, -1.0, -1.0]))],
            decoders=[linear(2, 3), linear(2, 2)],
            priors=[linear(2, 4)],
        )
    )


def test_a_deep_unit_that_only_copies_noise_is_not_active() -> None:
    # With ten draws the average mean of such a unit still varies by 0.1 over x, ten times the threshold.
    found = evaluate(two_levels(0.0), normal(4000), num_samples=1, elbo_samples=10, batch_size=1000)
    assert found.active_units == (0, 0)


def test_a_deep_unit_is_measured_without_the_noise_of_the_level_below() -> None:
    x = normal(4000)
    _, deep = unit_statistics(two_levels(0.5), x.split(500), num_samples=10)
    # Var of the average: 0.25 + 0.1 · 1; the noise part is subtracted. Standard deviation of the estimate: about 0.008.
    assert abs(float(deep.variance[0]) - 0.25) < 0.03
    assert deep.active.tolist() == [True, False]


def test_units_of_a_learned_prior_use_the_drawn_ratio() -> None:
    model = two_levels(0.7)
    generator = torch.Generator().manual_seed(0)
    (level, _) = unit_statistics(model, [normal(50)], num_samples=6, seed=0)
    record = drive(model.walk(normal(50)), draws(generator, num_samples=6))
    assert level.kl is not None
    assert math.isclose(float(level.kl.sum()), float(record.kl()[0].detach().mean()), rel_tol=1e-6)


def test_convolutional_units_are_counted_one_by_one() -> None:
    model = VAE(VAEConfig(encoders=[nn.Conv2d(1, 6, 3, stride=2)], decoders=[nn.ConvTranspose2d(3, 1, 3, stride=2)]))
    (units,) = unit_statistics(model, [torch.randn(5, 1, 9, 9)])
    assert units.variance.shape == (3 * 4 * 4,)

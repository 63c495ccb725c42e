"""What a level costs and saves, against a linear-Gaussian model where both are closed form, and planted silence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import pytest
import torch
from tests.evaluation.exact import SCALE, data, linear, linear_gaussian

from lucid import nn
from lucid.distributions import DiagonalGaussian
from lucid.evaluation import COLLAPSED_BELOW, LevelUse, measure_carried, measure_use
from lucid.models import VAE, LadderVAE, VAEConfig


def batches(x: torch.Tensor) -> list[tuple[torch.Tensor, None]]:
    return [(part, None) for part in x.split(500)]


def exactly(model: VAE, x: torch.Tensor) -> tuple[float, float]:
    """E −log p(x|z) with z from the posterior of the example itself, and from another example's."""
    decoder, encoder = model.decoders[0], model.encoders[0]
    assert isinstance(decoder, nn.Linear)
    constant = 0.5 * x.shape[1] * math.log(2 * math.pi * SCALE**2)

    def expected(of: torch.Tensor) -> float:
        mean, logvar = encoder(of).chunk(2, dim=1)
        spread = (decoder.weight.square() * logvar.exp()[:, None, :]).sum((1, 2))
        squared = (x - decoder(mean)).square().sum(1) + spread
        return float((squared / (2 * SCALE**2)).mean() + constant)

    return expected(x), expected(torch.cat([part.roll(1, 0) for part in x.split(500)]))


def test_what_a_level_saves_is_the_closed_form() -> None:
    model, x = linear_gaussian(), data(3000)
    with torch.no_grad():
        own, foreign = exactly(model, x)
    use = measure_use(model, batches(x), num_samples=4)
    (level,) = use.levels
    assert level.saved == pytest.approx(foreign - own, abs=4 * level.saved_error)
    assert level.saved_error < 0.1 * level.saved
    assert not level.collapsed
    assert use.order == (0,)
    assert use.elbo == pytest.approx(float(model.elbo(x, 50)), abs=4 * use.elbo_error)
    assert (use.num_examples, use.num_features) == (3000, 4)
    assert use.elbo == pytest.approx(-use.reconstruction - level.kl, abs=1e-9)


def test_what_is_carried_is_the_closed_form() -> None:
    model, x = linear_gaussian(), data(3000)
    with torch.no_grad():
        own, foreign = exactly(model, x)
    carried = measure_carried(model, batches(x))
    assert carried.nats == pytest.approx(foreign - own, abs=4 * carried.error)
    assert carried.anything


def test_an_offset_from_the_prior_carries_nothing() -> None:
    # The posterior is far from the prior, and the same for every x: only what depends on x counts.
    encoder = linear(4, 4, bias=torch.tensor([3.0, -2.0, 0.0, 0.0]))
    model = VAE(VAEConfig(encoders=[encoder], decoders=[linear(2, 4, torch.ones(4, 2))]))
    carried = measure_carried(model, batches(data(500)))
    assert carried.nats == pytest.approx(0.0, abs=1e-9)
    assert not carried.anything
    use = measure_use(model, batches(data(500)))
    assert use.levels[0].kl > 6  # ½(3² + 2²)
    assert use.levels[0].saved == pytest.approx(0.0, abs=4 * use.levels[0].saved_error)
    assert use.collapsed == (0,)


def ladder(deep_weight: float, shallow_weight: float) -> LadderVAE:
    """Two levels of one unit that may know x_0 and x_1; both reach the data."""
    up = torch.zeros(2, 4)
    up[0, 0] = shallow_weight
    top = torch.zeros(2, 1)
    top[0, 0] = deep_weight
    quiet = torch.tensor([0.0, -4.0])
    down = torch.zeros(4, 1)
    down[0, 0] = 1.0
    return LadderVAE(
        VAEConfig(
            encoders=[linear(4, 2, up, quiet * (shallow_weight != 0)), linear(1, 2, top, quiet * (deep_weight != 0))],
            decoders=[linear(1, 4, down), linear(1, 1, torch.zeros(1, 1))],
            priors=[linear(1, 2)],
        )
    )


def test_a_level_the_decoder_does_not_read_is_idle_although_it_costs() -> None:
    # decoders[1] is zero, and the prior of level 0 does not read level 1: nothing is lost without it.
    use = measure_use(ladder(2.0, 1.0), batches(data(1000)))
    assert use.order == (1, 0)
    assert use.levels[1].kl > 1
    assert use.levels[1].saved == pytest.approx(0.0, abs=1e-9)
    assert use.levels[1].idle
    assert use.collapsed == (1,)
    assert use.levels[0].saved > COLLAPSED_BELOW


def test_a_deeper_level_is_replaced_by_a_draw_of_its_own_prior() -> None:
    # Level 0 of the ladder is decided last, under a prior that is N(0, 1) here: −log p(x|z) is quadratic in it.
    x = data(3000)
    model = ladder(0.0, 1.0)
    level = measure_use(model, batches(x), num_samples=4).levels[0]
    with torch.no_grad():
        # The decoder emits z_0 for the first feature, with unit variance: the second moments of x_0 − z_0 differ.
        posterior = next(walk_to_level_0(model, x))
        own = ((x[:, 0] - posterior.mean[:, 0]).square() + posterior.variance[:, 0]).mean() / 2
        foreign = (x[:, 0].square() + 1).mean() / 2
    assert level.saved == pytest.approx(float(foreign - own), abs=4 * level.saved_error)


def walk_to_level_0(model: LadderVAE, x: torch.Tensor) -> Iterator[DiagonalGaussian]:
    walk = model.walk(x)
    top = next(walk)
    yield cast("DiagonalGaussian", walk.send(cast("DiagonalGaussian", top).mean))


def test_a_silent_level_has_collapsed() -> None:
    silent = VAE(VAEConfig(encoders=[linear(4, 4)], decoders=[linear(2, 4)]))
    assert measure_use(silent, batches(data(1000))).collapsed == (0,)


def test_gains_are_paired_by_example() -> None:
    better, worse = (measure_use(linear_gaussian(exact), batches(data(2000))) for exact in (True, False))
    value, error = better.gain_over(worse)
    assert value == pytest.approx(better.elbo - worse.elbo)
    assert value > 10 * error
    assert error < better.elbo_error


@pytest.mark.parametrize(
    ("kl", "saved", "active", "divergence", "collapsed"),
    [
        (5.0, 9.0, 2, True, False),
        (0.05, 9.0, 2, True, True),
        (5.0, 0.01, 2, True, True),
        (-0.5, 9.0, 2, False, False),
        (5.0, 9.0, 0, False, True),
        (5.0, 9.0, 0, True, False),  # a narrow learned prior makes small means tell much
    ],
)
def test_what_counts_as_collapsed(kl: float, saved: float, active: int, divergence: bool, collapsed: bool) -> None:
    assert LevelUse(kl, saved, 0.01, active, 2, divergence).collapsed is collapsed


def test_the_model_and_the_global_stream_are_left_alone() -> None:
    model = linear_gaussian()
    model.train()
    x = data(600)
    before = torch.get_rng_state()
    one, two = (measure_use(model, batches(x), seed=3) for _ in range(2))
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)
    assert one.levels == two.levels
    assert measure_use(model, batches(x), seed=4).levels != one.levels


def test_settings_that_measure_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="num_samples must be at least 2; received 1"):
        measure_use(linear_gaussian(), batches(data(10)), num_samples=1)
    with pytest.raises(ValueError, match="no example"):
        measure_use(linear_gaussian(), [])
    with pytest.raises(ValueError, match="no example"):
        measure_carried(linear_gaussian(), [])

"""What only mixtures of logistics do: channels that share a mixture and follow each other."""

from __future__ import annotations

import pytest
import torch
from tests.distributions.likelihood_cases import generator

from lucid.distributions import DiscretisedLogistic, MixtureOfLogistics


def test_the_number_of_outputs_is_that_of_the_paper() -> None:
    """PixelCNN++ has 100 for colour images: per component 1 weight, 3 means, 3 scales, 3 coefficients."""
    assert MixtureOfLogistics(256, channels=3, components=10).num_outputs(3) == 100
    assert MixtureOfLogistics(256, channels=3, components=10, autoregressive=False).num_outputs(3) == 70
    assert MixtureOfLogistics(256, channels=1, components=10).num_outputs(3) == 90
    assert MixtureOfLogistics(256, channels=2, components=5).num_outputs(6) == 3 * 5 * 6


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 7), (3,), (6, 2)])
def test_images_signals_and_vectors(shape: tuple[int, ...]) -> None:
    for channels in (1, 3):
        likelihood = MixtureOfLogistics(9, channels, components=2)
        params = torch.randn(4, likelihood.num_outputs(shape[0]), *shape[1:], generator=generator())
        distribution = likelihood(params)
        x = distribution.sample(generator=generator(1))
        assert x.shape == (4, *shape) == distribution.mean.shape
        likelihood.check(x)
        assert distribution.log_prob(x).shape == (4,)


def test_channels_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must have a multiple of them; it has 4\. Give channels=4, or 1"):
        MixtureOfLogistics(256, channels=3).num_outputs(4)


def test_one_component_is_the_discretised_logistic() -> None:
    numbers = torch.randn(5, 2, 2, 3, generator=generator(2))
    params = torch.cat([torch.zeros(5, 1, 2, 3), numbers], 1).flatten(1, 2)
    mixture, single = MixtureOfLogistics(17, 1, components=1)(params), DiscretisedLogistic(17)(numbers.flatten(1, 2))
    x = torch.randint(17, (5, 2, 3), generator=generator(3)) / 16
    torch.testing.assert_close(mixture.log_prob(x), single.log_prob(x))
    torch.testing.assert_close(mixture.mean, single.mean)


def test_a_position_is_independent_of_the_others() -> None:
    likelihood = MixtureOfLogistics(9, 3, components=2)
    params = torch.randn(4, likelihood.num_outputs(6), 5, generator=generator(4))
    x = likelihood(params).sample(generator=generator(5))
    whole = likelihood(params).log_prob(x)
    # Groups of three channels lie side by side in x; of the outputs each kind holds both groups.
    parts = [
        likelihood(params[:, group::2, place]).log_prob(x[:, 3 * group : 3 * group + 3, place])
        for group in range(2)
        for place in range(5)
    ]
    torch.testing.assert_close(whole, torch.stack(parts).sum(0), rtol=1e-5, atol=1e-5)


def test_channels_share_their_component() -> None:
    """Two components at the two ends, and all channels at one of them: never one channel here and one there."""
    likelihood = MixtureOfLogistics(5, channels=3, components=2, autoregressive=False)
    loc = torch.tensor([[0.0] * 3, [1.0] * 3])
    params = torch.cat([torch.zeros(2), loc.flatten(), torch.full((6,), -6.0)]).expand(200, -1)
    x = likelihood(params).sample(generator=generator(6))
    assert bool((x == x[:, :1]).all())
    assert 60 < int(x[:, 0].sum()) < 140


def test_the_mean_of_following_channels_is_exact_where_nothing_is_cut_off() -> None:
    """Well inside (0, 1) and wider than a level the influence is linear, and so is its mean."""
    likelihood = MixtureOfLogistics(64, channels=2, components=2)
    params = torch.tensor([[0.3, -0.2, 0.45, 0.5, 0.55, 0.4, -3.9, -4.0, -3.8, -4.1, 0.6, -0.9]], dtype=torch.float64)
    levels = torch.arange(64, dtype=torch.float64) / 63
    values = torch.cartesian_prod(levels, levels)
    mass = likelihood(params.expand(len(values), -1)).log_prob(values).exp()
    torch.testing.assert_close(likelihood(params).mean[0], (values * mass.unsqueeze(1)).sum(0), rtol=0, atol=1e-5)


def test_coefficients_carry_the_correlation_of_channels() -> None:
    likelihood = MixtureOfLogistics(256, channels=2, components=1)
    for a in (-2.0, 0.0, 2.0):
        params = torch.tensor([[0.0, 0.5, 0.5, -3.0, -3.0, a]]).expand(4000, -1)
        x = likelihood(params).sample(generator=generator(7))
        influence = float(torch.tensor(a).tanh())
        expected = influence / (1 + influence**2) ** 0.5
        assert float(torch.corrcoef(x.T)[0, 1]) == pytest.approx(expected, abs=0.05)


def test_components_start_apart() -> None:
    """Equal components would have equal gradients, and stay equal for ever."""
    likelihood = MixtureOfLogistics(256, channels=3, components=4)
    x = (torch.rand(64, 3, 2, generator=generator(8)) * 255).round() / 255
    start = likelihood.initial_params(x)
    assert start is not None
    means = start[4:16].unflatten(0, (4, 3))
    assert bool((means.mean(1).diff(dim=0) > 0.05).all())

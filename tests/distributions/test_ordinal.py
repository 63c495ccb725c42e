"""The ordered logistic against its definition, with cutpoints for every feature."""

from __future__ import annotations

import pytest
import torch
from tests.distributions.likelihood_cases import generator, moved

from lucid.distributions import OrderedLogistic


def test_every_feature_has_its_own_cutpoints() -> None:
    likelihood = OrderedLogistic(4, features=3)
    with torch.no_grad():
        likelihood.first.add_(torch.tensor([[-1.0], [0.0], [2.0]]))
        likelihood.log_gaps.add_(torch.randn(3, 2, generator=generator()))
    params = torch.randn(5, 3, 2, generator=generator(1))
    x = torch.randint(4, (5, 3, 2), generator=generator(2)) / 3
    parts: list[torch.Tensor] = []
    for feature in range(3):
        single = OrderedLogistic(4)
        single.load_state_dict({name: value[feature : feature + 1] for name, value in likelihood.state_dict().items()})
        here = slice(feature, feature + 1)
        parts.append(single(params[:, here]).log_prob(x[:, here]))
    torch.testing.assert_close(likelihood(params).log_prob(x), torch.stack(parts).sum(0))


def test_a_larger_output_moves_every_level_up() -> None:
    likelihood = moved(OrderedLogistic(5))
    means = likelihood(torch.linspace(-6, 6, 30).unsqueeze(1)).mean
    assert bool((means.diff(dim=0) > 0).all())


def test_cutpoints_are_learned() -> None:
    """One output for all: the cutpoints alone must find the frequencies of the levels."""
    likelihood = OrderedLogistic(4)
    frequencies = torch.tensor([0.5, 0.05, 0.15, 0.3])
    x = torch.repeat_interleave(torch.arange(4) / 3, (frequencies * 200).long()).unsqueeze(1)
    optimiser = torch.optim.Adam(likelihood.parameters(), lr=0.1)
    for _ in range(150):
        optimiser.zero_grad()
        (-likelihood(torch.zeros(200, 1)).log_prob(x).mean()).backward()
        optimiser.step()
    found = likelihood(torch.zeros(4, 1)).log_prob((torch.arange(4) / 3).unsqueeze(1)).exp()
    torch.testing.assert_close(found.detach(), frequencies, rtol=0, atol=2e-3)


def test_another_number_of_features_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cutpoints for 3 features, and x has 4\. Give features=4, or 1"):
        OrderedLogistic(4, features=3).num_outputs(4)

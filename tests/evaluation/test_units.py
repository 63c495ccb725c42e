"""How the KL is spread over units, where each unit's KL is known."""

from __future__ import annotations

import math

import pytest
import torch
from tests.linear_gaussian import LinearGaussian, arbitrary, randn

import lucid.nn as nn
from lucid.distributions import MixturePrior
from lucid.evaluation import unit_figures
from lucid.models import VAE, VAEConfig


def unit_kl(oracle: LinearGaussian, x: torch.Tensor) -> torch.Tensor:
    """½ (μ² + σ² − 1 − log σ²) of each unit, averaged over x."""
    q = oracle.encoders[0]
    mean = x @ q.weight.T + q.bias
    return 0.5 * (mean.square() + q.logvar.exp() - 1 - q.logvar).mean(0)


def test_each_unit_costs_its_closed_form() -> None:
    oracle, x = arbitrary(1, priors=False, latents=(6,)), randn(300, 5, seed=0)
    (found,) = unit_figures(oracle.model(), x)
    truth = unit_kl(oracle, x)
    assert found.details["kl"] == pytest.approx(truth.sort(descending=True).values.tolist(), abs=1e-12)
    assert found.details["unit"] == truth.argsort(descending=True).tolist()
    greatest = truth.sort(descending=True).values
    needed = next(n for n in range(1, 7) if greatest[:n].sum() >= 0.9 * truth.sum())
    assert (found.value, found.details["of"], found.num_examples) == (needed, 6, 300)
    assert (found.name, found.split) == ("units that carry 90 % of the KL", "tensor")


def test_units_that_cost_nothing() -> None:
    encoder = nn.Linear(3, 8)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.zero_()
    model = VAE(VAEConfig(encoders=[encoder], decoders=[nn.Linear(4, 3)]))
    assert unit_figures(model, torch.randn(10, 3))[0].value == 0
    assert unit_figures(model, torch.randn(10, 3))[0].meaning == "the level costs nothing: all 4 units are idle"
    with torch.no_grad():
        encoder.weight[2] = 5.0
    assert unit_figures(model, torch.randn(10, 3))[0].value == 1
    assert "of 4; the other 3 carry less than a tenth" in unit_figures(model, torch.randn(10, 3))[0].meaning
    assert unit_figures(model, torch.randn(10, 3))[0].details["unit"][0] == 2


def test_levels_are_named_and_a_prior_that_joins_units_has_none() -> None:
    oracle, x = arbitrary(2, priors=False), randn(50, 5, seed=0)
    names = [figure.name for figure in unit_figures(oracle.model(), x)]
    assert names == ["units that carry 90 % of the KL, level 0", "units that carry 90 % of the KL, level 1"]
    model = arbitrary(1, priors=False).model()
    model.set_top_prior(MixturePrior(4, components=2).double())
    assert unit_figures(model, x) == []
    with pytest.raises(ValueError, match="num_samples must be at least 2 for several levels"):
        unit_figures(oracle.model(), x, num_samples=1)


def test_few_of_many_units_are_listed() -> None:
    model = VAE(VAEConfig(encoders=[nn.Linear(3, 300)], decoders=[nn.Linear(150, 3)]))
    (found,) = unit_figures(model, torch.randn(20, 3))
    assert (len(found.details["kl"]), found.details["of"]) == (100, 150)
    assert found.value <= 150
    assert all(math.isfinite(kl) for kl in found.details["kl"])


def test_where_all_units_are_needed_none_is_called_idle() -> None:
    encoder = nn.Linear(2, 4)
    with torch.no_grad():
        encoder.weight.zero_()
        encoder.bias.copy_(torch.tensor([3.0, 3.0, 0.0, 0.0]))
    (found,) = unit_figures(VAE(VAEConfig(encoders=[encoder], decoders=[nn.Linear(2, 2)])), torch.randn(10, 2))
    assert found.value == 2
    assert found.meaning == "all there are: none can be spared"

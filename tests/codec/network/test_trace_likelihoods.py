"""The graph of a walk is the walk: every likelihood, prior and posterior that a file can hold."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.codec.network.walks import LEVELS, data, error, stirred, walked

from lucid.codec.network.trace import trace
from lucid.distributions import (
    Bernoulli,
    Categorical,
    Column,
    DiagonalGaussian,
    DiscretisedLogistic,
    FullCovarianceGaussian,
    MixtureOfLogistics,
    NegativeBinomial,
    OrderedLogistic,
    Poisson,
    ZeroInflatedNegativeBinomial,
)
from lucid.models import DataProtocol, create

LIKELIHOODS = {
    "bernoulli": Bernoulli,
    "logistic": lambda: DiscretisedLogistic(LEVELS),
    "logistic_mixture": lambda: MixtureOfLogistics(LEVELS, channels=3, components=2),
    "categorical": lambda: Categorical(LEVELS),
    "ordered": lambda: OrderedLogistic(LEVELS, features=3),
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
    "zero_inflated": ZeroInflatedNegativeBinomial,
}


@pytest.mark.parametrize("kind", LIKELIHOODS)
@pytest.mark.parametrize("family", ["mlp", "conv"])
def test_every_likelihood(family: str, kind: str) -> None:
    likelihood = LIKELIHOODS[kind]()
    protocol, x = data(likelihood, "image")
    model = stirred(create(family, protocol, size=1, likelihood=likelihood))
    traced = trace(model, x)
    assert traced.layout.likelihood.kind == kind
    assert traced.layout.data.levels == likelihood.levels
    assert traced.layout.likelihood.settings.get("levels") == likelihood.levels
    if kind == "categorical":  # before normalisation
        likelihood_of_x: Any = walked(model, x, traced).likelihood
        logits = traced.graph.evaluate(traced.samples)["x.logits"]
        assert torch.allclose(logits.log_softmax(1), likelihood_of_x.log_mass, atol=1e-10)
        assert not torch.allclose(logits, likelihood_of_x.log_mass, atol=1e-3)
    if kind == "ordered":
        cutpoints = model.likelihood(torch.zeros(1, 3, 5, 4, dtype=torch.float64)).cutpoints
        assert traced.layout.likelihood.constants["cutpoints"].equal(cutpoints)
    assert error(model, x, traced) < 1e-10


@pytest.mark.parametrize("name", ["mixture", "vamp"])
def test_mixture_priors_are_constants(name: str) -> None:
    protocol, x = data(None, "vector")
    model = stirred(create("mlp", protocol, size=1, latents=4, prior=name))
    traced = trace(model, x)
    assert error(model, x, traced) < 1e-10
    prior, z = traced.layout.latents[0].prior, traced.samples["z0"]
    assert prior.kind == "mixture"
    assert not prior.params
    own = walked(model, x, traced).latents[0].prior
    constants = prior.constants
    components = DiagonalGaussian(constants["loc"], constants["logvar"])
    log_prob = (components.log_prob(z.unsqueeze(1)) + constants["log_weights"]).logsumexp(1)
    assert torch.allclose(log_prob, own.log_prob(z), atol=1e-10)


def test_a_posterior_with_a_full_covariance() -> None:
    protocol, x = data(None, "vector")
    model = stirred(create("mlp", protocol, size=1, latents=4, posterior="full"))
    traced = trace(model, x)
    assert error(model, x, traced) < 1e-10
    assert traced.layout.latents[0].posterior.kind == "full_gaussian"
    assert isinstance(walked(model, x, traced).latents[0].posterior, FullCovarianceGaussian)


def test_a_mixture_of_logistics_without_coefficients() -> None:
    likelihood = MixtureOfLogistics(LEVELS, channels=3, components=2, autoregressive=False)
    protocol, x = data(likelihood, "image")
    traced = trace(stirred(create("conv", protocol, size=1, likelihood=likelihood)), x)
    assert set(traced.layout.likelihood.params) == {"logits", "loc", "log_scale"}
    with_all = trace(
        stirred(create("conv", protocol, size=1, likelihood=MixtureOfLogistics(LEVELS, channels=3, components=2))), x
    )
    assert set(with_all.layout.likelihood.params) == {"logits", "loc", "log_scale", "coefficients"}


SCHEMA = (
    Column("visits", "count"),
    Column("smoker", "binary", categories=("no", "yes")),
    Column("colour", "categorical", categories=("red", "green", "blue")),
    Column("grade", "ordinal", categories=("low", "middle", "high", "top")),
    Column("children", "count"),
)


@pytest.mark.parametrize("family", ["mlp", "ladder", "topdown"])
def test_tables_with_missing_values(family: str) -> None:
    """A missing value, NaN for the model, is −1 for the graph."""
    protocol = DataProtocol("toy", "table", (5,), columns=tuple(c.name for c in SCHEMA), schema=SCHEMA)
    x = (torch.rand(9, 5, dtype=torch.float64) * torch.tensor([7.0, 2.0, 3.0, 4.0, 30.0])).floor()
    x[torch.rand(9, 5) < 0.3] = float("nan")
    model = stirred(create(family, protocol, size=1))
    traced = trace(model, x)
    assert error(model, x, traced) < 1e-10
    assert traced.samples["x"].equal(torch.where(x.isnan(), -1.0, x))
    likelihood = traced.layout.likelihood
    assert likelihood.settings["columns"] == [[0, 4], [1], [2], [3]]
    assert [part.kind for part in likelihood.parts] == ["negative_binomial", "bernoulli", "categorical", "categorical"]
    assert traced.layout.data.levels is None

"""Every likelihood trains with every family of models, on images of three channels, on signals and on vectors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lucid.distributions import (
    Bernoulli,
    Categorical,
    DiscretisedLogistic,
    Gaussian,
    HeteroscedasticGaussian,
    Laplace,
    LearnedScaleGaussian,
    Likelihood,
    MixtureOfLogistics,
    NegativeBinomial,
    OptimalScaleGaussian,
    OrderedLogistic,
    Poisson,
    StudentT,
    ZeroInflatedNegativeBinomial,
    likelihoods,
)
from lucid.models import PRESETS, DataProtocol, create

LEVELS = 5
MAKE = {
    "bernoulli": Bernoulli,
    "gaussian": Gaussian,
    "learned_scale": LearnedScaleGaussian,
    "heteroscedastic": HeteroscedasticGaussian,
    "optimal_scale": OptimalScaleGaussian,
    "laplace": Laplace,
    "laplace(emitted)": lambda: Laplace(emitted=True),
    "student_t": StudentT,
    "student_t(emitted)": lambda: StudentT(emitted=True),
    "discretised_logistic": lambda: DiscretisedLogistic(LEVELS),
    "categorical": lambda: Categorical(LEVELS),
    "ordered_logistic": lambda: OrderedLogistic(LEVELS, features=3),
    "mixture_of_logistics": lambda: MixtureOfLogistics(LEVELS, channels=3, components=2),
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
    "zero_inflated": ZeroInflatedNegativeBinomial,
}
SHAPES = {"image": (3, 6, 5), "series": (3, 9), "vector": (3,)}
CASES = [(family, "image") for family in PRESETS] + [("mlp", "series"), ("mlp", "vector")]


def data_for(likelihood: Likelihood, kind: str) -> tuple[DataProtocol, Tensor]:
    """A protocol and 16 examples that the likelihood accepts."""
    shape = SHAPES[kind]
    u = torch.rand(16, *shape, generator=torch.Generator().manual_seed(0))
    levels = likelihood.levels
    if levels is not None:
        x = (u * (levels - 1)).round() / (levels - 1)
    elif isinstance(likelihood, Poisson | NegativeBinomial | ZeroInflatedNegativeBinomial):
        x = (4 * u).round()
    else:
        x = 4 * u - 2
    return DataProtocol(name="toy", kind=kind, shape=shape, levels=levels), x


def test_every_likelihood_is_tried() -> None:
    assert {type(make()).__name__ for make in MAKE.values()} == set(likelihoods.__all__)


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize(("family", "kind"), CASES)
def test_it_trains(family: str, kind: str, name: str) -> None:
    """A few steps lower the loss on what it sees, and reconstructions and samples are of the data's shape and kind."""
    likelihood = MAKE[name]()
    protocol, x = data_for(likelihood, kind)
    model = create(family, protocol, size=1, likelihood=likelihood)
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    losses: list[float] = []
    for step in range(6):
        optimiser.zero_grad()
        loss = -model.elbo(x, generator=torch.Generator().manual_seed(step % 2)).value
        loss.backward()
        for where, parameter in model.named_parameters():
            assert parameter.grad is None or bool(parameter.grad.isfinite().all()), where
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] + losses[-2] < losses[0] + losses[1]
    assert model.reconstruct(x).shape == x.shape
    sample = model.sample(2, noise=True, generator=torch.Generator().manual_seed(1))
    assert sample.shape == (2, *x.shape[1:])
    model.likelihood.check(sample)

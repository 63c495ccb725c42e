"""The likelihoods p(x|z), a thought a file."""

from __future__ import annotations

from lucid.distributions.likelihoods.bernoulli import Bernoulli
from lucid.distributions.likelihoods.counts import NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial
from lucid.distributions.likelihoods.gaussian import (
    Gaussian,
    HeteroscedasticGaussian,
    LearnedScaleGaussian,
    OptimalScaleGaussian,
)
from lucid.distributions.likelihoods.grid import Categorical, DiscretisedLogistic
from lucid.distributions.likelihoods.heavy_tailed import Laplace, StudentT
from lucid.distributions.likelihoods.mixture import MixtureOfLogistics
from lucid.distributions.likelihoods.ordinal import OrderedLogistic

__all__ = [
    "Bernoulli",
    "Categorical",
    "DiscretisedLogistic",
    "Gaussian",
    "HeteroscedasticGaussian",
    "Laplace",
    "LearnedScaleGaussian",
    "MixtureOfLogistics",
    "NegativeBinomial",
    "OptimalScaleGaussian",
    "OrderedLogistic",
    "Poisson",
    "StudentT",
    "ZeroInflatedNegativeBinomial",
]

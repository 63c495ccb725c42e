"""Densities PyTorch lacks, and the likelihoods p(x|z). Everything is in nats.

All speak the interface of `torch.distributions` (`rsample`, `log_prob`, `kl_divergence`), so parts of that ecosystem
drop in.
"""

from __future__ import annotations

from lucid.distributions.bounds import bounded_loc, bounded_logvar, smooth_clamp
from lucid.distributions.discrete import BernoulliLogits, CategoricalGrid, DiscretisedLogisticGrid
from lucid.distributions.factorised import Factorised, at_least_float32, draw, tempered
from lucid.distributions.gaussian import DiagonalGaussian, IsotropicGaussian, StandardNormal
from lucid.distributions.likelihood import Likelihood
from lucid.distributions.likelihoods import (
    Bernoulli,
    Categorical,
    DiscretisedLogistic,
    Gaussian,
    HeteroscedasticGaussian,
    LearnedScaleGaussian,
    OptimalScaleGaussian,
)
from lucid.distributions.posterior import Posterior
from lucid.distributions.prior import Infer, Prior
from lucid.distributions.streams import Rows, Stream

__all__ = [
    "Bernoulli",
    "BernoulliLogits",
    "Categorical",
    "CategoricalGrid",
    "DiagonalGaussian",
    "DiscretisedLogistic",
    "DiscretisedLogisticGrid",
    "Factorised",
    "Gaussian",
    "HeteroscedasticGaussian",
    "Infer",
    "IsotropicGaussian",
    "LearnedScaleGaussian",
    "Likelihood",
    "OptimalScaleGaussian",
    "Posterior",
    "Prior",
    "Rows",
    "StandardNormal",
    "Stream",
    "at_least_float32",
    "bounded_loc",
    "bounded_logvar",
    "draw",
    "smooth_clamp",
    "tempered",
]

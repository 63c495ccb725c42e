"""Densities PyTorch lacks, and the likelihoods p(x|z). Everything is in nats.

All speak the interface of `torch.distributions` (`rsample`, `log_prob`, `kl_divergence`), so parts of that ecosystem
drop in.
"""

from __future__ import annotations

from lucid.distributions.bounds import bounded_loc, bounded_logvar, smooth_clamp
from lucid.distributions.column import Column
from lucid.distributions.counts import NegativeBinomialCounts, PoissonCounts, ZeroInflatedCounts
from lucid.distributions.discrete import BernoulliLogits, CategoricalGrid, DiscretisedLogisticGrid
from lucid.distributions.drawn import Drawn
from lucid.distributions.factorised import Factorised, at_least_float32, draw, tempered
from lucid.distributions.flow import FlowDensity
from lucid.distributions.gaussian import DiagonalGaussian, IsotropicGaussian, StandardNormal
from lucid.distributions.heavy_tailed import LaplaceDensity, StudentTDensity
from lucid.distributions.kl import kl_per_feature
from lucid.distributions.likelihood import Likelihood
from lucid.distributions.likelihoods import (
    Bernoulli,
    Categorical,
    DiscretisedLogistic,
    Gaussian,
    HeteroscedasticGaussian,
    Laplace,
    LearnedScaleGaussian,
    MixtureOfLogistics,
    NegativeBinomial,
    OptimalScaleGaussian,
    OrderedLogistic,
    Poisson,
    StudentT,
    ZeroInflatedNegativeBinomial,
)
from lucid.distributions.likelihoods.table import TableLikelihood
from lucid.distributions.logistic_mixture import LogisticMixtureGrid
from lucid.distributions.mixture import Mixture
from lucid.distributions.multivariate import FullCovarianceGaussian
from lucid.distributions.ordinal import OrderedLogisticGrid
from lucid.distributions.posterior import Posterior
from lucid.distributions.posteriors import DiagonalPosterior, FlowPosterior, FullCovariancePosterior
from lucid.distributions.prior import Infer, Prior
from lucid.distributions.priors import FlowPrior, MixturePrior, StandardNormalPrior, VampPrior
from lucid.distributions.streams import Rows, Stream
from lucid.distributions.table import CategoryNumbers, TableColumns

__all__ = [
    "Bernoulli",
    "BernoulliLogits",
    "Categorical",
    "CategoricalGrid",
    "CategoryNumbers",
    "Column",
    "DiagonalGaussian",
    "DiagonalPosterior",
    "DiscretisedLogistic",
    "DiscretisedLogisticGrid",
    "Drawn",
    "Factorised",
    "FlowDensity",
    "FlowPosterior",
    "FlowPrior",
    "FullCovarianceGaussian",
    "FullCovariancePosterior",
    "Gaussian",
    "HeteroscedasticGaussian",
    "Infer",
    "IsotropicGaussian",
    "Laplace",
    "LaplaceDensity",
    "LearnedScaleGaussian",
    "Likelihood",
    "LogisticMixtureGrid",
    "Mixture",
    "MixtureOfLogistics",
    "MixturePrior",
    "NegativeBinomial",
    "NegativeBinomialCounts",
    "OptimalScaleGaussian",
    "OrderedLogistic",
    "OrderedLogisticGrid",
    "Poisson",
    "PoissonCounts",
    "Posterior",
    "Prior",
    "Rows",
    "StandardNormal",
    "StandardNormalPrior",
    "Stream",
    "StudentT",
    "StudentTDensity",
    "TableColumns",
    "TableLikelihood",
    "VampPrior",
    "ZeroInflatedCounts",
    "ZeroInflatedNegativeBinomial",
    "at_least_float32",
    "bounded_loc",
    "bounded_logvar",
    "draw",
    "kl_per_feature",
    "smooth_clamp",
    "tempered",
]

"""Variational autoencoders: `VAEConfig` and `VAE`, the walk that every family exposes, and named presets."""

from __future__ import annotations

from lucid.distributions import Column as _Column
from lucid.distributions import TableLikelihood as _TableLikelihood
from lucid.distributions import likelihoods as _likelihoods
from lucid.distributions import posteriors as _posteriors
from lucid.distributions import priors as _priors
from lucid.io import register as _register
from lucid.models.base import LatentModel, evaluating
from lucid.models.bounds import ElboEstimate, Estimate, ImportanceEstimate, importance_weighted
from lucid.models.condition import Condition
from lucid.models.config import VAEConfig
from lucid.models.configured import ConfiguredModel
from lucid.models.fixed_api import Encoded, FixedAPI, VAEOutput
from lucid.models.imputation import Imputation
from lucid.models.ladder import LadderVAE
from lucid.models.loss import Loss, WeightedLoss, valid_beta, weighted_loss
from lucid.models.named_parts import POSTERIORS, PRIORS, PosteriorMaker, PriorMaker
from lucid.models.presets import PRESETS, create, default_likelihood
from lucid.models.protocol import DataProtocol
from lucid.models.topdown import Stage, TopDownConfig, TopDownVAE, topdown_preset
from lucid.models.vae import VAE
from lucid.models.walk import Latent, Record, Walk, draws, drive, given, means

__all__ = [
    "POSTERIORS",
    "PRESETS",
    "PRIORS",
    "VAE",
    "Condition",
    "ConfiguredModel",
    "DataProtocol",
    "ElboEstimate",
    "Encoded",
    "Estimate",
    "FixedAPI",
    "ImportanceEstimate",
    "Imputation",
    "LadderVAE",
    "Latent",
    "LatentModel",
    "Loss",
    "PosteriorMaker",
    "PriorMaker",
    "Record",
    "Stage",
    "TopDownConfig",
    "TopDownVAE",
    "VAEConfig",
    "VAEOutput",
    "Walk",
    "WeightedLoss",
    "create",
    "default_likelihood",
    "draws",
    "drive",
    "evaluating",
    "given",
    "importance_weighted",
    "means",
    "topdown_preset",
    "valid_beta",
    "weighted_loss",
]

# Likelihoods, priors and posteriors stand on one row with io, which cannot know them: this room introduces them.
for _parts in (_likelihoods, _priors, _posteriors):
    for _name in _parts.__all__:
        _register(getattr(_parts, _name))
_register(_Column)
_register(_TableLikelihood)

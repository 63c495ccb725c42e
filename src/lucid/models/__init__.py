"""Variational autoencoders: `VAEConfig` and `VAE`, the walk that every family exposes, and named presets."""

from __future__ import annotations

from lucid.distributions import likelihoods as _likelihoods
from lucid.io import register as _register
from lucid.models.base import LatentModel, evaluating
from lucid.models.bounds import ElboEstimate, Estimate, ImportanceEstimate, importance_weighted
from lucid.models.config import VAEConfig
from lucid.models.loss import Loss, WeightedLoss, valid_beta, weighted_loss
from lucid.models.presets import PRESETS, create, default_likelihood
from lucid.models.protocol import DataProtocol
from lucid.models.vae import VAE, Encoded, VAEOutput
from lucid.models.walk import Latent, Record, Walk, draws, drive, given, means

__all__ = [
    "PRESETS",
    "VAE",
    "DataProtocol",
    "ElboEstimate",
    "Encoded",
    "Estimate",
    "ImportanceEstimate",
    "Latent",
    "LatentModel",
    "Loss",
    "Record",
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
    "valid_beta",
    "weighted_loss",
]

# Likelihoods stand on one row with io, which therefore cannot know them: this room introduces them.
for _name in _likelihoods.__all__:
    _register(getattr(_likelihoods, _name))

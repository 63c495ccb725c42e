"""The priors p(z) of the deepest latent, one file each."""

from __future__ import annotations

from lucid.distributions.priors.flow import FlowPrior
from lucid.distributions.priors.mixture import MixturePrior
from lucid.distributions.priors.standard import StandardNormalPrior
from lucid.distributions.priors.vamp import VampPrior

__all__ = ["FlowPrior", "MixturePrior", "StandardNormalPrior", "VampPrior"]

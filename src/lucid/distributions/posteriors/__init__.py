"""The posteriors q(z|x), one file each."""

from __future__ import annotations

from lucid.distributions.posteriors.diagonal import DiagonalPosterior
from lucid.distributions.posteriors.flow import FlowPosterior
from lucid.distributions.posteriors.full import FullCovariancePosterior

__all__ = ["DiagonalPosterior", "FlowPosterior", "FullCovariancePosterior"]

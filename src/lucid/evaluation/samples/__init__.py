"""Samples beside data: Fréchet distance, density, coverage, precision and recall in a named feature space."""

from __future__ import annotations

from lucid.evaluation.samples.features import SPACES, FeatureSpace, feature_space
from lucid.evaluation.samples.frechet import frechet_between_gaussians, frechet_distance
from lucid.evaluation.samples.measure import sample_figures
from lucid.evaluation.samples.neighbours import Neighbourhoods, density_and_coverage, expected_coverage

__all__ = [
    "SPACES",
    "FeatureSpace",
    "Neighbourhoods",
    "density_and_coverage",
    "expected_coverage",
    "feature_space",
    "frechet_between_gaussians",
    "frechet_distance",
    "sample_figures",
]

"""Measuring a model: bounds, importance-weighted likelihood, what its latents carry; all in nats per example.

`evaluate(model, split)` measures all of it in one pass; the result says which estimator each figure is from, from how
many draws, and its standard error over the examples.
"""

from __future__ import annotations

from lucid.evaluation.aggregate import AggregateGap, DeepestLatent, aggregate_gap, deepest_latents
from lucid.evaluation.ais import Annealed, Sandwich, annealed, sandwiched
from lucid.evaluation.ais_figures import ais_figures
from lucid.evaluation.annealing import Annealing
from lucid.evaluation.disentanglement import Factors, disentanglement_figures, disentanglement_scores
from lucid.evaluation.examples import Batches, examples_of
from lucid.evaluation.figure import Figure
from lucid.evaluation.further import FURTHER, SEEDED, Further, Material, further_figures, parts_named
from lucid.evaluation.information import information_figures
from lucid.evaluation.latents import ACTIVE_THRESHOLD, LatentStatistics, UnitStatistics, unit_statistics
from lucid.evaluation.linear import Labelled
from lucid.evaluation.measure import evaluate
from lucid.evaluation.moments import Moments
from lucid.evaluation.probe import linear_probe, probe_figures
from lucid.evaluation.repeated import over_seeds
from lucid.evaluation.representations import Representations, represent
from lucid.evaluation.result import Evaluation, Measurement, Row
from lucid.evaluation.samples import FeatureSpace, sample_figures
from lucid.evaluation.sharing import Team
from lucid.evaluation.units import unit_figures
from lucid.evaluation.use import COLLAPSED_BELOW, Carried, LevelUse, Use, measure_carried, measure_use

__all__ = [
    "ACTIVE_THRESHOLD",
    "COLLAPSED_BELOW",
    "FURTHER",
    "SEEDED",
    "AggregateGap",
    "Annealed",
    "Annealing",
    "Batches",
    "Carried",
    "DeepestLatent",
    "Evaluation",
    "Factors",
    "FeatureSpace",
    "Figure",
    "Further",
    "Labelled",
    "LatentStatistics",
    "LevelUse",
    "Material",
    "Measurement",
    "Moments",
    "Representations",
    "Row",
    "Sandwich",
    "Team",
    "UnitStatistics",
    "Use",
    "aggregate_gap",
    "ais_figures",
    "annealed",
    "deepest_latents",
    "disentanglement_figures",
    "disentanglement_scores",
    "evaluate",
    "examples_of",
    "further_figures",
    "information_figures",
    "linear_probe",
    "measure_carried",
    "measure_use",
    "over_seeds",
    "parts_named",
    "probe_figures",
    "represent",
    "sample_figures",
    "sandwiched",
    "unit_figures",
    "unit_statistics",
]

"""Measuring a model: bounds, importance-weighted likelihood, what its latents carry; all in nats per example.

`evaluate(model, split)` measures all of it in one pass; the result says which estimator each figure is from, from how
many draws, and its standard error over the examples.
"""

from __future__ import annotations

from lucid.evaluation.aggregate import AggregateGap, DeepestLatent, aggregate_gap, deepest_latents
from lucid.evaluation.latents import ACTIVE_THRESHOLD, LatentStatistics, UnitStatistics, unit_statistics
from lucid.evaluation.measure import Batches, evaluate, examples_of
from lucid.evaluation.moments import Moments
from lucid.evaluation.result import Evaluation, Measurement, Row
from lucid.evaluation.use import COLLAPSED_BELOW, Carried, LevelUse, Use, measure_carried, measure_use

__all__ = [
    "ACTIVE_THRESHOLD",
    "COLLAPSED_BELOW",
    "AggregateGap",
    "Batches",
    "Carried",
    "DeepestLatent",
    "Evaluation",
    "LatentStatistics",
    "LevelUse",
    "Measurement",
    "Moments",
    "Row",
    "UnitStatistics",
    "Use",
    "aggregate_gap",
    "deepest_latents",
    "evaluate",
    "examples_of",
    "measure_carried",
    "measure_use",
    "unit_statistics",
]

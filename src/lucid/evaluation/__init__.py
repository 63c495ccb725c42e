"""Measuring a model: bounds, importance-weighted likelihood, what its latents carry; all in nats per example.

`evaluate(model, split)` measures all of it in one pass; the result says which estimator each figure is from, from how
many draws, and its standard error over the examples.
"""

from __future__ import annotations

from lucid.evaluation.latents import ACTIVE_THRESHOLD, LatentStatistics, UnitStatistics, unit_statistics
from lucid.evaluation.measure import Batches, evaluate
from lucid.evaluation.moments import Moments
from lucid.evaluation.result import Evaluation, Measurement, Row

__all__ = [
    "ACTIVE_THRESHOLD",
    "Batches",
    "Evaluation",
    "LatentStatistics",
    "Measurement",
    "Moments",
    "Row",
    "UnitStatistics",
    "evaluate",
    "unit_statistics",
]

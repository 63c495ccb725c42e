"""What training minimises: the β-weighted ELBO, and the schedules of β."""

from __future__ import annotations

from lucid.objectives.objective import ELBO, Objective, Terms, objective_of
from lucid.objectives.schedules import Constant, Cosine, Cyclical, Linear, Schedule, Sigmoid

__all__ = [
    "ELBO",
    "Constant",
    "Cosine",
    "Cyclical",
    "Linear",
    "Objective",
    "Schedule",
    "Sigmoid",
    "Terms",
    "objective_of",
]

"""What training minimises: the β-weighted ELBO, its relatives, and the schedules of β."""

from __future__ import annotations

from lucid.models.schedules import Constant, Cosine, Cyclical, Linear, Schedule, Sigmoid
from lucid.objectives.balancing import KLBalancing
from lucid.objectives.capacity import Capacity
from lucid.objectives.dreg import DReG
from lucid.objectives.elbo import ELBO, objective_of
from lucid.objectives.free_bits import FreeBits
from lucid.objectives.geco import GECO
from lucid.objectives.importance import CIWAE, IWAE, MIWAE
from lucid.objectives.mmd import InfoVAE, squared_mmd
from lucid.objectives.objective import Objective, Scheduled, Terms, figures_of, record_of
from lucid.objectives.total_correlation import BetaTC, minibatch_log_weights

__all__ = [
    "CIWAE",
    "ELBO",
    "GECO",
    "IWAE",
    "MIWAE",
    "BetaTC",
    "Capacity",
    "Constant",
    "Cosine",
    "Cyclical",
    "DReG",
    "FreeBits",
    "InfoVAE",
    "KLBalancing",
    "Linear",
    "Objective",
    "Schedule",
    "Scheduled",
    "Sigmoid",
    "Terms",
    "figures_of",
    "minibatch_log_weights",
    "objective_of",
    "record_of",
    "squared_mmd",
]

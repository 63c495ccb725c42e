"""Disentanglement: is each factor of variation told by one latent unit, and does each unit tell of one factor?

Five scores, each by the protocol of its paper with the settings of the large comparative study (Locatello et al. 2019,
https://arxiv.org/abs/1811.12359), of a matrix of representations or of a model's posterior means.
"""

from __future__ import annotations

from lucid.evaluation.disentanglement.checks import undefined
from lucid.evaluation.disentanglement.dci import Predictor, boosted_trees, dci
from lucid.evaluation.disentanglement.factor_vae import factor_vae_score
from lucid.evaluation.disentanglement.factors import Factors
from lucid.evaluation.disentanglement.measure import disentanglement_figures, disentanglement_scores
from lucid.evaluation.disentanglement.mig import mig
from lucid.evaluation.disentanglement.modularity import modularity
from lucid.evaluation.disentanglement.sap import sap

__all__ = [
    "Factors",
    "Predictor",
    "boosted_trees",
    "dci",
    "disentanglement_figures",
    "disentanglement_scores",
    "factor_vae_score",
    "mig",
    "modularity",
    "sap",
    "undefined",
]

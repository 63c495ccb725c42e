"""What a score needs: matching rows, and enough units and factors to compare."""

from __future__ import annotations

import torch
from torch import Tensor

from lucid.evaluation.disentanglement.factors import Factors
from lucid.evaluation.disentanglement.resampling import check_num_resamples

__all__ = ["check_pair", "needs", "undefined"]

_UNITS = {
    "MIG": "it compares the unit that tells most of a factor with the next",
    "SAP": "it compares the unit that predicts a factor best with the next",
    "DCI completeness": "it asks over how many units a factor is spread",
}
_FACTORS = {
    "DCI disentanglement": "it asks over how many factors a unit is spread",
    "modularity": "it asks whether a unit tells of one factor or of several",
    "FactorVAE score": "it guesses which of the factors was held fixed",
}


def check_pair(z: Tensor, factors: Factors, num_resamples: int) -> None:
    """Refuse representations that are not those of the factors' examples."""
    if not isinstance(factors, Factors):
        raise TypeError(f"factors must be Factors(values), which say what their values mean; received {type(factors)}")
    if z.dim() != 2 or z.shape[1] == 0:
        raise ValueError(f"representations must be (examples, units); received shape {tuple(z.shape)}")
    if len(z) != factors.num_examples:
        raise ValueError(
            f"there must be factors for each example; received {len(z):,} representations and "
            f"{factors.num_examples:,} rows of factors"
        )
    if not bool(torch.isfinite(z).all()):
        raise FloatingPointError("the representations are not finite: look at the model's weights")
    check_num_resamples(num_resamples)


def undefined(num_units: int, num_factors: int) -> dict[str, str]:
    """The scores that mean nothing for so many units and factors, each with the reason.

    Example:
        >>> undefined(10, 1)["modularity"]
        'modularity needs at least 2 factors, for it asks whether a unit tells of one factor or of several; there is 1'
    """
    found: dict[str, str] = {}
    for what, number, reasons in (("units", num_units, _UNITS), ("factors", num_factors, _FACTORS)):
        if number < 2:
            found |= {
                score: f"{score} needs at least 2 {what}, for {why}; there is 1" for score, why in reasons.items()
            }
    return found


def needs(score: str, *, units: int = 2, factors: int = 2) -> None:
    """Refuse a score that means nothing for so many units and factors."""
    why = undefined(units, factors).get(score)
    if why is not None:
        raise ValueError(why)

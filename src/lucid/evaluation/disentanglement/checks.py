"""What a score needs: matching rows, and enough units and factors to compare."""

from __future__ import annotations

import torch
from torch import Tensor

from lucid.evaluation.disentanglement.factors import NUM_BINS, Factors
from lucid.evaluation.disentanglement.resampling import check_num_resamples

__all__ = ["LEAST_OCCURRENCES", "check_pair", "needs", "undefined"]

LEAST_OCCURRENCES = 5
"""Examples of each value of a factor: with 5 a bootstrap resample lacks the value with probability exp(−5)."""

_WHY = "so that fitting, measuring and all but 1 of 150 bootstrap resamples meet some"

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
    _check_occurrences(factors)
    check_num_resamples(num_resamples)


def _check_occurrences(factors: Factors) -> None:
    """Refuse a factor of which too few examples say how it shows in the representations."""
    for factor, name in enumerate(factors.names):
        counts = factors.code(factor).bincount()
        if factors.is_continuous(factor):
            apart = int(counts.sum() - counts.max())
            if apart < LEAST_OCCURRENCES:
                raise ValueError(
                    f"{name} has all but {apart} of {int(counts.sum()):,} examples in one of {NUM_BINS} bins of equal "
                    f"width, and scores need {LEAST_OCCURRENCES} outside it, {_WHY}: leave out the outliers or "
                    "transform the quantity, by its logarithm or its rank"
                )
        elif int(counts.min()) < LEAST_OCCURRENCES:
            rare = int(counts.argmin())
            value = float(factors.values[factors.code(factor) == rare, factor][0])
            raise ValueError(
                f"{name} takes the value {value:g} in {int(counts[rare])} of {int(counts.sum()):,} examples, and "
                f"scores need {LEAST_OCCURRENCES} of each value, {_WHY}: give more examples, leave those few out, "
                "or join the value with another"
            )


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

"""Disentanglement, completeness and informativeness, from what predictors of the factors lean on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lucid.evaluation.disentanglement.checks import check_pair, undefined
from lucid.evaluation.disentanglement.factors import Factors
from lucid.evaluation.disentanglement.resampling import resampled_rows, spread, two_parts
from lucid.evaluation.figure import Figure

__all__ = ["Predictor", "boosted_trees", "completeness", "dci", "disentanglement", "fit_all"]

Predictor = Callable[[bool, int], Any]
"""Called with whether the factor is continuous and a seed; returns a regressor or classifier of scikit-learn's kind,
with `fit`, `score` and, once fitted, `feature_importances_`."""


def boosted_trees(continuous: bool, seed: int) -> Any:
    """Gradient-boosted trees as scikit-learn sets them up: 100 rounds of depth 3, rate 0.1, as the field has used."""
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

    return (GradientBoostingRegressor if continuous else GradientBoostingClassifier)(random_state=seed)


def dci(
    z: Tensor,
    factors: Factors,
    *,
    seed: int = 0,
    num_resamples: int = 5,
    predictor: Predictor = boosted_trees,
) -> list[Figure]:
    r"""How the importance of units for factors is spread, and how well the factors are predicted at all.

    With :math:`R_{ij}` the importance of unit i in the predictor of factor j, columns summing to one,
    :math:`P_{ij} = R_{ij} / \sum_j R_{ij}` and :math:`\tilde P_{ij} = R_{ij} / \sum_i R_{ij}`:

    .. math:: D = \sum_i \rho_i \left(1 - H_F(P_{i\cdot})\right), \quad
              C = \sum_j \kappa_j \left(1 - H_U(\tilde P_{\cdot j})\right)

    with entropies to the base of their number of outcomes, and weights ρ, κ in proportion to a row's or column's share
    of all importance. Informativeness is the accuracy on examples not fitted on (R² for a continuous factor), averaged
    over the factors. The paper's predictors are lassos and random forests; what became the common protocol, and is the
    default here, are boosted trees on 10,000 examples, measured on 5,000: here two thirds and one third.

    Eastwood, Williams: A Framework for the Quantitative Evaluation of Disentangled Representations, 2018,
    https://openreview.net/forum?id=By-7dz-AZ.

    Args:
        z: Representations, (N, U).
        factors: Of the same examples.
        seed: Of the division, the predictors and the resamples.
        num_resamples: Bootstrap resamples of the examples, with predictors fitted anew for each, so that few are
            affordable; 0 for no standard error.
        predictor: Makes the predictor of one factor.

    Returns:
        Disentanglement (with at least two factors), completeness (with at least two units), informativeness.

    Raises:
        ValueError: If the rows do not agree.

    Example:
        >>> import torch
        >>> v = torch.cartesian_prod(torch.arange(3), torch.arange(3)).repeat(20, 1)
        >>> [round(figure.value, 3) for figure in dci(v.float(), Factors(v), num_resamples=0)]
        [1.0, 1.0, 1.0]
    """
    check_pair(z, factors, num_resamples)
    stream = torch.Generator().manual_seed(seed)
    codes = factors.codes
    train, test = two_parts(codes, stream)
    fits = [fit_all(z, factors, train, test, predictor, seed)]
    for _ in range(num_resamples):
        rows = train[resampled_rows(codes[train], stream)], test[resampled_rows(codes[test], stream)]
        fits.append(fit_all(z, factors, *rows, predictor, seed))
    importance = torch.stack([fit.importance for fit in fits])
    found = {
        "DCI disentanglement": (disentanglement(importance), "1: each unit matters for one factor alone"),
        "DCI completeness": (completeness(importance), "1: each factor is predicted from one unit alone"),
        "DCI informativeness": (
            torch.tensor([fit.score for fit in fits], dtype=torch.float64),
            "how well the factors are predicted from all units together",
        ),
    }
    left_out = undefined(z.shape[1], factors.num_factors)
    return [
        _figure(name, scores, meaning, (len(z), len(train), len(test)), seed, fits[0])
        for name, (scores, meaning) in found.items()
        if name not in left_out
    ]


def disentanglement(importance: Tensor) -> Tensor:
    """D of tables of importance (..., U, F), each row weighted by its share of all importance."""
    return _concentrated(importance)


def completeness(importance: Tensor) -> Tensor:
    """C of tables of importance (..., U, F), each column weighted by its share of all importance."""
    return _concentrated(importance.transpose(-1, -2))


def _concentrated(table: Tensor) -> Tensor:
    """1 less the entropy of each row to the base of its length, averaged by what the row holds; 0 of an empty table."""
    held = table.sum(-1)
    p = table / torch.where(held > 0, held, 1.0)[..., None]
    entropy = -torch.xlogy(p, p).sum(-1) / math.log(max(2, table.shape[-1]))
    whole = held.sum(-1)
    return ((1 - entropy) * held).sum(-1) / torch.where(whole > 0, whole, 1.0)


class Predicted(NamedTuple):
    """What the predictors of all factors lean on, and how good they are.

    Attributes:
        importance: Of the units, (U, F), not negative.
        score: On the test rows, averaged over the factors.
        scores: Of each factor.
    """

    importance: Tensor
    score: float
    scores: list[float]


def fit_all(z: Tensor, factors: Factors, train: Tensor, test: Tensor, predictor: Predictor, seed: int) -> Predicted:
    """Fit a predictor of each factor on the train rows, and score it on the test rows."""
    columns: list[Tensor] = []
    scores: list[float] = []
    inputs = z.double().numpy()
    for factor in range(factors.num_factors):
        continuous = factors.is_continuous(factor)
        target = (factors.values[:, factor] if continuous else factors.code(factor)).numpy()
        fitted = predictor(continuous, seed)
        fitted.fit(inputs[train.numpy()], target[train.numpy()])
        columns.append(torch.as_tensor(fitted.feature_importances_, dtype=torch.float64).abs())
        scores.append(float(fitted.score(inputs[test.numpy()], target[test.numpy()])))
    return Predicted(torch.stack(columns, 1), sum(scores) / len(scores), scores)


def _figure(
    name: str, scores: Tensor, meaning: str, sizes: tuple[int, int, int], seed: int, first: Predicted
) -> Figure:
    value, error = spread(scores)
    informative = name == "DCI informativeness"
    details = {"scores": first.scores} if informative else {"importance": first.importance.tolist()}
    examples, train, test = sizes
    return Figure(
        name=name,
        value=value,
        standard_error=error,
        unit="accuracy or R²" if informative else "score in [0, 1]",
        estimator=f"predictors fitted on {train:,} examples, measured on {test:,}; {_of_the_error(len(scores) - 1)}",
        num_samples=None,
        num_examples=examples,
        seed=seed,
        split="arrays",
        protocol="not declared",
        meaning=meaning,
        details=details,
    )


def _of_the_error(resamples: int) -> str:
    if resamples == 0:
        return "no error: each bootstrap resample fits all predictors anew, and none was asked for (dci_resamples)"
    return f"error: {resamples} bootstrap resamples, fitted anew"

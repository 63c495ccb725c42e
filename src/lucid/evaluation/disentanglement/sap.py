"""The separated attribute predictability score: is a factor predicted by one unit, or by several?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lucid.evaluation.disentanglement.checks import check_pair, needs
from lucid.evaluation.disentanglement.factors import Factors
from lucid.evaluation.disentanglement.resampling import spread, two_parts, weights
from lucid.evaluation.figure import Figure

__all__ = ["predictability", "sap"]


def sap(z: Tensor, factors: Factors, *, seed: int = 0, num_resamples: int = 100) -> Figure:
    r"""The gap between the unit that predicts a factor best and the next, averaged over the factors.

    .. math:: \frac1F \sum_j \left( S_{i^*j} - \max_{i \ne i^*} S_{ij} \right)

    :math:`S_{ij}` is the accuracy, on examples not fitted on, with which a linear support vector machine (C = 0.01,
    classes weighted alike) tells the value of factor j from unit i; for a continuous factor their squared correlation.
    Published protocol: posterior means, 10,000 examples to fit and 5,000 to measure; here two thirds and one third.

    Kumar, Sattigeri, Balakrishnan: Variational Inference of Disentangled Latent Concepts from Unlabeled Observations,
    2018, https://arxiv.org/abs/1711.00848.

    Args:
        z: Representations, (N, U), U ≥ 2.
        factors: Of the same examples.
        seed: Of the division into two parts and of the resamples.
        num_resamples: Bootstrap resamples of the examples measured on, the classifiers as they were fitted; 0 for no
            standard error.

    Returns:
        The score in [0, 1], with that of each factor in `details`.

    Raises:
        ValueError: If the rows do not agree, or there is one unit only.

    Example:
        >>> import torch
        >>> v = torch.cartesian_prod(torch.arange(2), torch.arange(2)).repeat(50, 1)
        >>> found = sap(v.float(), Factors(v))  # one unit is right always, the other by chance
        >>> 0.3 < found.value < 0.7
        True
    """
    check_pair(z, factors, num_resamples)
    needs("SAP", units=z.shape[1])
    stream = torch.Generator().manual_seed(seed)
    train, test = two_parts(factors.codes, stream)
    drawn = weights(factors.codes[test], num_resamples, stream).double()
    scores = torch.stack(
        [predictability(z.double(), factors, factor, train, test, drawn) for factor in range(factors.num_factors)], 2
    )
    best, second = scores.topk(2, dim=1).values.unbind(1)
    gaps = best - second
    value, error = spread(gaps.mean(1))
    return Figure(
        name="SAP",
        value=value,
        standard_error=error,
        unit="score in [0, 1]",
        estimator=(
            f"linear support vector machines on one unit each, fitted on {len(train):,} examples; error: "
            f"{num_resamples} bootstrap resamples of the {len(test):,} measured on"
        ),
        num_samples=None,
        num_examples=len(z),
        seed=seed,
        split="arrays",
        protocol="not declared",
        meaning="how much better the best unit predicts a factor than the next best; 0: two are as good, or none is",
        details={"factors": dict(zip(factors.names, gaps[0].tolist(), strict=True)), "num_units": z.shape[1]},
    )


def predictability(z: Tensor, factors: Factors, factor: int, train: Tensor, test: Tensor, drawn: Tensor) -> Tensor:
    """How well each unit predicts one factor on the test rows, for each weighting of these, (R, U).

    Args:
        z: Representations, (N, U) float64.
        factors: Of the same examples.
        factor: Which of them.
        train: Rows to fit on.
        test: Rows to measure on.
        drawn: How often each test row counts, (R, len(test)) float64.
    """
    if factors.is_continuous(factor):
        return _squared_correlation(z[test], factors.values[test, factor], drawn)
    code = factors.code(factor)
    right = torch.stack([_right(unit[train], code[train], unit[test], code[test]) for unit in z.unbind(1)], 1)
    return drawn @ right.double() / drawn.sum(1, keepdim=True)


def _right(fit_on: Tensor, fit_to: Tensor, unit: Tensor, truth: Tensor) -> Tensor:
    """Whether the value of a factor is predicted from one unit, for each test row."""
    from sklearn import svm

    make: Any = svm.LinearSVC
    # The primal problem has the optimum of the dual one, and is solved without random numbers.
    classifier = make(C=0.01, class_weight="balanced", dual=False)
    classifier.fit(fit_on[:, None].numpy(), fit_to.numpy())
    return torch.from_numpy(classifier.predict(unit[:, None].numpy())) == truth


def _squared_correlation(z: Tensor, value: Tensor, drawn: Tensor) -> Tensor:
    share = drawn / drawn.sum(1, keepdim=True)
    # Moments about the mean of all rows, so that what cancels is small.
    z, value = z - z.mean(0), value - value.mean()
    mean_z, mean_v = share @ z, (share @ value)[:, None]
    covariance = share @ (z * value[:, None]) - mean_z * mean_v
    variance_z = share @ z.square() - mean_z.square()
    variance_v = (share @ value.square())[:, None] - mean_v.square()
    constant = variance_z < 1e-12
    return torch.where(constant, 0.0, covariance.square() / torch.where(constant, 1.0, variance_z) / variance_v)

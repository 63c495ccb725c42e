"""Modularity: does a unit tell of one factor alone?"""

from __future__ import annotations

import torch
from torch import Tensor

from lucid.evaluation.disentanglement.checks import check_pair, needs
from lucid.evaluation.disentanglement.factors import NUM_BINS, Factors
from lucid.evaluation.disentanglement.mutual_information import Information, information_table
from lucid.evaluation.disentanglement.resampling import spread, weights
from lucid.evaluation.figure import Figure

__all__ = ["modularity", "unit_modularity"]


def modularity(z: Tensor, factors: Factors, *, seed: int = 0, num_resamples: int = 100) -> Figure:
    r"""How far each unit is from telling of several factors alike, averaged over the units.

    .. math:: 1 - \frac1U \sum_i \frac{\sum_{j \ne j^*} I(z_i; v_j)^2}{(F - 1)\, I(z_i; v_{j^*})^2}

    Published protocol: posterior means, 20 bins of equal width, 10,000 examples. A unit that tells nothing at all
    counts 0; one that tells nothing but the noise of few examples counts as that noise happens to fall.

    Ridgeway, Mozer: Learning Deep Disentangled Embeddings with the F-Statistic Loss, 2018,
    https://arxiv.org/abs/1802.05312.

    Args:
        z: Representations, (N, U).
        factors: Of the same examples, at least two.
        seed: Of the resamples.
        num_resamples: Bootstrap resamples of the examples; 0 for no standard error.

    Returns:
        The score in [0, 1], with that of each unit in `details`.

    Raises:
        ValueError: If the rows do not agree, or there is one factor only.

    Example:
        >>> import torch
        >>> v = torch.cartesian_prod(torch.arange(4), torch.arange(4)).repeat(10, 1)
        >>> round(modularity(v.float(), Factors(v)).value, 6)
        1.0
    """
    check_pair(z, factors, num_resamples)
    needs("modularity", factors=factors.num_factors)
    stream = torch.Generator().manual_seed(seed)
    table = information_table(z, factors, weights(factors.codes, num_resamples, stream))
    of_units = unit_modularity(table)
    value, error = spread(of_units.mean(1))
    return Figure(
        name="modularity",
        value=value,
        standard_error=error,
        unit="score in [0, 1]",
        estimator=f"frequencies in {NUM_BINS} bins of equal width; error: {num_resamples} bootstrap resamples",
        num_samples=None,
        num_examples=len(z),
        seed=seed,
        split="arrays",
        protocol="not declared",
        meaning="1: each unit tells of one factor alone; 0: of all alike, or of none",
        details={"units": of_units[0].tolist()},
    )


def unit_modularity(table: Information) -> Tensor:
    """The modularity of each unit, (R, U)."""
    squared = table.units.square()
    greatest = squared.amax(2)
    others = squared.sum(2) - greatest
    # Below the rounding of a sum of frequencies a unit tells nothing.
    nothing = greatest < 1e-24
    share = others / torch.where(nothing, 1.0, greatest) / (squared.shape[2] - 1)
    return torch.where(nothing, 0.0, 1 - share)

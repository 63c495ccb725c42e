"""The mutual information gap: is a factor told by one unit, or by several?"""

from __future__ import annotations

import torch
from torch import Tensor

from lucid.evaluation.disentanglement.checks import check_pair, needs
from lucid.evaluation.disentanglement.factors import NUM_BINS, Factors
from lucid.evaluation.disentanglement.mutual_information import Information, information_table
from lucid.evaluation.disentanglement.resampling import spread, weights
from lucid.evaluation.figure import Figure

__all__ = ["mig", "mutual_information_gap"]


def mig(z: Tensor, factors: Factors, *, seed: int = 0, num_resamples: int = 100) -> Figure:
    r"""The gap between the unit that tells most of a factor and the next, as a share of the factor's entropy.

    .. math:: \frac1F \sum_j \frac{1}{H(v_j)} \left( I(z_{i^*}; v_j) - \max_{i \ne i^*} I(z_i; v_j) \right)

    Published protocol: posterior means, 20 bins of equal width, 10,000 examples. In 20 bins with few examples every
    unit seems to tell something; the gap between two such units is nearly free of it.

    Chen, Li, Grosse, Duvenaud: Isolating Sources of Disentanglement in Variational Autoencoders, 2018,
    https://arxiv.org/abs/1802.04942.

    Args:
        z: Representations, (N, U), U ≥ 2.
        factors: Of the same examples.
        seed: Of the resamples.
        num_resamples: Bootstrap resamples of the examples; 0 for no standard error.

    Returns:
        The score in [0, 1], with that of each factor in `details`.

    Raises:
        ValueError: If the rows do not agree, or there is one unit only.

    Example:
        >>> import torch
        >>> v = torch.cartesian_prod(torch.arange(4), torch.arange(4)).repeat(10, 1)
        >>> round(mig(v.float(), Factors(v)).value, 6), round(mig(v[:, [0, 1, 0, 1]].float(), Factors(v)).value, 6)
        (1.0, 0.0)
    """
    check_pair(z, factors, num_resamples)
    needs("MIG", units=z.shape[1])
    stream = torch.Generator().manual_seed(seed)
    table = information_table(z, factors, weights(factors.codes, num_resamples, stream))
    gaps = mutual_information_gap(table)
    value, error = spread(gaps.mean(1))
    return Figure(
        name="MIG",
        value=value,
        standard_error=error,
        unit="score in [0, 1]",
        estimator=f"frequencies in {NUM_BINS} bins of equal width; error: {num_resamples} bootstrap resamples",
        num_samples=None,
        num_examples=len(z),
        seed=seed,
        split="arrays",
        protocol="not declared",
        meaning="1: each factor is told by one unit, and by that one wholly; 0: by two units alike, or by none",
        details={"factors": dict(zip(factors.names, gaps[0].tolist(), strict=True)), "num_units": z.shape[1]},
    )


def mutual_information_gap(table: Information) -> Tensor:
    """The gap of each factor, (R, F)."""
    best, second = table.units.topk(2, dim=1).values.unbind(1)
    return (best - second) / table.entropy

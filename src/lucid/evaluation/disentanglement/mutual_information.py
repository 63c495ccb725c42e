"""What each latent unit tells of each factor, in nats: the table that MIG and modularity read."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from lucid.evaluation.disentanglement.factors import NUM_BINS, Factors, equal_width_bins

__all__ = ["Information", "information_table"]

_MAX_NUMBERS = 2**24


class Information(NamedTuple):
    """Mutual information and entropies, in nats, for each weighting of the examples.

    Attributes:
        units: I(z_i; v_j), (R, U, F).
        entropy: H(v_j), (R, F).
    """

    units: Tensor
    entropy: Tensor


def information_table(z: Tensor, factors: Factors, weights: Tensor) -> Information:
    r"""The mutual information of every unit, in `NUM_BINS` bins of equal width, with every factor.

    .. math:: I(z; v) = \sum_{b,k} p(b, k) \log \frac{p(b, k)}{p(b)\,p(k)}

    with the frequencies as probabilities. That is too large by about (bins − 1)(values − 1) / 2N nats where unit and
    factor are independent.

    Args:
        z: Representations, (N, U).
        factors: Of the same examples.
        weights: How often each example counts, whole numbers (R, N).
    """
    bins = equal_width_bins(z)
    columns: list[Tensor] = []
    entropies: list[Tensor] = []
    for factor in range(factors.num_factors):
        values = one_hot(factors.code(factor)).float()
        blocks = [_tables(block, values, weights) for block in bins.split(_units_at_once(len(z)), 1)]
        joint = torch.cat(blocks, 1).double() / weights.sum(1).double()[:, None, None, None]
        of_unit, of_factor = joint.sum(3), joint.sum(2)
        columns.append(_entropy(of_unit) + _entropy(of_factor) - _entropy(joint.flatten(2)))
        entropies.append(_entropy(of_factor[:, 0]))
    # A sum of rounded terms may fall below 0 by its rounding.
    return Information(torch.stack(columns, 2).clamp(min=0), torch.stack(entropies, 1))


def _tables(bins: Tensor, values: Tensor, weights: Tensor) -> Tensor:
    """How often bin and value meet, (R, U, bins, values); whole numbers, which float32 holds exactly."""
    examples, units = bins.shape
    members = one_hot(bins, NUM_BINS).float().flatten(1)
    at_once = max(1, _MAX_NUMBERS // (examples * values.shape[1]))
    parts = [
        members.T @ (values[:, None] * part.T[:, :, None]).flatten(1)  # (U · bins, R · values)
        for part in weights.split(at_once)
    ]
    return torch.cat(parts, 1).view(units, NUM_BINS, len(weights), -1).permute(2, 0, 1, 3)


def _entropy(p: Tensor) -> Tensor:
    return -torch.xlogy(p, p).sum(-1)


def _units_at_once(num_examples: int) -> int:
    return max(1, _MAX_NUMBERS // (num_examples * NUM_BINS))

"""The β-weighted negative ELBO of a walk: what training minimises, in nats per example."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lucid.models.walk import Record

__all__ = ["Loss", "WeightedLoss", "valid_beta", "weighted_loss"]


class Loss(NamedTuple):
    """Scalars in nats per example, averaged over the batch; `loss = recon_loss + kl`.

    Attributes:
        loss: What is minimised.
        recon_loss: −log p(x|z).
        kl: The weighted sum of the levels' KL.
    """

    loss: Tensor
    recon_loss: Tensor
    kl: Tensor


class WeightedLoss(NamedTuple):
    """`Loss` with the parts its weights hide.

    Attributes:
        loss: What is minimised.
        recon_loss: −log p(x|z).
        kl: The weighted sum of the levels' KL.
        level_kl: The unweighted KL of each level.
    """

    loss: Tensor
    recon_loss: Tensor
    kl: Tensor
    level_kl: tuple[Tensor, ...]


def weighted_loss(record: Record, weights: Sequence[float | Tensor]) -> WeightedLoss:
    """−log p(x|z) plus the weighted KL of each level; with all weights 1 it is −ELBO.

    Args:
        record: A walk over data.
        weights: The weight of each level's KL; tensors where a compiled or captured step must not be bound to a number.
    """
    recon_loss = record.reconstruction().mean()
    level_kl = tuple(kl.mean() for kl in record.kl())
    # A product with 1 would cost two operations of the graph and change nothing.
    weighted = [
        kl if not isinstance(weight, Tensor) and weight == 1 else weight * kl
        for weight, kl in zip(weights, level_kl, strict=True)
    ]
    kl = weighted[0] if len(weighted) == 1 else torch.stack(weighted).sum()
    return WeightedLoss(recon_loss + kl, recon_loss, kl, level_kl)


def valid_beta(beta: float, step: int) -> float:
    """`beta` as a float, if a schedule may return it.

    Raises:
        ValueError: If it is negative or not finite.
        TypeError: If it is not a number.
    """
    try:
        value = float(beta)
    except (TypeError, ValueError) as error:
        raise TypeError(f"beta_schedule must return a number; at step {step} it returned {beta!r}") from error
    if not 0 <= value < math.inf:
        raise ValueError(f"beta_schedule must return a non-negative, finite β; at step {step} it returned {value}")
    return value

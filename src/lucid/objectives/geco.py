"""GECO: the least KL at a reconstruction that is good enough."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from lucid.io import register
from lucid.models import Record
from lucid.nn import Module
from lucid.objectives.objective import Terms, arguments_in_words

__all__ = ["GECO"]

_STEEPEST = 0.1
"""The multiplier changes by at most this factor's exponential at a step, however far the constraint is missed."""
_RANGE = 15.0
"""Its log stays within ±15."""
_PENALTY = 10.0
"""Nats of KL that a nat beyond the target weighs in evaluation."""


@register
class GECO(Module):
    r"""The KL under the constraint that the reconstruction is at most a target, by a multiplier λ that adapts.

    .. math:: \min_\theta \max_{\lambda > 0} \; \sum_l \mathrm{KL}_l + \lambda\, C, \qquad C = E_q[-\log p(x|z)] - \tau

    After each batch :math:`\bar C \leftarrow m \bar C + (1 - m)\, C` and :math:`\lambda \leftarrow \lambda
    \exp(\eta \bar C)`; the loss has the value of :math:`\bar C` and the gradient of C. λ grows while reconstructions
    are worse than asked, and then falls until the latents say no more than that takes. 1/λ is what β is elsewhere, and
    metrics tell both.

    The multiplier and the average are buffers, which a run keeps in its checkpoints. In evaluation mode they rest, and
    since losses at different λ cannot be compared, the loss is :math:`\sum_l \mathrm{KL}_l + 10 \max(0, C)`: by that
    a run chooses its best model. A batch that is computed in parts adapts λ after each.

    Rezende, Viola: Taming VAEs, 2018, https://arxiv.org/abs/1810.00597.

    Args:
        target: τ, the −log p(x|z) that is good enough, in nats per example; finite.
        rate: η, per nat; positive, finite. A step changes log λ by at most 0.1.
        momentum: m, in [0, 1).

    Raises:
        ValueError: If an argument is outside its range.

    Example:
        >>> objective = GECO(target=90.0)
        >>> objective.figures(1.0)
        {'beta': 1.0, 'multiplier': 1.0}
    """

    log_multiplier: Tensor
    average: Tensor
    num_batches: Tensor

    def __init__(self, target: float, *, rate: float = 0.001, momentum: float = 0.99) -> None:
        super().__init__()
        if not math.isfinite(target):
            raise ValueError(f"target must be finite, in nats per example; received {target}")
        if not 0 < rate < math.inf:
            raise ValueError(f"rate must be positive and finite; received {rate}")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1); received {momentum}")
        self.target = target
        self.rate = rate
        self.momentum = momentum
        self.register_buffer("log_multiplier", torch.zeros(()))
        self.register_buffer("average", torch.zeros(()))
        self.register_buffer("num_batches", torch.zeros((), dtype=torch.int64))

    def extra_repr(self) -> str:
        return arguments_in_words(self)

    def beta(self, step: int) -> float:
        """1: nothing is scheduled, the multiplier sees to the balance."""
        return 1.0

    def figures(self, beta: float) -> dict[str, float]:
        """The weight of the KL relative to the reconstruction, 1/λ, and λ."""
        multiplier = math.exp(float(self.log_multiplier))
        return {"beta": 1 / multiplier, "multiplier": multiplier}

    def forward(self, record: Record, beta: float | Tensor) -> Terms:
        """The loss and its parts for a walk over data; in training mode λ moves."""
        reconstruction, kl = record.reconstruction().mean(), [level.mean() for level in record.kl()]
        missed = reconstruction - self.target
        total = torch.stack(kl).sum()
        if not self.training:
            return Terms.of(total + _PENALTY * missed.clamp(min=0), reconstruction, kl)
        multiplier = self.log_multiplier.exp()  # before this batch has its say
        smoothed = missed + (self._remember(missed.detach()) - missed.detach())
        return Terms.of(total + multiplier * smoothed, reconstruction, kl)

    def __call__(self, record: Record, beta: float | Tensor) -> Terms:
        return cast("Terms", super().__call__(record, beta))

    @torch.no_grad()
    def _remember(self, missed: Tensor) -> Tensor:
        """The moving average with this batch in it; the multiplier follows it."""
        weight = torch.where(self.num_batches == 0, 1.0, 1 - self.momentum)
        self.average.copy_(self.average + weight * (missed - self.average))
        self.num_batches += 1
        change = (self.rate * self.average).clamp(-_STEEPEST, _STEEPEST)
        self.log_multiplier.copy_((self.log_multiplier + change).clamp(-_RANGE, _RANGE))
        return self.average.clone()

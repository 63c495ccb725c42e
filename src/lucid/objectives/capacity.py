"""A capacity that grows: the KL is held at a number of nats, which a schedule raises."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lucid.io import register
from lucid.models import Record
from lucid.objectives.objective import Scheduled, Terms

__all__ = ["Capacity"]


@register
class Capacity(Scheduled):
    r"""The reconstruction, and a penalty on a KL that is not C nats.

    .. math:: -E_q \log p(x|z) + \gamma \, \bigl| \sum_l \mathrm{KL}_l - C(t) \bigr|

    The KL is that of all levels together, averaged over the batch. What is scheduled is the capacity C, in nats, and
    not a weight: metrics tell it as `capacity`, beside `beta`, which is γ.

    Burgess et al.: Understanding Disentangling in β-VAE, 2018, https://arxiv.org/abs/1804.03599.

    Args:
        schedule: C: a number of nats, a schedule such as `Linear(steps=10_000, end=25.0)`, or any function
            `step -> float`.
        gamma: γ, the weight of the penalty; positive, finite.

    Raises:
        ValueError: If `gamma` is not positive and finite.

    Example:
        >>> from lucid.objectives import Linear
        >>> Capacity(Linear(steps=100, end=25.0), gamma=10.0).figures(12.5)
        {'beta': 10.0, 'capacity': 12.5}
    """

    dial = "capacity"

    def __init__(self, schedule: float | Callable[[int], float], *, gamma: float = 100.0) -> None:
        super().__init__(schedule)
        if not 0 < gamma < math.inf:
            raise ValueError(f"gamma must be positive and finite, the weight of the penalty; received {gamma}")
        self.gamma = gamma

    def figures(self, beta: float) -> dict[str, float]:
        """γ as the weight of the KL's term, and the capacity in nats."""
        return {"beta": self.gamma, "capacity": beta}

    def __call__(self, record: Record, beta: float | Tensor) -> Terms:
        reconstruction, kl = record.reconstruction().mean(), [level.mean() for level in record.kl()]
        away = (torch.stack(kl).sum() - beta).abs()
        return Terms.of(reconstruction + self.gamma * away, reconstruction, kl)

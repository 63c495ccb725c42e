"""KL balancing: while β warms up, the levels that say little are charged less for it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lucid.io import register
from lucid.models import Record
from lucid.objectives.objective import Scheduled, Terms

__all__ = ["KLBalancing"]

_LEAST = 0.01
"""Nats added to each level's KL, so that one that says nothing still has a weight."""


@register
class KLBalancing(Scheduled):
    r"""The β-weighted negative ELBO whose levels share the weight by what they say, as long as β < 1.

    .. math:: -E_q \log p(x|z) + \beta \sum_l \gamma_l \, \mathrm{KL}_l, \qquad
        \gamma_l = L \frac{k_l / s_l}{\sum_m k_m / s_m}, \quad
        k_l = \bigl|E_{x\in\text{batch}} \mathrm{KL}_l\bigr| + 0.01

    s_l is the number of features of the level, so large feature maps are charged less per nat. The γ are constants to
    the gradient, and 1 on average. At β ≥ 1, and so at the end of a warm-up, all γ are 1: the plain negative ELBO.

    Vahdat, Kautz: NVAE: A Deep Hierarchical Variational Autoencoder, 2020, https://arxiv.org/abs/2007.03898, appendix
    A; divided by the size as the authors' code does.

    Args:
        schedule: The warm-up of β: a schedule, or any function `step -> float`. A constant of 1 or more would balance
            nothing.

    Raises:
        TypeError: If `schedule` is a plain number.

    Example:
        >>> from lucid.objectives import Linear
        >>> KLBalancing(Linear(steps=1000))
        KLBalancing(Linear(steps=1000, start=0.0, end=1.0, hold=0))
    """

    def __init__(self, schedule: Callable[[int], float]) -> None:
        if not callable(schedule):
            raise TypeError(
                f"KL balancing works while β warms up to 1; received {schedule!r}. Give a schedule, such as "
                "Linear(steps=10_000)"
            )
        super().__init__(schedule)

    def __call__(self, record: Record, beta: float | Tensor) -> Terms:
        reconstruction = record.reconstruction().mean()
        kl = torch.stack([level.mean() for level in record.kl()])
        sizes = kl.new_tensor([latent.value[0].numel() for latent in record.latents])
        share = (kl.detach().abs() + _LEAST) / sizes
        gamma = share * (len(kl) / share.sum())
        if isinstance(beta, Tensor):
            gamma = torch.where(beta < 1, gamma, 1.0)
        elif beta >= 1:
            gamma = torch.ones_like(gamma)
        return Terms.of(reconstruction + beta * (gamma * kl).sum(), reconstruction, kl.unbind())

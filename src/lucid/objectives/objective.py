"""What training minimises: an objective turns the record of a walk into a scalar loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from lucid.models import VAE, LatentModel, Record, valid_beta, weighted_loss
from lucid.objectives.schedules import Constant

__all__ = ["ELBO", "Objective", "Terms", "objective_of"]


class Terms(NamedTuple):
    """One evaluation of an objective, scalars in nats per example; everything but `loss` is detached.

    Attributes:
        loss: What is minimised.
        reconstruction: −log p(x|z).
        kl: Unweighted KL of each level.
    """

    loss: Tensor
    reconstruction: Tensor
    kl: tuple[Tensor, ...]

    @property
    def elbo(self) -> Tensor:
        """The unweighted bound at the same draws; larger is better."""
        return -self.reconstruction - torch.stack(self.kl).sum()


class Objective(Protocol):
    """A loss on walks. Stateless: all that changes with time is a function of the step."""

    def beta(self, step: int) -> float:
        """The weight of the KL at a training step, for display."""
        ...

    def __call__(self, record: Record, beta: float | Tensor) -> Terms:
        """The loss of a walk over data; β comes as a tensor where the step is compiled or captured."""
        ...


class ELBO:
    """The negative evidence lower bound, with the KL weighted by β; at β = 1 on each level exactly −ELBO.

    Higgins et al.: β-VAE, 2017, https://openreview.net/forum?id=Sy2fzU9gl.

    Args:
        beta: A number, a schedule, or any function `step -> float`.
        spread: Whether β is divided by the number of levels.

    Example:
        >>> import lucid.nn as nn, torch
        >>> from lucid.models import VAE, VAEConfig, draws, drive
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)]))
        >>> record = drive(model.walk(torch.randn(3, 6)), draws())
        >>> terms = ELBO()(record, beta=1.0)
        >>> bool(torch.isclose(terms.loss, -terms.elbo))
        True
    """

    def __init__(self, beta: float | Callable[[int], float] = 1.0, *, spread: bool = False) -> None:
        self.schedule: Callable[[int], float] = beta if callable(beta) else Constant(float(beta))
        self.spread = spread

    def __repr__(self) -> str:
        return f"ELBO({self.schedule!r}, spread={self.spread})"

    def beta(self, step: int) -> float:
        """β at a training step, checked."""
        return valid_beta(self.schedule(step), step)

    def __call__(self, record: Record, beta: float | Tensor) -> Terms:
        """The loss and its parts for a walk over data."""
        levels = len(record.latents)
        weight = beta / levels if self.spread else beta
        parts = weighted_loss(record, [weight] * levels)
        return Terms(parts.loss, parts.recon_loss.detach(), tuple(kl.detach() for kl in parts.level_kl))


def objective_of(model: LatentModel) -> ELBO:
    """The objective a model's own configuration states: what `VAE.get_loss` computes."""
    if isinstance(model, VAE):
        config = model.config
        return ELBO(config.beta_schedule or float(config.kl_weight), spread=config.hierarchical_kl)
    return ELBO()

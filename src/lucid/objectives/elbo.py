"""The β-weighted evidence lower bound: what a model's own configuration states."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from lucid.io import register
from lucid.models import LatentModel, Record, weighted_loss
from lucid.objectives.objective import Scheduled, Terms

__all__ = ["ELBO", "objective_of"]


@register
class ELBO(Scheduled):
    """The negative evidence lower bound, with the KL weighted by β; at β = 1 on each level exactly −ELBO.

    Higgins et al.: β-VAE, 2017, https://openreview.net/forum?id=Sy2fzU9gl.

    Args:
        schedule: β: a number, a schedule, or any function `step -> float`.
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

    def __init__(self, schedule: float | Callable[[int], float] = 1.0, *, spread: bool = False) -> None:
        super().__init__(schedule)
        self.spread = spread

    def __call__(self, record: Record, beta: float | Tensor) -> Terms:
        levels = len(record.latents)
        weight = beta / levels if self.spread else beta
        parts = weighted_loss(record, [weight] * levels)
        return Terms(parts.loss, parts.recon_loss.detach(), tuple(kl.detach() for kl in parts.level_kl))


def objective_of(model: LatentModel) -> ELBO:
    """The objective a model's own configuration states: what `VAE.get_loss` computes, the ELBO without one."""
    config = getattr(model, "config", None)
    schedule = getattr(config, "beta_schedule", None)
    weight = float(getattr(config, "kl_weight", 1.0))
    return ELBO(schedule or weight, spread=bool(getattr(config, "hierarchical_kl", False)))

"""Free bits: information that costs nothing, so that no level need collapse to save it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lucid.distributions import kl_per_feature
from lucid.io import register
from lucid.models import Latent, Record
from lucid.objectives.objective import Scheduled, Terms

__all__ = ["FreeBits"]


@register
class FreeBits(Scheduled):
    r"""The negative ELBO in which each group of latents may say λ nats at no further cost.

    .. math:: -E_q \log p(x|z) + \beta \sum_g \max\bigl(\lambda,\; E_{x \in \text{batch}} \mathrm{KL}_g(x)\bigr)

    A group is a level, or with `per_channel` a channel of a level (dimension 1 of the latent: a unit of a vector, a map
    of a convolutional latent). A group below λ feels no gradient of its KL, so the reconstruction alone decides what it
    is used for. The loss is at least β λ times the number of groups: not −ELBO, which is measured without it.

    The mean over the batch is inside the maximum, so a batch that is computed in parts (`accumulate`, or several
    processes) has one maximum a part.

    Kingma et al.: Improving Variational Inference with Inverse Autoregressive Flow, 2016,
    https://arxiv.org/abs/1606.04934, section C.8.

    Args:
        nats: λ, free nats of each group; non-negative, finite. (One bit is 0.69 nats.)
        per_channel: Whether each channel is a group; else each level is.
        schedule: β: a number, a schedule, or any function `step -> float`.

    Raises:
        ValueError: If `nats` is negative or not finite. On a record: with `per_channel`, if the densities of a level do
            not split into channels.

    Example:
        >>> import lucid.nn as nn, torch
        >>> from lucid.models import VAE, VAEConfig, draws, drive
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)]))
        >>> record = drive(model.walk(torch.randn(3, 6)), draws())
        >>> terms = FreeBits(1000.0)(record, beta=1.0)
        >>> round(float(terms.loss.detach() - terms.reconstruction))
        1000
    """

    def __init__(
        self, nats: float = 0.5, *, per_channel: bool = False, schedule: float | Callable[[int], float] = 1.0
    ) -> None:
        super().__init__(schedule)
        if not 0 <= nats < math.inf:
            raise ValueError(f"nats must be non-negative and finite, what a group may say freely; received {nats}")
        self.nats = nats
        self.per_channel = per_channel

    def __call__(self, record: Record, beta: float | Tensor) -> Terms:
        reconstruction, kl = record.reconstruction().mean(), [level.mean() for level in record.kl()]
        groups = [_channels(latent) for latent in record.latents] if self.per_channel else kl
        weighed = torch.stack([group.clamp(min=self.nats).sum() for group in groups]).sum()
        return Terms.of(reconstruction + beta * weighed, reconstruction, kl)


def _channels(latent: Latent) -> Tensor:
    """The KL of each channel, mean over the batch, (C,) nats."""
    assert latent.posterior is not None, "a walk over data has posteriors"
    kl = kl_per_feature(latent.posterior, latent.prior, None if latent.prior_known_first else latent.value)
    if kl is None:
        raise ValueError(
            f"free bits per channel need a KL that splits into channels; that of {type(latent.posterior).__name__} to "
            f"{type(latent.prior).__name__} does not: give free bits per level, without per_channel"
        )
    return kl.flatten(2).sum(2).mean(0) if kl.dim() > 2 else kl.mean(0)

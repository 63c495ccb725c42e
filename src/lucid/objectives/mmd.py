"""InfoVAE: the aggregate posterior held to the prior by a maximum mean discrepancy, and the KL set free."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from lucid.distributions import Stream, draw
from lucid.io import register
from lucid.models import Latent, Record, Walk, draws, drive
from lucid.objectives.objective import Scheduled, Terms

__all__ = ["InfoVAE", "squared_mmd"]

_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


@register
class InfoVAE(Scheduled):
    r"""Reconstruction, part of the deepest level's KL, and a discrepancy between its aggregate posterior and its prior.

    .. math:: -E_q\log p(x|z) + \beta\Bigl((1-\alpha)\,\mathrm{KL}_{L-1} + (\alpha + \lambda - 1)\,
        \mathrm{MMD}^2\bigl(q(z), p(z)\bigr) + \sum_{l<L-1}\mathrm{KL}_l\Bigr)

    At α = 0 and λ = 1 it is the negative ELBO; at α = 1 the KL is gone and what remains is the Wasserstein autoencoder
    with an MMD penalty (Tolstikhin et al. 2017, https://arxiv.org/abs/1711.01558). The discrepancy compares the
    latents of the batch with as many draws from the prior: of a batch that is computed in parts (`accumulate`, or
    several processes) each part is compared by itself.

    A prior that chooses among components (`MixturePrior`, `VampPrior`) has draws without a gradient: it learns by its
    KL alone, which is why α = 1 refuses it.

    Zhao, Song, Ermon: InfoVAE: Information Maximizing Variational Autoencoders, 2017, https://arxiv.org/abs/1706.02262.

    Args:
        alpha: α, at most 1; above 0 the latents say more of x than the ELBO wants.
        strength: λ, at least 1 − α, finite. The discrepancy is at most about 14, so strengths in the hundreds are
            common.
        schedule: β: a number, a schedule, or any function `step -> float`.

    Raises:
        ValueError: If an argument is outside its range. On a walk: if α is 1 and the deepest prior is to be learned,
            but its draws have no gradient. On a record: if it was not driven by this objective's own `record`.

    Example:
        >>> import lucid.nn as nn, torch
        >>> from lucid.models import VAE, VAEConfig
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)]))
        >>> objective = InfoVAE(alpha=1.0, strength=100.0)  # a Wasserstein autoencoder
        >>> terms = objective(objective.record(model.walk(torch.randn(3, 6))), beta=1.0)
        >>> bool(terms.loss >= terms.reconstruction)
        True
    """

    def __init__(
        self, alpha: float = 0.0, strength: float = 100.0, *, schedule: float | Callable[[int], float] = 1.0
    ) -> None:
        super().__init__(schedule)
        if not -math.inf < alpha <= 1:
            raise ValueError(f"alpha must be at most 1, where the KL is gone; received {alpha}")
        if not 1 - alpha <= strength < math.inf:
            raise ValueError(
                f"strength must be at least 1 − alpha and finite, so that the discrepancy is punished; received "
                f"{strength} at alpha {alpha}"
            )
        self.alpha = alpha
        self.strength = strength

    def record(self, walk: Walk, stream: Stream = None) -> Record:
        """A draw of each latent, and as many of the deepest prior."""
        record = drive(walk, draws(stream))
        deepest = record.latents[-1]
        if self.alpha == 1 and _never_learns(deepest):
            raise ValueError(
                f"InfoVAE at alpha 1 cannot train a {type(deepest.prior).__name__} prior: the KL is gone, and draws "
                "that choose a component have no gradient. Take an alpha below 1 or a flow; or train with the "
                "standard prior, and fit one afterwards: lucid fit-prior, lucid.training.fit_prior"
            )
        return record._replace(kept=(draw(deepest.prior, generator=stream),))

    def __call__(self, record: Record, beta: float | Tensor) -> Terms:
        if not record.kept:
            raise ValueError("the walk must be driven by InfoVAE itself: record = objective.record(model.walk(x))")
        reconstruction, kl = record.reconstruction().mean(), [level.mean() for level in record.kl()]
        discrepancy = squared_mmd(record.latents[-1].value.flatten(1), record.kept[0].flatten(1))
        weighed = (1 - self.alpha) * kl[-1] + (self.alpha + self.strength - 1) * discrepancy + sum(kl[:-1])
        return Terms.of(reconstruction + beta * weighed, reconstruction, kl)


def _never_learns(latent: Latent) -> bool:
    """Whether the prior has something to learn and its draws do not tell it what."""
    return not latent.prior.has_rsample and latent.prior.log_prob(latent.value.detach()).requires_grad


def squared_mmd(x: Tensor, y: Tensor) -> Tensor:
    r"""The squared maximum mean discrepancy of two samples; 0 for equal ones, never negative.

    .. math:: \frac{1}{n^2}\sum_{i,j} k(x_i, x_j) + \frac{1}{m^2}\sum_{i,j} k(y_i, y_j)
        - \frac{2}{nm}\sum_{i,j} k(x_i, y_j)

    k is a sum of inverse multiquadrics :math:`C / (C + \lVert x - y\rVert^2)` with C = 2·D·s for seven scales s from
    0.1 to 10, which feel differences at every distance.

    Gretton et al.: A Kernel Two-Sample Test, 2012, https://jmlr.org/papers/v13/gretton12a.html.

    Args:
        x: (n, D).
        y: (m, D).

    Example:
        >>> import torch
        >>> squared_mmd(torch.zeros(4, 2), torch.zeros(3, 2))
        tensor(0.)
    """
    return _kernel(x, x).mean() + _kernel(y, y).mean() - 2 * _kernel(x, y).mean()


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    # Differences, and not ‖x‖² + ‖y‖² − 2x·y, whose digits cancel where points are near.
    squared = (x[:, None] - y[None]).square().sum(2)
    base = 2.0 * x.shape[1]
    kernel = base * _SCALES[0] / (base * _SCALES[0] + squared)
    for scale in _SCALES[1:]:
        kernel = kernel + base * scale / (base * scale + squared)
    return kernel

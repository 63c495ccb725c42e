"""Importance-weighted bounds as objectives: IWAE, and its relatives that are averages of it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lucid.distributions import Stream
from lucid.io import register
from lucid.models import Record, Walk, draws, drive
from lucid.models.walk import repeat_to
from lucid.objectives.objective import Scheduled, Terms

__all__ = ["CIWAE", "IWAE", "MIWAE", "log_mean_exp", "log_weights"]


@register
class IWAE(Scheduled):
    r"""The negative importance-weighted bound of K draws, which is tighter than the ELBO and never above log p(x).

    .. math:: -E_{z_1 \ldots z_K \sim q} \log \tfrac1K \sum_k w_k, \qquad
        \log w_k = \log p(x|z_k) + \beta \sum_l \log \frac{p(z_{k,l})}{q(z_{k,l}|x)}

    A bound on log p(x) at β = 1; below it, a warm-up. The gradient is autograd's own. As K grows the decoder learns
    better and the encoder's gradient drowns in noise (Rainforth et al. 2018): `DReG` is the same bound without that.

    Burda, Grosse, Salakhutdinov: Importance Weighted Autoencoders, 2015, https://arxiv.org/abs/1509.00519.

    Args:
        num_samples: K, draws of each example; the cost of a step grows with it.
        schedule: β: a number, a schedule, or any function `step -> float`.

    Raises:
        ValueError: If `num_samples` is not positive. On a record: if it does not hold K draws of each example.

    Example:
        >>> import lucid.nn as nn, torch
        >>> from lucid.models import VAE, VAEConfig
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)]))
        >>> objective = IWAE(num_samples=5)
        >>> terms = objective(objective.record(model.walk(torch.randn(3, 6))), beta=1.0)
        >>> bool(terms.loss <= -terms.elbo)
        True
    """

    def __init__(self, num_samples: int = 8, *, schedule: float | Callable[[int], float] = 1.0) -> None:
        super().__init__(schedule)
        self.num_samples = _count("num_samples", num_samples)

    def record(self, walk: Walk, stream: Stream = None) -> Record:
        """K draws of each example."""
        return drive(walk, draws(stream, num_samples=self.num_samples))

    def __call__(self, record: Record, beta: float | Tensor) -> Terms:
        bound = log_mean_exp(log_weights(record, beta, self.num_samples)).mean()
        return _terms(-bound, record)


@register
class MIWAE(Scheduled):
    r"""The mean of M importance-weighted bounds of K draws each: between the ELBO (K = 1) and the bound of M·K draws.

    .. math:: -\frac1M \sum_m \log \tfrac1K \sum_k w_{m,k}

    Rainforth et al.: Tighter Variational Bounds are Not Necessarily Better, 2018, https://arxiv.org/abs/1802.04537.

    Args:
        num_groups: M, bounds that are averaged.
        num_samples: K, draws of each.
        schedule: β, as for `IWAE`.

    Raises:
        ValueError: If a number is not positive. On a record: if it does not hold M·K draws of each example.

    Example:
        >>> MIWAE(num_groups=4, num_samples=2)
        MIWAE(4, num_samples=2, schedule=Constant(beta=1.0))
    """

    def __init__(
        self, num_groups: int = 4, num_samples: int = 4, *, schedule: float | Callable[[int], float] = 1.0
    ) -> None:
        super().__init__(schedule)
        self.num_groups = _count("num_groups", num_groups)
        self.num_samples = _count("num_samples", num_samples)

    def record(self, walk: Walk, stream: Stream = None) -> Record:
        """M·K draws of each example."""
        return drive(walk, draws(stream, num_samples=self.num_groups * self.num_samples))

    def __call__(self, record: Record, beta: float | Tensor) -> Terms:
        log_w = log_weights(record, beta, self.num_groups * self.num_samples)
        groups = log_w.unflatten(0, (self.num_groups, self.num_samples))
        return _terms(-log_mean_exp(groups, 1).mean(), record)


@register
class CIWAE(Scheduled):
    r"""A mixture of the ELBO and the importance-weighted bound, at the same K draws.

    .. math:: -\alpha \frac1K \sum_k \log w_k - (1 - \alpha) \log \tfrac1K \sum_k w_k

    Rainforth et al.: Tighter Variational Bounds are Not Necessarily Better, 2018, https://arxiv.org/abs/1802.04537.

    Args:
        mix: α, the part of the ELBO, in [0, 1].
        num_samples: K, draws of each example.
        schedule: β, as for `IWAE`.

    Raises:
        ValueError: If an argument is outside its range. On a record: if it does not hold K draws of each example.

    Example:
        >>> CIWAE(mix=0.5).num_samples
        8
    """

    def __init__(
        self, mix: float = 0.5, num_samples: int = 8, *, schedule: float | Callable[[int], float] = 1.0
    ) -> None:
        super().__init__(schedule)
        if not 0 <= mix <= 1:
            raise ValueError(f"mix must be in [0, 1], the part of the ELBO; received {mix}")
        self.mix = mix
        self.num_samples = _count("num_samples", num_samples)

    def record(self, walk: Walk, stream: Stream = None) -> Record:
        """K draws of each example."""
        return drive(walk, draws(stream, num_samples=self.num_samples))

    def __call__(self, record: Record, beta: float | Tensor) -> Terms:
        log_w = log_weights(record, beta, self.num_samples)
        bound = self.mix * log_w.mean() + (1 - self.mix) * log_mean_exp(log_w).mean()
        return _terms(-bound, record)


def log_weights(record: Record, beta: float | Tensor, num_samples: int) -> Tensor:
    """log p(x|z) + β Σ (log p(z) − log q(z|x)) of each draw, (K, B) nats.

    Raises:
        ValueError: If the record does not hold `num_samples` draws of each example.
    """
    assert record.x is not None, "a walk without data has no weights"
    examples, rows = record.x.shape[0], record.params.shape[0]
    if rows != num_samples * examples:
        raise ValueError(
            f"the record must hold {num_samples} draws of each of its {examples} examples; it has {rows} rows. Drive "
            "the walk with the objective's own record(walk)"
        )
    ratios = torch.stack([repeat_to(latent.log_ratio(), rows) for latent in record.latents]).sum(0)
    return (-record.reconstruction() - beta * ratios).unflatten(0, (num_samples, examples))


def log_mean_exp(log_weights: Tensor, dim: int = 0) -> Tensor:
    """log of the mean of exp over a dimension."""
    return log_weights.logsumexp(dim) - math.log(log_weights.shape[dim])


def _terms(loss: Tensor, record: Record) -> Terms:
    with torch.no_grad():
        return Terms.of(loss, record.reconstruction(), record.kl())


def _count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"{name} must be a positive number of draws; received {value!r}")
    return value

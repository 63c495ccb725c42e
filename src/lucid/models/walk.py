"""The walk: a model's stochastic decisions one at a time, and the drivers that decide them.

A walk is a generator. It yields a distribution, receives the value of that latent by `.send`, and at the end yields a
`Record` of everything met. The model knows the order and the networks; the driver knows where values come from.
Training draws, reconstruction takes means, generation draws from priors with a temperature, a codec pops values from
a bit stream.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from lucid.distributions import Rows, Stream, draw, tempered

__all__ = ["Latent", "Record", "Walk", "draws", "drive", "given", "means"]


class Latent(NamedTuple):
    """One latent of a walk.

    Attributes:
        value: The value it took, (N, ...).
        prior: p(z_l | …).
        posterior: q(z_l | …); None in a walk without data.
        prior_known_first: Whether the prior does not depend on a latent drawn after this one. Only then is the closed
            form of the KL a term of the evidence lower bound.
    """

    value: Tensor
    prior: Distribution
    posterior: Distribution | None = None
    prior_known_first: bool = True

    def log_ratio(self) -> Tensor:
        """log q(z|·) − log p(z|·) at the value, in nats, (N,): a one-sample estimate of the KL."""
        assert self.posterior is not None, "a walk without data has no posterior"
        return log_prob_of_draws(self.posterior, self.value) - log_prob_of_draws(self.prior, self.value)

    def kl(self) -> Tensor:
        """KL(q ‖ p) in nats, (N,): in closed form where there is one and it is part of a bound, else `log_ratio`."""
        assert self.posterior is not None, "a walk without data has no posterior"
        if not self.prior_known_first:
            return self.log_ratio()
        try:
            return kl_divergence(self.posterior, self.prior)
        except NotImplementedError:
            return self.log_ratio()


class Record(NamedTuple):
    """Everything met on a walk, with what follows from it.

    Several draws of one posterior are laid out draw-major along the batch: N = K·B rows for B examples, rows
    k·B … (k+1)·B − 1 holding the k-th draw. Distributions that were computed once per example keep batch shape (B,).

    Attributes:
        latents: The latents, indexed by level.
        params: What the decoder emitted for the likelihood, (N, ...).
        likelihood: p(x|z), batch shape (N,).
        x: The data, (B, ...); None in a walk without data.
        kept: What whoever drove the walk kept for itself: an objective that drives walks in a way of its own.
    """

    latents: tuple[Latent, ...]
    params: Tensor
    likelihood: Distribution
    x: Tensor | None = None
    kept: tuple[Tensor, ...] = ()

    def reconstruction(self) -> Tensor:
        """−log p(x|z) in nats, (N,)."""
        assert self.x is not None, "a walk without data has no reconstruction"
        return -self.likelihood.log_prob(repeat_to(self.x, self.params.shape[0]))

    def kl(self) -> list[Tensor]:
        """The KL of each level in nats, (N,) each, indexed by level."""
        return [repeat_to(latent.kl(), self.params.shape[0]) for latent in self.latents]

    def elbo(self) -> Tensor:
        """The evidence lower bound at these draws, in nats, (N,); larger is better."""
        return -self.reconstruction() - torch.stack(self.kl()).sum(0)

    def log_weight(self) -> Tensor:
        """log p(x, z) − log q(z|x) at the draws, in nats, (N,): the log importance weight."""
        return -self.reconstruction() - torch.stack([latent.log_ratio() for latent in self.latents]).sum(0)


Walk = Generator[Distribution | Record, Tensor, None]
"""What `model.walk` returns: yields distributions, receives values, yields the `Record` last."""

Choice = Callable[[Distribution], Tensor]


def drive(walk: Walk, choose: Choice) -> Record:
    """Follow a walk to its end.

    Args:
        walk: What `model.walk(...)` returned.
        choose: Decides the value of each latent, given its distribution.

    Returns:
        The record of the walk.

    Example:
        >>> import lucid.nn as nn, torch
        >>> from lucid.models import VAE, VAEConfig
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)]))
        >>> drive(model.walk(torch.randn(3, 6)), draws()).elbo().shape
        torch.Size([3])
    """
    met = next(walk)
    while not isinstance(met, Record):
        met = walk.send(choose(met))
    return met


def draws(
    generator: Stream = None, *, temperature: float | Sequence[float] = 1.0, num_samples: int | None = None
) -> Choice:
    """A driver that draws every latent, with gradients where the distribution has them.

    Args:
        generator: The stream of random numbers; None means PyTorch's global one. `lucid.distributions.Rows` draws for
            a part of a batch what the whole would draw.
        temperature: Multiplies the standard deviation of each distribution: one number, or one for each level, indexed
            by level, for walks that meet the deepest level first, as all without data do.
        num_samples: K draws of the first latent, laid out draw-major along the batch; later latents are drawn once for
            each of its rows. None draws one.

    Raises:
        ValueError: At a draw, if a temperature is negative or not finite, or there are fewer of them than latents.
    """
    first = num_samples is not None
    later = generator._replace(draws=num_samples) if first and isinstance(generator, Rows) else generator
    cooling = list(temperature) if isinstance(temperature, Sequence) else temperature

    def choose(distribution: Distribution) -> Tensor:
        nonlocal first
        distribution = tempered(distribution, _next_temperature(cooling))
        if not first:
            return draw(distribution, generator=later)
        first = False
        assert num_samples is not None
        return draw(distribution, (num_samples,), generator=generator).flatten(0, 1)

    return choose


def _next_temperature(temperature: float | list[float]) -> float:
    """The temperature of the next stop; of a list, which shrinks, the last: the deepest level comes first."""
    if not isinstance(temperature, list):
        return temperature
    if not temperature:
        raise ValueError("temperature must be one number, or one for each level; there are fewer of them than latents")
    return temperature.pop()


def means() -> Choice:
    """A driver that takes the mean of every distribution."""
    return lambda distribution: distribution.mean


def given(values: Sequence[Tensor], then: Choice | None = None) -> Choice:
    """A driver that hands out values decided beforehand, in the order of the walk.

    Args:
        values: The values of the first latents.
        then: Decides the others; None where all are given.
    """
    remaining = iter(values)

    def choose(distribution: Distribution) -> Tensor:
        value = next(remaining, None)
        if value is not None:
            return value
        assert then is not None, "a walk has more latents than values were given"
        return then(distribution)

    return choose


def repeat_to(x: Tensor, rows: int) -> Tensor:
    """`x` repeated draw-major along the batch until it has `rows` rows."""
    times = rows // x.shape[0]
    return x if times == 1 else x.repeat(times, *([1] * (x.dim() - 1)))


def log_prob_of_draws(distribution: Distribution, value: Tensor) -> Tensor:
    """log p of `value` (K·B, ...), laid out draw-major, under a distribution of batch B or K·B; (K·B,)."""
    batch = distribution.batch_shape[0]
    if value.shape[0] == batch:
        return distribution.log_prob(value)
    return distribution.log_prob(value.unflatten(0, (-1, batch))).flatten()

"""Gaussian densities: the diagonal one of posteriors and priors, the standard one, and the one with a shared scale."""

from __future__ import annotations

import math

import torch
from torch import Size, Tensor
from torch.distributions import register_kl

from lucid.distributions.bounds import bounded_halves
from lucid.distributions.factorised import Factorised, at_least_float32, sum_event
from lucid.distributions.streams import Stream

__all__ = ["DiagonalGaussian", "IsotropicGaussian", "StandardNormal"]

_LOG_2PI = math.log(2 * math.pi)


class DiagonalGaussian(Factorised):
    r"""N(loc, diag exp(logvar)), every feature with its own variance.

    .. math:: \log p(z) = -\tfrac12 \sum_i \bigl( (z_i-\mu_i)^2 e^{-v_i} + v_i + \log 2\pi \bigr)

    Args:
        loc: Mean, (N, ...).
        logvar: Log-variance, the shape of `loc`. Taken as given; `from_concatenated` bounds it.

    Example:
        >>> import torch
        >>> q = DiagonalGaussian(torch.zeros(2, 3), torch.zeros(2, 3))
        >>> q.log_prob(torch.zeros(2, 3))
        tensor([-2.7568, -2.7568])
    """

    has_rsample = True

    def __init__(self, loc: Tensor, logvar: Tensor) -> None:
        self.loc = loc
        self.logvar = logvar
        super().__init__(loc)

    @classmethod
    def from_concatenated(cls, h: Tensor) -> DiagonalGaussian:
        """From a network's output that holds mean and log-variance, concatenated along dimension 1.

        The halves become float32 if they are in half precision, and pass `bounded_halves`.

        Args:
            h: (N, 2·C, ...).
        """
        return cls(*bounded_halves(at_least_float32(h)))

    @property
    def scale(self) -> Tensor:
        """Standard deviation, the shape of `loc`."""
        return (0.5 * self.logvar).exp()

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self.logvar.exp()

    def entropy(self) -> Tensor:
        return 0.5 * sum_event(self.logvar + (1 + _LOG_2PI), len(self.event_shape))

    def tempered(self, temperature: float) -> DiagonalGaussian:
        """The same mean, standard deviation times `temperature`."""
        log_factor = 2 * math.log(temperature) if temperature > 0 else -math.inf
        return DiagonalGaussian(self.loc, self.logvar + log_factor)

    def _log_prob(self, value: Tensor) -> Tensor:
        return -0.5 * ((value - self.loc).square() * (-self.logvar).exp() + self.logvar + _LOG_2PI)

    def _sample(self, shape: Size, generator: Stream) -> Tensor:
        return self.loc + self.scale * self.noise(shape, generator)


class StandardNormal(Factorised):
    """N(0, I) over events of a given shape.

    Args:
        like: A tensor (N, ...) whose shape, type and device the draws have; its values are not read.

    Example:
        >>> import torch
        >>> StandardNormal(torch.empty(5, 2)).sample().shape
        torch.Size([5, 2])
    """

    has_rsample = True

    def __init__(self, like: Tensor) -> None:
        super().__init__(like)

    @property
    def loc(self) -> Tensor:
        """Zeros, (N, ...)."""
        return torch.zeros_like(self._like)

    @property
    def logvar(self) -> Tensor:
        """Zeros, (N, ...)."""
        return torch.zeros_like(self._like)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return torch.ones_like(self._like)

    def entropy(self) -> Tensor:
        return self._like.new_full(self.batch_shape, 0.5 * (1 + _LOG_2PI) * self.event_shape.numel())

    def tempered(self, temperature: float) -> DiagonalGaussian:
        """N(0, temperature²·I)."""
        return DiagonalGaussian(self.loc, self.logvar).tempered(temperature)

    def log_prob(self, value: Tensor) -> Tensor:
        constant = 0.5 * _LOG_2PI * self.event_shape.numel()
        return -0.5 * sum_event(value.square(), len(self.event_shape)) - constant

    def _log_prob(self, value: Tensor) -> Tensor:
        return -0.5 * (value.square() + _LOG_2PI)

    def _sample(self, shape: Size, generator: Stream) -> Tensor:
        return self.noise(shape, generator)


class IsotropicGaussian(Factorised):
    r"""N(loc, scale²·I), one scale for all features.

    .. math:: \log p(x) = -\frac{\lVert x-\mu\rVert^2}{2\sigma^2} - D\log\sigma - \tfrac{D}{2}\log 2\pi

    Args:
        loc: Mean, (N, ...).
        scale: Standard deviation, one number, in the units of `loc`.
    """

    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        self.loc = loc
        self.scale = scale
        super().__init__(loc)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self.scale.square().expand_as(self.loc)

    def tempered(self, temperature: float) -> IsotropicGaussian:
        """The same mean, standard deviation times `temperature`."""
        return IsotropicGaussian(self.loc, self.scale * temperature)

    def log_prob(self, value: Tensor) -> Tensor:
        squared = sum_event((value - self.loc).square(), len(self.event_shape))
        constant = self.event_shape.numel() * (self.scale.log() + 0.5 * _LOG_2PI)
        return -0.5 * squared / self.scale.square() - constant

    def _log_prob(self, value: Tensor) -> Tensor:
        return -0.5 * ((value - self.loc) / self.scale).square() - self.scale.log() - 0.5 * _LOG_2PI

    def _sample(self, shape: Size, generator: Stream) -> Tensor:
        return self.loc + self.scale * self.noise(shape, generator)


@register_kl(DiagonalGaussian, StandardNormal)
def _kl_to_standard(q: DiagonalGaussian, _p: StandardNormal) -> Tensor:
    # expm1 keeps the digits of exp(v) − 1 − v where v is near 0, that is, where a unit is about to collapse.
    terms = q.loc.square() + q.logvar.expm1() - q.logvar
    return 0.5 * sum_event(terms, len(q.event_shape))


@register_kl(DiagonalGaussian, DiagonalGaussian)
def _kl_diagonal(q: DiagonalGaussian, p: DiagonalGaussian) -> Tensor:
    log_ratio = q.logvar - p.logvar
    terms = log_ratio.expm1() - log_ratio + (q.loc - p.loc).square() * (-p.logvar).exp()
    return 0.5 * sum_event(terms, len(q.event_shape))


@register_kl(StandardNormal, StandardNormal)
def _kl_standard(q: StandardNormal, _p: StandardNormal) -> Tensor:
    return q.entropy().new_zeros(q.batch_shape)

"""Densities with heavier tails than the Gaussian: Laplace and Student's t."""

from __future__ import annotations

import math

import torch
from torch import Size, Tensor

from lucid.distributions.factorised import Factorised
from lucid.distributions.gamma import log_gamma_ratio
from lucid.distributions.streams import Stream

__all__ = ["LaplaceDensity", "StudentTDensity"]


class LaplaceDensity(Factorised):
    r"""Independent Laplace features.

    .. math:: \log p(x) = -\sum_i \bigl( |x_i-\mu_i|\,e^{-s_i} + s_i + \log 2 \bigr)

    Args:
        loc: Median and mean, (N, ...).
        log_scale: Log of the mean absolute deviation, a shape that broadcasts to that of `loc`.

    Example:
        >>> import torch
        >>> LaplaceDensity(torch.zeros(1, 2), torch.zeros(())).log_prob(torch.ones(1, 2))  # −2 (1 + log 2)
        tensor([-3.3863])
    """

    has_rsample = True

    def __init__(self, loc: Tensor, log_scale: Tensor) -> None:
        self.loc = loc
        self.log_scale = log_scale
        super().__init__(loc)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return 2 * (2 * self.log_scale).exp().expand_as(self.loc)

    def _log_prob(self, value: Tensor) -> Tensor:
        return -(value - self.loc).abs() * (-self.log_scale).exp() - self.log_scale - math.log(2)

    def _sample(self, shape: Size, generator: Stream) -> Tensor:
        centred = self.uniform(shape, generator) - 0.5
        # At −1/2 the quantile is infinite; the numbers are spaced eps apart, and half of that stands for the first.
        tail = (1 - 2 * centred.abs()).clamp(min=0.5 * torch.finfo(centred.dtype).eps)
        return self.loc - self.log_scale.exp() * centred.sign() * tail.log()


class StudentTDensity(Factorised):
    r"""Independent features with Student's t-distribution, moved and scaled.

    With :math:`t = (x-\mu)/\sigma` for each feature,

    .. math:: \log p(x) = \sum_i \log\Gamma\tfrac{\nu+1}{2} - \log\Gamma\tfrac{\nu}{2} - \tfrac12\log\pi\nu - \log\sigma
        - \tfrac{\nu+1}{2} \log\bigl(1 + t^2/\nu\bigr)

    Args:
        loc: Median and, for ν > 1, mean, (N, ...).
        log_scale: log σ, a shape that broadcasts to that of `loc`.
        df: Degrees of freedom ν, positive, likewise: the tail falls as :math:`|x|^{-\nu-1}`, and ν → ∞ is the Gaussian.

    Example:
        >>> import torch
        >>> cauchy = StudentTDensity(torch.zeros(1, 1), torch.zeros(()), torch.ones(()))
        >>> cauchy.log_prob(torch.zeros(1, 1))  # −log π
        tensor([-1.1447])
    """

    has_rsample = True

    def __init__(self, loc: Tensor, log_scale: Tensor, df: Tensor) -> None:
        self.loc = loc
        self.log_scale = log_scale
        self.df = df
        super().__init__(loc)

    @property
    def mean(self) -> Tensor:
        return torch.where(self.df > 1, self.loc, math.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        spread = (2 * self.log_scale).exp() * self.df / (self.df - 2)
        return torch.where(self.df > 2, spread, math.inf).expand_as(self.loc)

    def _log_prob(self, value: Tensor) -> Tensor:
        t = (value - self.loc) * (-self.log_scale).exp()
        constant = log_gamma_ratio(0.5 * self.df) - 0.5 * (math.pi * self.df).log() - self.log_scale
        return constant - 0.5 * (self.df + 1) * (t.square() / self.df).log1p()

    def _sample(self, shape: Size, generator: Stream) -> Tensor:
        # Bailey, Polar Generation of Random Variates with the t-Distribution, 1994,
        # https://doi.org/10.2307/2153537: two uniform numbers, whatever ν is.
        log_uniform = (-self.uniform(shape, generator)).log1p()
        angle = 2 * math.pi * self.uniform(shape, generator)
        radius = (self.df * torch.expm1(-2 / self.df * log_uniform)).sqrt()
        return self.loc + self.log_scale.exp() * radius * angle.cos()

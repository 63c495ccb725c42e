"""The Gaussian with a full covariance."""

from __future__ import annotations

import math

import torch
from torch import Size, Tensor
from torch.distributions import kl_divergence, register_kl

from lucid.distributions.bounds import bounded_loc
from lucid.distributions.drawn import Drawn
from lucid.distributions.gaussian import DiagonalGaussian, StandardNormal
from lucid.distributions.last_draw import LastDraw
from lucid.distributions.streams import Stream

__all__ = ["FullCovarianceGaussian"]

_LOG_2PI = math.log(2 * math.pi)


class FullCovarianceGaussian(Drawn):
    r"""N(loc, L Lᵀ) over vectors, with the scale of each feature apart from how features hang together.

    Row i of the lower-triangular L is :math:`\sigma_i\, (a_{i1}, \ldots, a_{i,i-1}, 1, 0, \ldots) / n_i` with
    :math:`n_i = \sqrt{1 + \sum_{j<i} a_{ij}^2}`, so that :math:`\sigma_i` is the marginal standard deviation and the
    total correlation, the nats by which the features depend on each other, is :math:`\sum_i \log n_i`. Every positive
    definite covariance has exactly one such form.

    A draw comes with its log-density. Any other value is whitened by a triangular solve in float64: correlations close
    to ±1 would overflow float32.

    Args:
        loc: Mean, (N, C).
        logvar: Log of the marginal variances, (N, C).
        lower: The a_ij, (N, C, C); only what is strictly below the diagonal is read.

    Example:
        >>> import torch
        >>> lower = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]])
        >>> FullCovarianceGaussian(torch.zeros(1, 2), torch.zeros(1, 2), lower).covariance
        tensor([[[1.0000, 0.7071],
                 [0.7071, 1.0000]]])
    """

    has_rsample = True

    def __init__(self, loc: Tensor, logvar: Tensor, lower: Tensor) -> None:
        super().__init__(loc)
        self.loc = loc
        self.logvar = logvar
        self.lower = lower.tril(-1)
        self._last = LastDraw()

    @property
    def _excess(self) -> Tensor:
        """n² − 1 of each row, (N, C)."""
        return self.lower.square().sum(-1)

    @property
    def correlation_tril(self) -> Tensor:
        """Cholesky factor of the correlation matrix, (N, C, C)."""
        return (self.lower + torch.eye(self.loc.shape[1]).to(self.loc)) * (1 + self._excess).rsqrt().unsqueeze(-1)

    @property
    def scale(self) -> Tensor:
        """Marginal standard deviations, (N, C)."""
        return (0.5 * self.logvar).exp()

    @property
    def scale_tril(self) -> Tensor:
        """Cholesky factor of the covariance, (N, C, C)."""
        return self.scale.unsqueeze(-1) * self.correlation_tril

    @property
    def covariance(self) -> Tensor:
        """(N, C, C)."""
        return self.scale_tril @ self.scale_tril.mT

    @property
    def marginals(self) -> DiagonalGaussian:
        """Each feature alone: the same means and variances, no correlation."""
        return DiagonalGaussian(self.loc, self.logvar)

    @property
    def total_correlation(self) -> Tensor:
        """KL to the product of the marginals, in nats, (N,)."""
        return 0.5 * self._excess.log1p().sum(-1)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        """Marginal variances, (N, C)."""
        return self.logvar.exp()

    def entropy(self) -> Tensor:
        return self.marginals.entropy() - self.total_correlation

    def tempered(self, temperature: float) -> FullCovarianceGaussian:
        """The same mean and correlations, standard deviations times `temperature`."""
        return FullCovarianceGaussian(self.loc, self.marginals.tempered(temperature).logvar, self.lower)

    def log_prob(self, value: Tensor) -> Tensor:
        known = self._last.log_prob_of(value, value.shape[:-1])
        return self._log_prob_of_noise(self._whitened(value)) if known is None else known

    def _sample(self, shape: Size, generator: Stream) -> Tensor:
        noise = self.noise(shape, generator)
        value = self.loc + self.scale * (self.correlation_tril * noise.unsqueeze(-2)).sum(-1)
        return self._last.keep(value, self._log_prob_of_noise(noise))

    def _log_prob_of_noise(self, noise: Tensor) -> Tensor:
        log_det = 0.5 * self.logvar.sum(-1) - self.total_correlation
        return -0.5 * (noise.square() + _LOG_2PI).sum(-1) - log_det

    def _whitened(self, value: Tensor) -> Tensor:
        centred = ((value - self.loc) / self.scale).double()
        factor = self.correlation_tril.double().expand(*centred.shape, centred.shape[-1])
        solved = torch.linalg.solve_triangular(factor, centred.unsqueeze(-1), upper=False).squeeze(-1)
        return bounded_loc(solved).to(value.dtype)


# KL(q ‖ p) to a p of independent features is that of the marginals, plus what the features share.


@register_kl(FullCovarianceGaussian, StandardNormal)
def _kl_to_standard(q: FullCovarianceGaussian, p: StandardNormal) -> Tensor:
    return kl_divergence(q.marginals, p) + q.total_correlation


@register_kl(FullCovarianceGaussian, DiagonalGaussian)
def _kl_to_diagonal(q: FullCovarianceGaussian, p: DiagonalGaussian) -> Tensor:
    return kl_divergence(q.marginals, p) + q.total_correlation

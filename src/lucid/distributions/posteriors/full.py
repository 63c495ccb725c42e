"""The posterior with a full covariance."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lucid.distributions.bounds import bounded_halves, smooth_clamp
from lucid.distributions.factorised import at_least_float32
from lucid.distributions.multivariate import FullCovarianceGaussian
from lucid.distributions.posterior import Posterior

__all__ = ["FullCovariancePosterior"]

_LOWER_RANGE = 30.0
"""Entries of the factor in ±30 (correlations up to 0.9994) are left as they are; beyond, a solve might overflow."""


class FullCovariancePosterior(Posterior):
    r"""N(μ, Σ) over latent vectors, (N, C).

    The encoder emits, one after the other, C means, C log-variances (the marginal ones), and the C(C − 1)/2 entries
    a_ij below the diagonal of `FullCovarianceGaussian`, row by row: C(C + 3)/2 numbers. With a = 0 it is the diagonal
    posterior.

    The KL to a standard normal or a diagonal Gaussian is in closed form. `mean` and `logvar` are exact.

    Example:
        >>> import torch
        >>> posterior = FullCovariancePosterior()
        >>> posterior.num_outputs(3), posterior(torch.zeros(4, 9)).rsample().shape
        (9, torch.Size([4, 3]))
    """

    def num_outputs(self, channels: int) -> int:
        return channels * (channels + 3) // 2

    def forward(self, h: Tensor) -> FullCovarianceGaussian:
        channels = (math.isqrt(9 + 8 * h.shape[1]) - 3) // 2 if h.dim() == 2 else 0
        if h.dim() != 2 or self.num_outputs(channels) != h.shape[1]:
            raise ValueError(
                "a full-covariance posterior over C latents takes (N, C·(C + 3)/2) numbers, so 2, 5, 9, 14, … of them "
                f"for C = 1, 2, 3, 4, …; received {tuple(h.shape)}"
            )
        h = at_least_float32(h)
        loc, logvar = bounded_halves(h[:, : 2 * channels])
        rows, columns = torch.tril_indices(channels, channels, -1, device=h.device)
        lower = h.new_zeros(h.shape[0], channels, channels)
        lower[:, rows, columns] = smooth_clamp(h[:, 2 * channels :], _LOWER_RANGE)
        return FullCovarianceGaussian(loc, logvar, lower)

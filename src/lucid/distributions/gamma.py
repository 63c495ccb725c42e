"""Parts of the gamma function that keep their digits in float32, where differences of log Γ lose them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["log_factorial_excess", "log_gamma_ratio", "stirling_error"]

_LARGE = 8.0
"""From here on the asymptotic series below are exact to float32 and better."""


def stirling_error(y: Tensor) -> Tensor:
    r"""What Stirling's formula leaves out of log Γ.

    .. math:: \delta(y) = \log\Gamma(y) - \bigl( (y - \tfrac12) \log y - y + \tfrac12 \log 2\pi \bigr)
        = \tfrac{1}{12y} - \tfrac{1}{360y^3} + \tfrac{1}{1260y^5} - \ldots

    (NIST Digital Library of Mathematical Functions, 5.11, https://dlmf.nist.gov/5.11.)

    Args:
        y: Positive, any shape.

    Example:
        >>> import torch
        >>> stirling_error(torch.tensor([1.0, 1e8]))  # 1 − log(2π)/2, and next to nothing
        tensor([8.1061e-02, 8.3333e-10])
    """
    small, large = y.clamp(max=_LARGE), y.clamp(min=_LARGE)
    direct = torch.lgamma(small) - ((small - 0.5) * small.log() - small + 0.5 * math.log(2 * math.pi))
    inverse = large.reciprocal()
    square = inverse.square()
    terms = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
    series = torch.full_like(square, terms[-1])
    for term in terms[-2::-1]:
        series = series * square + term
    return torch.where(y < _LARGE, direct, series * inverse)


def log_gamma_ratio(y: Tensor) -> Tensor:
    r"""log Γ(y + ½) − log Γ(y) for positive y, any shape: for large y a small difference of large numbers.

    By `stirling_error`, :math:`y\log(1+\tfrac{1}{2y}) - \tfrac12 + \tfrac12\log y + \delta(y+\tfrac12) - \delta(y)`.

    Example:
        >>> import torch
        >>> log_gamma_ratio(torch.tensor([0.5, 1e9]))  # −log(π)/2, and log(y)/2
        tensor([-0.5724, 10.3616])
    """
    return y * (0.5 / y).log1p() - 0.5 + 0.5 * y.log() + stirling_error(y + 0.5) - stirling_error(y)


def log_factorial_excess(n: Tensor) -> Tensor:
    r"""log n! − (n log n − n) for n ≥ 1, any shape: :math:`\tfrac12\log 2\pi n + \delta(n)`.

    Example:
        >>> import torch
        >>> log_factorial_excess(torch.ones(1))
        tensor([1.])
    """
    return 0.5 * (2 * math.pi * n).log() + stirling_error(n)

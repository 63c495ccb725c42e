"""The Fréchet distance between two sets of features."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["frechet_between_gaussians", "frechet_distance"]

_ROWS = 1024
"""Rows that are held in float64 at once."""


def frechet_distance(first: Tensor, second: Tensor) -> float:
    r"""The squared Fréchet distance between the Gaussians that have the means and covariances of two sets.

    .. math:: d^2 = \|\mu_1 - \mu_2\|^2
        + \operatorname{tr}\bigl(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1^{1/2} \Sigma_2 \Sigma_1^{1/2})^{1/2}\bigr)

    It compares means and covariances and nothing else. The estimate is too large, roughly in inverse proportion to the
    number of examples: two sets of the same distribution are not at distance 0. Only distances from sets of the same
    sizes, in the same feature space, can be compared.

    Heusel, Ramsauer, Unterthiner, Nessler, Hochreiter: GANs Trained by a Two Time-Scale Update Rule Converge to a Local
    Nash Equilibrium, 2017, https://arxiv.org/abs/1706.08500. Its bias: Chong, Forsyth: Effectively Unbiased FID and
    Inception Score and where to find them, 2020, https://arxiv.org/abs/1911.07023.

    Args:
        first: Features, (N, D) with N ≥ 2.
        second: Features, (M, D) with M ≥ 2.

    Returns:
        d², in squared units of the features; computed in float64, with covariances divided by N − 1.

    Raises:
        ValueError: If the shapes are others.

    Example:
        >>> import torch
        >>> x = torch.randn(100, 3)
        >>> abs(frechet_distance(x, x)) < 1e-12, round(frechet_distance(x, x + 2), 6)
        (True, 12.0)
    """
    _check(first, second)
    means = [torch.stack([rows.double().sum(0) for rows in x.split(_ROWS)]).sum(0) / len(x) for x in (first, second)]
    if min(len(first), len(second)) > first.shape[1]:
        return frechet_between_gaussians(
            means[0], _covariance(first, means[0]), means[1], _covariance(second, means[1])
        )
    # With no more examples than features, the root's trace is the sum of the singular values of a smaller product.
    centred = [(x.double() - mean) / (len(x) - 1) ** 0.5 for x, mean in zip((first, second), means, strict=True)]
    spread = sum(float(factor.square().sum()) for factor in centred)
    common = float(torch.linalg.svdvals(centred[0] @ centred[1].T).sum())
    return max(0.0, float((means[0] - means[1]).square().sum()) + spread - 2 * common)  # below 0 by rounding only


def frechet_between_gaussians(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> float:
    """The squared Fréchet (2-Wasserstein) distance between two Gaussians; see `frechet_distance`.

    Dowson, Landau: The Fréchet distance between multivariate normal distributions, 1982,
    https://doi.org/10.1016/0047-259X(82)90077-X.

    Args:
        mean1: (D,).
        cov1: (D, D), symmetric, positive semi-definite; it may be singular.
        mean2: (D,).
        cov2: (D, D).

    Example:
        >>> import torch
        >>> frechet_between_gaussians(torch.zeros(2), torch.eye(2), torch.ones(2), 4 * torch.eye(2))
        4.0
    """
    mean1, cov1, mean2, cov2 = (part.double() for part in (mean1, cov1, mean2, cov2))
    values, vectors = torch.linalg.eigh(cov1)
    half = vectors * values.clamp(min=0).sqrt()  # half · halfᵀ = cov1
    common = torch.linalg.eigvalsh(half.T @ cov2 @ half).clamp(min=0).sqrt().sum()
    # Below 0 by rounding only.
    return max(0.0, float((mean1 - mean2).square().sum() + cov1.trace() + cov2.trace() - 2 * common))


def _covariance(x: Tensor, mean: Tensor) -> Tensor:
    total = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64)
    for rows in x.split(_ROWS):
        centred = rows.double() - mean
        total += centred.T @ centred
    return total / (len(x) - 1)


def _check(first: Tensor, second: Tensor) -> None:
    if first.dim() != 2 or second.dim() != 2 or first.shape[1] != second.shape[1]:
        raise ValueError(
            f"two sets of features must be (N, D) and (M, D); received {tuple(first.shape)} and {tuple(second.shape)}"
        )
    if min(len(first), len(second)) < 2:
        raise ValueError(f"a covariance needs at least 2 examples; received {len(first)} and {len(second)}")

"""The KL divergence feature by feature, where densities split into features."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from lucid.distributions.gaussian import DiagonalGaussian, StandardNormal

__all__ = ["kl_per_feature"]


def kl_per_feature(q: Distribution, p: Distribution, value: Tensor | None = None) -> Tensor | None:
    r"""What each feature adds to KL(q ‖ p), in nats; summed over an event it is the KL.

    Args:
        q: The posterior.
        p: The prior.
        value: None for the closed form; else draws of q (K·B, ...), laid out draw-major, at which
            :math:`\log q(z_i) - \log p(z_i)` is taken: where the prior depends on a later latent, only that belongs to
            a bound.

    Returns:
        (B, ...) in closed form, (K·B, ...) at values; None where q and p are not both Gaussians with a diagonal
        covariance, as with a flow or a mixture.

    Example:
        >>> import torch
        >>> from lucid.distributions import DiagonalGaussian, StandardNormal
        >>> q = DiagonalGaussian(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2))
        >>> kl_per_feature(q, StandardNormal(q.loc))
        tensor([[0.5000, 0.0000]])
    """
    if not isinstance(q, DiagonalGaussian) or not isinstance(p, DiagonalGaussian | StandardNormal):
        return None
    if value is None:
        # Seen as a batch of one-feature distributions, the densities' own sums over an event are over one feature.
        return kl_divergence(_features(q), _features(p)).view(q.loc.shape)
    return _log_prob(q, value) - _log_prob(p, value)


def _features(distribution: DiagonalGaussian | StandardNormal) -> DiagonalGaussian | StandardNormal:
    if isinstance(distribution, StandardNormal):
        return StandardNormal(distribution.loc.flatten())
    return DiagonalGaussian(distribution.loc.flatten(), distribution.logvar.flatten())


def _log_prob(distribution: DiagonalGaussian | StandardNormal, value: Tensor) -> Tensor:
    """log p of each feature of `value`, which holds one or several draws for each row of the distribution."""
    per_draw = value.unflatten(0, (-1, distribution.batch_shape[0]))
    return distribution._log_prob(per_draw).flatten(0, 1)  # pyright: ignore[reportPrivateUsage]

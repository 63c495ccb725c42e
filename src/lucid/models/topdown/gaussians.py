"""The Gaussians of a deep hierarchy: bounded priors, and posteriors that say how they differ from them."""

from __future__ import annotations

from torch import Tensor

from lucid.distributions import DiagonalGaussian, at_least_float32, smooth_clamp

__all__ = ["LOC_LIMIT", "LOG_SCALE_LIMIT", "SHIFT_LIMIT", "prior_gaussian", "residual_posterior"]

LOC_LIMIT = 5.0
"""Prior means in ±5 are left exactly as they are; beyond, they level off at ±6, as in NVAE.

Wider bounds keep a loss finite, but not a model alive: of tens of levels each hands its latent to the next, and what
one lets through in a bad step the others multiply.
"""

LOG_SCALE_LIMIT = 5.0
"""The log of a prior's scale, and the log of posterior over prior scale, likewise: scales from 1/148 to 148."""

SHIFT_LIMIT = 5.0
"""How far a posterior's mean lies from its prior's, in units of the prior's scale, likewise."""


def prior_gaussian(h: Tensor) -> DiagonalGaussian:
    """p(z|h) from a network's output: mean and log-scale along dimension 1, smoothly bounded.

    Args:
        h: (N, 2·C, ...).
    """
    loc, log_scale = at_least_float32(h).chunk(2, dim=1)
    return DiagonalGaussian(smooth_clamp(loc, LOC_LIMIT), 2 * smooth_clamp(log_scale, LOG_SCALE_LIMIT))


def residual_posterior(h: Tensor, prior: DiagonalGaussian | None) -> DiagonalGaussian:
    r"""q(z|h, x) from what a network says about its difference from the prior N(μ, σ²).

    .. math:: q = N(\mu + \sigma\, a,\; \sigma^2 e^{2b}), \qquad
        KL(q \,\|\, p) = \tfrac12 \sum_i \bigl( a_i^2 + e^{2b_i} - 1 - 2b_i \bigr)

    An output of zero is a collapsed unit, and as a and b are bounded, so is the KL, whatever a network emits.
    (Vahdat, Kautz: NVAE, A Deep Hierarchical Variational Autoencoder, 2020, https://arxiv.org/abs/2007.03898, with the
    shift in units of the prior's scale.)

    Args:
        h: a and b, concatenated along dimension 1, (N, 2·C, ...).
        prior: p(z|h); None where it is no Gaussian, and a and b are then measured from N(0, I).
    """
    shift, log_ratio = at_least_float32(h).chunk(2, dim=1)
    shift, logvar = smooth_clamp(shift, SHIFT_LIMIT), 2 * smooth_clamp(log_ratio, LOG_SCALE_LIMIT)
    if prior is None:
        return DiagonalGaussian(shift, logvar)
    return DiagonalGaussian(prior.loc + prior.scale * shift, prior.logvar + logvar)

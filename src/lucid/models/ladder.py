"""The ladder: inference goes down again beside the priors, and every level reaches the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from lucid.distributions import DiagonalGaussian
from lucid.io import register
from lucid.models import checks
from lucid.models.config import VAEConfig
from lucid.models.fixed_api import FixedAPI
from lucid.models.walk import Latent, Walk, repeat_to

__all__ = ["LadderVAE", "merged"]


@register
class LadderVAE(FixedAPI):
    r"""A ladder variational autoencoder: a hierarchy whose posteriors and priors share the way down.

    A deterministic pass goes up: :math:`(\hat\mu_0, \hat\sigma_0^2)` from `encoders[0]` and x, then
    :math:`(\hat\mu_l, \hat\sigma_l^2)` from `encoders[l]` and :math:`\hat\mu_{l-1}`. The deepest posterior is
    :math:`q(z_{L-1}|x) = N(\hat\mu_{L-1}, \hat\sigma_{L-1}^2)`. On the way down each level weighs what the encoder says
    against what its prior :math:`p(z_l|z_{l+1}) = N(\mu_p, \sigma_p^2)` expects, by their precisions:

    .. math::
        q(z_l|z_{l+1}, x) = N\Bigl(\frac{\hat\mu_l \hat\sigma_l^{-2} + \mu_p \sigma_p^{-2}}
        {\hat\sigma_l^{-2} + \sigma_p^{-2}},\; \frac{1}{\hat\sigma_l^{-2} + \sigma_p^{-2}}\Bigr)

    Every prior is known before its latent is drawn, so the KL of every level is a closed form.

    The decoders form a path that every level reaches. With :math:`h_{L-1} = z_{L-1}`,

    .. math:: h_{l-1} = z_{l-1} + \mathrm{decoders}_l(h_l), \qquad x \sim p(x \mid \mathrm{decoders}_0(h_0))

    Sønderby, Raiko, Maaløe, Sønderby, Winther: Ladder Variational Autoencoders, 2016,
    https://arxiv.org/abs/1602.02282.

    Args:
        config: The parts, the same that a `VAE` takes; with more than one level, `priors` among them.

    Raises:
        TypeError: If `config` is not a `VAEConfig`.
        ValueError: If there are several levels and no priors, or the posteriors are not diagonal Gaussians; and at the
            call, if `decoders[l]` does not emit the shape of the latent of level l − 1.

    Example:
        >>> import lucid.nn as nn, torch
        >>> from lucid.models import VAEConfig
        >>> model = LadderVAE(VAEConfig(
        ...     encoders=[nn.Linear(6, 8), nn.Linear(4, 4)],
        ...     decoders=[nn.Linear(4, 6), nn.Linear(2, 4)],
        ...     priors=[nn.Linear(2, 8)],
        ... ))
        >>> recon, mus, logvars, zs = model(torch.randn(3, 6))
        >>> recon.shape, [tuple(z.shape) for z in zs]
        (torch.Size([3, 6]), [(3, 4), (3, 2)])
    """

    inference_goes_down: ClassVar[bool] = True

    def __init__(self, config: VAEConfig) -> None:
        super().__init__(config)
        if self.depth > 1 and self.priors is None:
            raise ValueError(
                f"a LadderVAE of depth {self.depth} needs priors: each posterior below the deepest is merged with "
                f"p(z_l | z_{{l+1}}), which priors[l] emits. Give priors, a list of {self.depth - 1} modules; received "
                "None"
            )
        if not config.diagonal:
            raise ValueError(
                "a LadderVAE merges diagonal Gaussians by their precisions: leave posterior out. VAE takes any; "
                f"received {', '.join(type(posterior).__name__ for posterior in config.level_posteriors())}"
            )

    def _infer(self, x: Tensor, check: bool) -> Walk:
        if check and not torch.compiler.is_compiling():
            checks.check_input(x, self, self.likelihood)
        evidence = self._evidence(x)
        latents: list[Latent] = []
        for level in reversed(range(self.depth)):
            seen = evidence[level]
            if not latents:
                prior, posterior = self._prior(level, None, seen.loc), seen
            else:
                prior = self._prior(level, latents[0].value, seen.loc)
                assert isinstance(prior, DiagonalGaussian)
                posterior = merged(seen, prior)
            z = yield posterior
            latents.insert(0, Latent(z, prior, posterior))
        params, _ = self._decode([latent.value.to(x.dtype) for latent in latents])
        yield self._record(tuple(latents), params, x)

    def _infer_top(self, x: Tensor) -> DiagonalGaussian:
        return self._evidence(self._cast(x))[-1]

    def _evidence(self, x: Tensor) -> list[DiagonalGaussian]:
        """What the encoders say of each level, indexed by level, on the deterministic way up."""
        found: list[DiagonalGaussian] = []
        h, source = x, "x has"
        for level in range(self.depth):
            seen = self._encoded(level, h, source)
            assert isinstance(seen, DiagonalGaussian)
            found.append(seen)
            h, source = seen.loc.to(x.dtype), f"the mean of level {level} has"
        return found

    def _last_input(self, zs: Sequence[Tensor]) -> tuple[Tensor, str]:
        h, source = zs[-1], f"level {self.depth - 1} drew a latent of"
        for level in reversed(range(1, self.depth)):
            emitted = checks.call(self.decoders[level], h, f"decoders[{level}]", source)
            checks.check_joins(emitted, zs[level - 1], level)
            h, source = zs[level - 1] + emitted, f"decoders[{level}] and level {level - 1} add up to"
        return h, source


def merged(evidence: DiagonalGaussian, prior: DiagonalGaussian) -> DiagonalGaussian:
    r"""The normalised product of two Gaussian densities: their precisions add, their means are weighed by them.

    No precision is ever formed: the log-variance is :math:`-\log(\hat\sigma^{-2} + \sigma_p^{-2})` as a log-sum of
    exponentials, and the mean :math:`\mu_p + \operatorname{sigmoid}(\log\sigma_p^2 - \log\hat\sigma^2)
    (\hat\mu - \mu_p)`.

    Args:
        evidence: What the encoder says, batch (B,).
        prior: What the level above expects, batch (K·B,), several draws laid out draw-major.

    Returns:
        Batch (K·B,).
    """
    rows = prior.loc.shape[0]
    loc, logvar = repeat_to(evidence.loc, rows), repeat_to(evidence.logvar, rows)
    weight = (prior.logvar - logvar).sigmoid()
    return DiagonalGaussian(torch.lerp(prior.loc, loc, weight), -torch.logaddexp(-logvar, -prior.logvar))

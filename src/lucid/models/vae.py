"""The variational autoencoder of `VAEConfig`: a bottom-up chain of latents, decoded from the deepest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from lucid.io import register
from lucid.models import checks
from lucid.models.fixed_api import Encoded, FixedAPI, VAEOutput
from lucid.models.walk import Walk

__all__ = ["VAE", "Encoded", "VAEOutput"]


@register
class VAE(FixedAPI):
    r"""A variational autoencoder with any number of latent levels.

    Inference goes up, :math:`q(z_0|x)\, q(z_1|z_0) \cdots q(z_{L-1}|z_{L-2})`; generation starts at the deepest level,
    :math:`p(z_{L-1})`, the standard normal or `top_prior`, from which the decoders reach x. Shallower latents are
    auxiliary: they make :math:`q(z_{L-1}|x)` richer, and `priors` are the reverse model :math:`p(z_l|z_{l+1})` that the
    bound needs. Without data the same model walks the priors.

    Kingma, Welling: Auto-Encoding Variational Bayes, 2013, https://arxiv.org/abs/1312.6114.

    Args:
        config: The parts.

    Raises:
        TypeError: If `config` is not a `VAEConfig`.

    Example:
        >>> import lucid.nn as nn, torch
        >>> from lucid.models import VAEConfig
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)]))
        >>> x = torch.randn(3, 6)
        >>> recon, mus, logvars, zs = model(x)
        >>> loss, recon_loss, kl = model.get_loss(x, recon, mus, logvars, zs)
        >>> recon.shape, zs[0].shape, bool(loss == recon_loss + kl)
        (torch.Size([3, 6]), torch.Size([3, 2]), True)
    """

    inference_goes_down: ClassVar[bool] = False

    def _infer(self, x: Tensor, check: bool) -> Walk:
        if check and not torch.compiler.is_compiling():
            checks.check_input(x, self, self.likelihood)
        posteriors: list[Distribution] = []
        zs: list[Tensor] = []
        for level in range(self.depth):
            # Latents are drawn in float32; networks read the type of the data, which is that of their parameters.
            posterior = self._posterior(level, zs[-1].to(x.dtype) if zs else x)
            z = yield posterior
            posteriors.append(posterior)
            zs.append(z)
        params, _ = self._decode([z.to(x.dtype) for z in zs])
        yield self._record(self._latents(posteriors, zs), params, x)

    def _infer_top(self, x: Tensor) -> Distribution:
        h = self._cast(x)
        for level in range(self.depth - 1):
            h = self._cast(self._posterior(level, h).mean)
        return self._posterior(self.depth - 1, h)

    def _posterior(self, level: int, h: Tensor) -> Distribution:
        return self._encoded(level, h, f"level {level - 1} drew a latent of" if level else "x has")

    def _last_input(self, zs: Sequence[Tensor]) -> tuple[Tensor, str]:
        h, source = zs[-1], f"level {self.depth - 1} drew a latent of"
        for level in reversed(range(1, self.depth)):
            h = checks.call(self.decoders[level], h, f"decoders[{level}]", source)
            source = f"decoders[{level}] emitted"
        return h, source

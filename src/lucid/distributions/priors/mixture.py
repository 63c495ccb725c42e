"""The prior that is a mixture of Gaussians."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lucid.distributions.bounds import bounded_loc, bounded_logvar
from lucid.distributions.factorised import at_least_float32
from lucid.distributions.gaussian import DiagonalGaussian
from lucid.distributions.mixture import Mixture
from lucid.distributions.prior import Infer, Prior
from lucid.distributions.sizes import check_event, positive, shape_of

__all__ = ["MixturePrior"]


class MixturePrior(Prior):
    r"""A mixture of diagonal Gaussians; weights, means and variances are learned.

    .. math:: p(z) = \sum_k w_k\, N(z;\ \mu_k,\ \operatorname{diag} \sigma_k^2)

    `start` puts the means on latents drawn for data, which is where they belong; until then they are drawn from
    N(0, I).

    Args:
        shape: Shape of one latent, without the batch; a number stands for a vector.
        components: How many Gaussians K.

    Example:
        >>> import torch
        >>> prior = MixturePrior(2, components=5)
        >>> prior(torch.empty(3, 2)).log_prob(torch.zeros(3, 2)).shape
        torch.Size([3])
    """

    def __init__(self, shape: int | Sequence[int], components: int = 100) -> None:
        super().__init__()
        self.shape = shape_of("shape", shape)
        self.components = positive("components", components)
        self.loc = nn.Parameter(torch.randn(components, *self.shape))
        self.logvar = nn.Parameter(torch.zeros(components, *self.shape))
        self.logits = nn.Parameter(torch.zeros(components))

    def forward(self, like: Tensor, infer: Infer | None = None) -> Mixture:
        check_event("MixturePrior", self.shape, like)
        loc, logvar, logits = (
            at_least_float32(parameter).to(like.dtype) for parameter in (self.loc, self.logvar, self.logits)
        )
        loc, logvar = bounded_loc(loc), bounded_logvar(logvar)
        every = DiagonalGaussian(loc, logvar)
        return Mixture(like, logits.log_softmax(0), every, lambda index: DiagonalGaussian(loc[index], logvar[index]))

    @torch.no_grad()
    def start(self, x: Tensor, z: Tensor) -> None:
        """Means at latents spread over `z`, equal weights, and variances by Scott's rule, K^(−2/(D + 4)) of those of z.

        Scott: Multivariate Density Estimation, 1992, https://doi.org/10.1002/9780470316849.
        """
        check_event("MixturePrior", self.shape, z)
        chosen = torch.linspace(0, len(z) - 1, self.components).round().long()
        self.loc.copy_(z[chosen.to(z.device)])
        share = 2 / (math.prod(self.shape) + 4) * math.log(self.components)
        self.logvar.copy_((z.var(0).clamp(min=1e-6).log() - share).expand_as(self.logvar))
        self.logits.zero_()

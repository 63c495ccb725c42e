"""The prior that is a normalizing flow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lucid.distributions.bounds import bounded_loc, bounded_logvar
from lucid.distributions.factorised import at_least_float32
from lucid.distributions.flow import Flow, FlowDensity, Univariate
from lucid.distributions.gaussian import StandardNormal
from lucid.distributions.prior import Infer, Prior
from lucid.distributions.sizes import check_event, check_univariate, positive, shape_of

__all__ = ["FlowPrior"]


class FlowPrior(Prior):
    r"""A normalizing flow: an invertible map takes p(z) to N(0, I); begins as N(0, I).

    .. math:: p(z) = N(f(z); 0, I) \left|\det \frac{\partial f}{\partial z}\right|

    The density takes one pass of the networks. A draw takes one for each group of features that depend on one another:
    as many as there are features, or 2 with `passes=2`, known as coupling. Latents of any shape are flattened.

    Papamakarios et al.: Masked Autoregressive Flow for Density Estimation, 2017, https://arxiv.org/abs/1705.07057.
    Durkan et al.: Neural Spline Flows, 2019, https://arxiv.org/abs/1906.04032.
    Dinh, Sohl-Dickstein, Bengio: Density Estimation Using Real NVP, 2016, https://arxiv.org/abs/1605.08803.

    Args:
        shape: Shape of one latent, without the batch; a number stands for a vector.
        transforms: Steps of the map.
        passes: Groups of features: 2 is coupling, None one group a feature.
        hidden: Width of the two hidden layers in each step.
        univariate: What happens to each feature: "spline" (monotone, with 8 bins) or "affine".

    Raises:
        ImportError: Without zuko, the extra `flows`.

    Example:
        >>> import torch
        >>> prior = FlowPrior(3, transforms=2, hidden=16)
        >>> prior(torch.empty(2, 3)).log_prob(torch.zeros(2, 3))
        tensor([-2.7568, -2.7568], grad_fn=<AddBackward0>)
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        transforms: int = 3,
        *,
        passes: int | None = None,
        hidden: int = 64,
        univariate: Univariate = "spline",
    ) -> None:
        super().__init__()
        self.shape = shape_of("shape", shape)
        self.transforms = positive("transforms", transforms)
        self.passes = None if passes is None else positive("passes", passes)
        self.hidden = positive("hidden", hidden)
        self.univariate = check_univariate(univariate)
        features = math.prod(self.shape)
        self.loc = nn.Parameter(torch.zeros(features))
        self.logvar = nn.Parameter(torch.zeros(features))
        self.flow = Flow(features, 0, transforms, passes, hidden, univariate)

    def forward(self, like: Tensor, infer: Infer | None = None) -> FlowDensity:
        check_event("FlowPrior", self.shape, like)
        loc = bounded_loc(at_least_float32(self.loc).to(like.dtype))
        half = 0.5 * bounded_logvar(at_least_float32(self.logvar).to(like.dtype))

        def to_base(z: Tensor) -> tuple[Tensor, Tensor]:
            u, log_det = self.flow((z - loc) * (-half).exp(), None)
            return u, log_det - half.sum()

        def from_base(u: Tensor) -> tuple[Tensor, Tensor]:
            standardised, log_det = self.flow.inverse(u, None)
            return loc + standardised * half.exp(), log_det + half.sum()

        return FlowDensity(like, StandardNormal(like.flatten(1)), to_base, from_base, keep=False)

    @torch.no_grad()
    def start(self, x: Tensor, z: Tensor) -> None:
        """Begin by standardising: mean and variance of each feature are those of `z`, (N, ...)."""
        check_event("FlowPrior", self.shape, z)
        self.loc.copy_(z.flatten(1).mean(0))
        self.logvar.copy_(z.flatten(1).var(0).clamp(min=1e-6).log())

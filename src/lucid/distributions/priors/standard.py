"""The standard normal prior."""

from __future__ import annotations

from torch import Tensor

from lucid.distributions.gaussian import StandardNormal
from lucid.distributions.prior import Infer, Prior

__all__ = ["StandardNormalPrior"]


class StandardNormalPrior(Prior):
    """N(0, I), with nothing to learn: what a model without `top_prior` has.

    Example:
        >>> import torch
        >>> StandardNormalPrior()(torch.empty(2, 3)).log_prob(torch.zeros(2, 3))
        tensor([-2.7568, -2.7568])
    """

    def forward(self, like: Tensor, infer: Infer | None = None) -> StandardNormal:
        return StandardNormal(like)

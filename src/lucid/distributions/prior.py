"""What a prior of the deepest latent is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn
from torch.distributions import Distribution

__all__ = ["Infer", "Prior"]

Infer = Callable[[Tensor], Distribution]
"""From data (K, ...) to the posterior of the deepest latent given each, q(z|x), batch shape (K,)."""


class Prior(nn.Module, ABC):
    """p(z) of the deepest latent, learned or not.

    A new prior is one small file: it says how its parameters become a distribution (`forward`).
    """

    @abstractmethod
    def forward(self, like: Tensor, infer: Infer) -> Distribution:
        """The distribution.

        Args:
            like: A tensor with the shape (N, ...), type and device of the latents; its values are not read.
            infer: The model's own way from data to the posterior of this latent, for priors made of posteriors.

        Returns:
            A distribution with batch shape (N,) and event shape `like.shape[1:]`, with `log_prob`, `rsample` and
            `mean`; `log_prob` also takes values with leading dimensions.
        """

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
            A distribution with batch shape (N,) and event shape `like.shape[1:]`, with `log_prob`, `mean` and `rsample`
            (`sample`, where draws have no gradient); `log_prob` also takes values with leading dimensions.
        """

    def start(self, x: Tensor, z: Tensor) -> None:
        """Begin where the data is; a prior with nothing to place, such as N(0, I), leaves it at that.

        Args:
            x: Data, (N, ...), in no order that means anything.
            z: A latent drawn for each, (N, ...).
        """
        return

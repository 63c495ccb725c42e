"""What a posterior is: how an encoder's output becomes a distribution over a latent."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.distributions import Distribution

__all__ = ["Posterior"]


class Posterior(nn.Module, ABC):
    """q(z|x) from what an encoder emitted.

    A new posterior is one small file: it says how many numbers the encoder emits (`num_outputs`), and how they become a
    distribution (`forward`).
    """

    @abstractmethod
    def num_outputs(self, channels: int) -> int:
        """Width (dimension 1) of the encoder's output for latents of that many channels."""

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """The distribution over the latent.

        Args:
            h: What the encoder emitted, (N, num_outputs(C), ...).

        Returns:
            A distribution with batch shape (N,) and event shape (C, ...), with `rsample`, `log_prob` and `mean`;
            `log_prob` also takes values with leading dimensions.

        Raises:
            ValueError: If no number of channels C gives what was received.
        """

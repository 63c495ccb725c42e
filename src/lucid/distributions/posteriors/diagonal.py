"""The posterior with independent features."""

from __future__ import annotations

from torch import Tensor

from lucid.distributions.gaussian import DiagonalGaussian
from lucid.distributions.posterior import Posterior

__all__ = ["DiagonalPosterior"]


class DiagonalPosterior(Posterior):
    """N(μ, diag σ²): the encoder emits mean and log-variance, concatenated along dimension 1.

    What a model without `posterior` has. Its `mean` and `logvar` are what the encoder emitted.

    Example:
        >>> import torch
        >>> DiagonalPosterior()(torch.zeros(3, 4)).mean.shape
        torch.Size([3, 2])
    """

    def num_outputs(self, channels: int) -> int:
        return 2 * channels

    def forward(self, h: Tensor) -> DiagonalGaussian:
        if h.dim() < 2 or h.shape[1] % 2:
            raise ValueError(
                "a diagonal posterior takes mean and log-variance concatenated along dimension 1, an even number; "
                f"received {tuple(h.shape)}"
            )
        return DiagonalGaussian.from_concatenated(h)

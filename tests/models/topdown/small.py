"""Small top-down models for tests, with every weight in play."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lucid.distributions import Bernoulli, Likelihood
from lucid.models import Stage, TopDownConfig, TopDownVAE

STAGES = (Stage((4, 3), 6, 2, blocks=2, encoder_blocks=2), Stage((2, 2), 5, 2), Stage((1, 1), 4, 3))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=generator(seed))


def stirred(model: nn.Module, scale: float = 0.3, seed: int = 0) -> Any:
    """The model with noise on every weight: what begins at zero says something too."""
    g = generator(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=g, dtype=parameter.dtype))
    return model


def small(
    shape: tuple[int, ...] = (1, 8, 5),
    stages: tuple[Stage, ...] = STAGES,
    likelihood: Likelihood | None = None,
    **options: Any,
) -> TopDownVAE:
    """Four levels over images of 8×5 unless told otherwise."""
    config = TopDownConfig(shape=shape, likelihood=likelihood or Bernoulli(), stages=stages, **options)
    return stirred(TopDownVAE(config))

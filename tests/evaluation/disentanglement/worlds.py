"""Constructed representations of known factors, the same numbers on every machine."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

SIZES = (3, 4, 5, 2)
"""How many values each factor takes."""


def grid(copies: int = 1) -> Tensor:
    """Every combination of the factors' values, each `copies` times, (120 · copies, 4)."""
    return torch.cartesian_prod(*(torch.arange(size) for size in SIZES)).repeat(copies, 1)


def uniform(rows: int, columns: int, seed: int) -> Tensor:
    """Uniform numbers in [0, 1), (rows, columns) float64, from NumPy's PCG64."""
    return torch.from_numpy(np.random.default_rng(seed).random((rows, columns)))


def random_factors(rows: int, seed: int = 0) -> Tensor:
    """Factors drawn independently, (rows, 4)."""
    return (uniform(rows, len(SIZES), seed) * torch.tensor(SIZES)).long()


def scaled(factors: Tensor) -> Tensor:
    """The factors on [0, 1], (rows, 4) float64."""
    return factors.double() / (torch.tensor(SIZES) - 1)


MIX = torch.tensor(
    [
        [1.0, 0.1, 0.0, 0.3, 0.0, 0.5],
        [0.2, 1.0, 0.1, 0.0, 0.0, 0.5],
        [0.0, 0.3, 0.8, 0.6, 0.0, 0.5],
        [0.1, 0.0, 0.5, 0.9, 0.0, 0.5],
    ],
    dtype=torch.float64,
)
"""How four factors enter six units: mostly their own, one unit of noise alone, one that holds all alike."""


def mixed(factors: Tensor, seed: int = 1, noise: float = 0.4) -> Tensor:
    """Six units that mix the factors, with noise, (rows, 6) float64."""
    return scaled(factors) @ MIX + noise * (uniform(len(factors), 6, seed) - 0.5)


def clean(factors: Tensor) -> Tensor:
    """The factors themselves and two units of noise, (rows, 6) float64."""
    return torch.cat([scaled(factors), uniform(len(factors), 2, 7)], 1)

"""Likelihoods of data with a declared number of levels: the discretised logistic and the categorical."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lucid.distributions.bounds import bounded_loc, bounded_logvar
from lucid.distributions.discrete import CategoricalGrid, DiscretisedLogisticGrid
from lucid.distributions.factorised import at_least_float32
from lucid.distributions.likelihood import Likelihood
from lucid.distributions.likelihoods.levels import check_grid, valid_levels

__all__ = ["Categorical", "DiscretisedLogistic"]


class DiscretisedLogistic(Likelihood):
    """A logistic density cut into bins, for integer data of any number of levels; exact masses that sum to one.

    Data with L levels enters as x = level/(L−1), on a grid in [0, 1]. The decoder emits the mean, on that same scale,
    and the log of the logistic's scale.

    Args:
        levels: Number of values a feature can take, L ≥ 2: 256 for 8-bit images, 17 for scikit-learn's digits.

    Raises:
        ValueError: If `levels` is not an integer of at least 2.

    Shape:
        Decoder output (N, 2·C, ...), means then log-scales, for x (N, C, ...).
    """

    num_parameters = 2

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = valid_levels(levels)

    def forward(self, params: Tensor, x: Tensor | None = None) -> DiscretisedLogisticGrid:
        loc, log_scale = at_least_float32(params).chunk(2, dim=1)
        assert self.levels is not None
        return DiscretisedLogisticGrid(bounded_loc(loc), bounded_logvar(log_scale), self.levels)

    def initial_params(self, x: Tensor) -> Tensor:
        """The data's mean, and the scale of the logistic of its standard deviation, at least half a level."""
        assert self.levels is not None
        std = x.std(0, unbiased=False).clamp(min=0.5 / (self.levels - 1))
        return torch.cat([x.mean(0), (std * (math.sqrt(3) / math.pi)).log()])

    def check(self, x: Tensor) -> None:
        """Refuse values off the grid of levels."""
        check_grid(x, self.levels)

    def extra_repr(self) -> str:
        return f"levels={self.levels}"


class Categorical(Likelihood):
    """A free mass on every level of every feature: any shape of distribution, at L decoder outputs a feature.

    Data with L levels enters as x = level/(L−1). The levels' order is not used, so it suits classes as well as
    few-level images.

    Args:
        levels: Number of values a feature can take, L ≥ 2.

    Raises:
        ValueError: If `levels` is not an integer of at least 2.

    Shape:
        Decoder output (N, L·C, ...), the logits of level 0 for all features first, for x (N, C, ...).
    """

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = self.num_parameters = valid_levels(levels)

    def forward(self, params: Tensor, x: Tensor | None = None) -> CategoricalGrid:
        assert self.levels is not None
        return CategoricalGrid(at_least_float32(params).unflatten(1, (self.levels, -1)))

    def initial_params(self, x: Tensor) -> Tensor:
        """The log of how often each level occurs, each counted once more than it does."""
        assert self.levels is not None
        index = (x * (self.levels - 1)).round().long()
        counts = torch.stack([(index == level).sum(0) for level in range(self.levels)])
        return ((counts + 1) / (len(x) + self.levels)).log().flatten(0, 1)

    def check(self, x: Tensor) -> None:
        """Refuse values off the grid of levels."""
        check_grid(x, self.levels)

    def extra_repr(self) -> str:
        return f"levels={self.levels}"

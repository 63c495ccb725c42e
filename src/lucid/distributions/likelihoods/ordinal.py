"""The likelihood of levels with an order and no distances: the ordered logistic."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lucid.distributions.bounds import bounded_loc, bounded_logvar
from lucid.distributions.factorised import at_least_float32
from lucid.distributions.likelihood import Likelihood, require
from lucid.distributions.likelihoods.levels import check_grid, valid_levels
from lucid.distributions.ordinal import OrderedLogisticGrid

__all__ = ["OrderedLogistic"]


class OrderedLogistic(Likelihood):
    r"""Levels that have an order but no distances: grades, answers from "never" to "always".

    A logistic variable around the decoder's output η falls between learned cutpoints :math:`\theta_1 < \ldots <
    \theta_{L-1}`:

    .. math:: P(\text{level} \le k \mid z) = \sigma(\theta_{k+1} - \eta), \qquad k = 0, \ldots, L-2

    One number a feature moves all its levels; how far they lie apart is learned with the weights. Data with L levels
    enters as x = level/(L−1).

    McCullagh: Regression Models for Ordinal Data, 1980, https://doi.org/10.1111/j.2517-6161.1980.tb01109.x.

    Args:
        levels: Number of values a feature can take, L ≥ 2.
        features: Size of dimension 1 of x if every feature there has cutpoints of its own, as the columns of a table;
            1 for one set of cutpoints for all.

    Raises:
        ValueError: If a number is not an integer in its range.

    Shape:
        Decoder output (N, C, ...) for x (N, C, ...).

    Example:
        >>> import torch
        >>> likelihood = OrderedLogistic(levels=3)
        >>> likelihood(torch.zeros(3, 1)).log_prob(torch.tensor([[0.0], [0.5], [1.0]])).exp().detach()
        tensor([0.3333, 0.3333, 0.3333])
    """

    def __init__(self, levels: int, features: int = 1) -> None:
        super().__init__()
        self.levels = valid_levels(levels)
        require(
            isinstance(features, int) and not isinstance(features, bool) and features >= 1,
            lambda: f"features must be an integer of at least 1; received {features!r}",
        )
        self.features = features
        # At the start every level is as likely as any other where η = 0.
        cutpoints = (torch.arange(1, levels) / levels).logit()
        self.first = nn.Parameter(cutpoints[:1].repeat(features, 1))
        self.log_gaps = nn.Parameter(cutpoints.diff().log().repeat(features, 1))

    def num_outputs(self, channels: int) -> int:
        require(
            self.features in (1, channels),
            lambda: (
                f"OrderedLogistic(features={self.features}) has cutpoints for {self.features} features, and x has "
                f"{channels}. Give features={channels}, or 1 to share them"
            ),
        )
        return channels

    def forward(self, params: Tensor, x: Tensor | None = None) -> OrderedLogisticGrid:
        loc = bounded_loc(at_least_float32(params))
        first, log_gaps = (at_least_float32(number).to(loc.dtype) for number in (self.first, self.log_gaps))
        gaps = bounded_logvar(log_gaps).exp()
        # (features, levels − 1) stands beside dimension 1 of x: ones for the places that follow it.
        place = (self.features, *[1] * (loc.dim() - 2), -1)
        return OrderedLogisticGrid(loc, bounded_loc(first).view(place), gaps.view(place))

    def initial_params(self, x: Tensor) -> Tensor:
        """Where a logistic variable would have the data's mean level."""
        assert self.levels is not None
        return x.mean(0).clamp(0.5 / self.levels, 1 - 0.5 / self.levels).logit()

    def check(self, x: Tensor) -> None:
        """Refuse values off the grid of levels."""
        check_grid(x, self.levels)

    def extra_repr(self) -> str:
        return f"levels={self.levels}, features={self.features}"

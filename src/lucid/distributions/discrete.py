"""Masses of discrete data: Bernoulli on logits, the discretised logistic, the categorical."""

from __future__ import annotations

import torch
from torch import Size, Tensor
from torch.nn import functional as F

from lucid.distributions.factorised import Factorised, sum_event
from lucid.distributions.logistic_bins import discretised_draw, discretised_log_mass, discretised_mean
from lucid.distributions.streams import Stream

__all__ = ["BernoulliLogits", "CategoricalGrid", "DiscretisedLogisticGrid", "to_grid_index"]


def to_grid_index(x: Tensor, levels: int) -> Tensor:
    """Level index 0 … levels − 1 of values on the grid {0, 1/(levels−1), …, 1}."""
    return (x * (levels - 1)).round().long()


class BernoulliLogits(Factorised):
    r"""Independent Bernoulli features with the given logits.

    .. math:: \log p(x) = \sum_i x_i \log \sigma(l_i) + (1-x_i) \log \sigma(-l_i)

    Args:
        logits: (N, ...), log-odds.
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        super().__init__(logits)

    @property
    def mean(self) -> Tensor:
        return self.logits.sigmoid()

    @property
    def mode(self) -> Tensor:
        return (self.logits > 0).to(self.logits.dtype)

    @property
    def variance(self) -> Tensor:
        return self.logits.sigmoid() * (-self.logits).sigmoid()

    def log_prob(self, value: Tensor) -> Tensor:
        # Negated after the sum: one pass over all features less, and one less in the gradient.
        return -sum_event(self._cross_entropy(value), len(self.event_shape))

    def _log_prob(self, value: Tensor) -> Tensor:
        return -self._cross_entropy(value)

    def _cross_entropy(self, value: Tensor) -> Tensor:
        logits, value = torch.broadcast_tensors(self.logits, value)
        # The result has the type of the values: half-precision data must not make a half-precision loss.
        return F.binary_cross_entropy_with_logits(logits, value.to(logits.dtype), reduction="none")

    def _sample(self, shape: Size, generator: Stream) -> Tensor:
        return (self.uniform(shape, generator) < self.mean).to(self.logits.dtype)


class DiscretisedLogisticGrid(Factorised):
    """A logistic density cut into `levels` bins on [0, 1]; the outer two bins are open to infinity.

    Its log-masses are those of `lucid.distributions.logistic_bins`, exact at any distance from the mean.

    Args:
        loc: Mean of the logistic, (N, ...), on the scale of the data (0 to 1).
        log_scale: Log of its scale, the shape of `loc`.
        levels: Number of grid points, at least 2.
    """

    def __init__(self, loc: Tensor, log_scale: Tensor, levels: int) -> None:
        self.loc = loc
        self.log_scale = log_scale
        self.levels = levels
        super().__init__(loc)

    @property
    def mean(self) -> Tensor:
        return discretised_mean(self.loc, self.log_scale, self.levels)

    @property
    def mode(self) -> Tensor:
        steps = self.levels - 1
        # The bin that holds the mean is the heaviest of the closed ones; the open ones can be heavier.
        nearest = (self.loc.clamp(0, 1) * steps).round() / steps
        candidates = torch.stack([nearest, torch.zeros_like(nearest), torch.ones_like(nearest)])
        return candidates.gather(0, self._log_prob(candidates).argmax(0, keepdim=True)).squeeze(0)

    def _log_prob(self, value: Tensor) -> Tensor:
        return discretised_log_mass(value, self.loc, self.log_scale, self.levels)

    def _sample(self, shape: Size, generator: Stream) -> Tensor:
        return discretised_draw(self.uniform(shape, generator), self.loc, self.log_scale, self.levels)


class CategoricalGrid(Factorised):
    """Any mass on `levels` grid points of [0, 1], one free logit for each.

    Args:
        logits: (N, levels, ...), unnormalised log-masses; dimension 1 runs over the levels.
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        self.log_mass = logits.log_softmax(dim=1)
        self.levels = logits.shape[1]
        super().__init__(logits[:, 0])

    @property
    def grid(self) -> Tensor:
        """The values 0, 1/(levels−1), …, 1."""
        return torch.linspace(0, 1, self.levels, dtype=self._like.dtype, device=self._like.device)

    @property
    def mean(self) -> Tensor:
        return (self.log_mass.exp().movedim(1, -1) * self.grid).sum(-1)

    @property
    def mode(self) -> Tensor:
        return self.grid[self.log_mass.argmax(dim=1)]

    def _log_prob(self, value: Tensor) -> Tensor:
        index = to_grid_index(value, self.levels)
        shape = index.shape
        index = index.expand(*shape[: index.dim() - len(self.event_shape) - 1], *self._extended_shape())
        log_mass = self.log_mass.movedim(1, -1).expand(*index.shape, self.levels)
        return log_mass.gather(-1, index.unsqueeze(-1)).squeeze(-1)

    def _sample(self, shape: Size, generator: Stream) -> Tensor:
        mass = self.log_mass.exp().movedim(1, -1)
        cumulative = mass.cumsum(-1).expand(*shape, self.levels)
        u = self.uniform(shape, generator).unsqueeze(-1) * cumulative[..., -1:]
        index = torch.searchsorted(cumulative.contiguous(), u, right=True).squeeze(-1)
        return self.grid[index.clamp(max=self.levels - 1)]

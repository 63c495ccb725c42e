"""Masses of discrete data: Bernoulli on logits, the discretised logistic, the categorical."""

from __future__ import annotations

import torch
from torch import Size, Tensor
from torch.nn import functional as F

from lucid.distributions.factorised import Factorised, sum_event
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
    r"""A logistic density cut into `levels` bins on [0, 1]; the outer two bins are open to infinity.

    With edges :math:`a < b` of a value's bin, in units of the scale and measured from the mean,

    .. math:: \log p(x) = \log\sigma(b) + \log\sigma(-a) + \log(1 - e^{a-b}),

    which is exact at any distance from the mean; the outer bins keep the one finite edge, so the masses sum to one.
    (Kingma et al., Improved Variational Inference with Inverse Autoregressive Flow, 2016,
    https://arxiv.org/abs/1606.04934, appendix C.)

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
        # E[x] = 1 − (1/(L−1)) Σ_k P(x ≤ level k) over k < L−1, one level at a time: memory of one image, not of L.
        total = torch.zeros_like(self.loc)
        inverse_scale = (-self.log_scale).exp()
        for k in range(self.levels - 1):
            edge = (k + 0.5) / (self.levels - 1)
            total = total + ((edge - self.loc) * inverse_scale).sigmoid()
        return 1 - total / (self.levels - 1)

    @property
    def mode(self) -> Tensor:
        steps = self.levels - 1
        return (self.loc.clamp(0, 1) * steps).round() / steps

    def _log_prob(self, value: Tensor) -> Tensor:
        steps = self.levels - 1
        inverse_scale = (-self.log_scale).exp()
        # Neighbouring bins must see one and the same edge to the last digit: a narrow scale magnifies any difference.
        index = (value.to(self.loc.dtype) * steps).round()
        above, below = (index + 0.5) / steps, (index - 0.5) / steps
        upper = (above - self.loc) * inverse_scale
        lower = (below - self.loc) * inverse_scale
        width = (above - below) * inverse_scale
        lowest = index <= 0
        highest = index >= steps
        log_upper = torch.where(highest, 0.0, F.logsigmoid(upper))
        log_lower = torch.where(lowest, 0.0, F.logsigmoid(-lower))
        log_inside = torch.where(lowest | highest, 0.0, (-torch.expm1(-width)).log())
        return log_upper + log_lower + log_inside

    def _sample(self, shape: Size, generator: Stream) -> Tensor:
        # u = 0 gives −inf, which the outer bin receives like any other value below the grid.
        u = self.uniform(shape, generator)
        continuous = self.loc + self.log_scale.exp() * (u.log() - (-u).log1p())
        steps = self.levels - 1
        return (continuous.clamp(0, 1) * steps).round() / steps


class CategoricalGrid(Factorised):
    """Any mass on `levels` grid points of [0, 1], one free logit for each.

    Args:
        logits: (N, levels, ...), unnormalised log-masses; dimension 1 runs over the levels.
    """

    def __init__(self, logits: Tensor) -> None:
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

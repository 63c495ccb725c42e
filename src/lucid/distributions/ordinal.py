"""The mass of ordered levels: a logistic variable between cutpoints."""

from __future__ import annotations

import torch
from torch import Size, Tensor
from torch.nn import functional as F

from lucid.distributions.discrete import to_grid_index
from lucid.distributions.factorised import Factorised
from lucid.distributions.logistic_bins import log_mass_between
from lucid.distributions.streams import Stream

__all__ = ["OrderedLogisticGrid"]


class OrderedLogisticGrid(Factorised):
    r"""Level k where a logistic variable around `loc` falls between the k-th and the next of increasing cutpoints.

    .. math:: P(x \le k/(L-1)) = \sigma(\theta_{k+1} - \eta), \qquad \theta_{k+1} = \theta_1 + \sum_{j \le k} g_j

    Args:
        loc: Location η of each feature, (N, ...).
        first: First cutpoint θ₁, a shape that broadcasts to (..., 1).
        gaps: Distances g > 0 between neighbouring cutpoints, a shape that broadcasts to (..., L − 2).
    """

    def __init__(self, loc: Tensor, first: Tensor, gaps: Tensor) -> None:
        self.loc = loc
        self.cutpoints = torch.cat([first, first + gaps.cumsum(-1)], -1)
        self.levels = self.cutpoints.shape[-1] + 1
        # Outer bins are open: their width is not used, and 1 keeps its logarithm finite.
        self._widths = F.pad(gaps, (1, 1), value=1.0)
        super().__init__(loc)

    @property
    def mean(self) -> Tensor:
        above = (self.loc.unsqueeze(-1) - self.cutpoints).sigmoid()  # P(level > k)
        return above.sum(-1) / (self.levels - 1)

    @property
    def mode(self) -> Tensor:
        levels = torch.arange(self.levels, device=self.loc.device)
        steps = self.levels - 1
        return self._log_mass(levels, self.loc.unsqueeze(-1)).argmax(-1).to(self.loc.dtype) / steps

    def _log_mass(self, index: Tensor, loc: Tensor) -> Tensor:
        """Log-mass of levels whose number lies in the last dimension of `index`, (..., n)."""
        lowest, highest = index == 0, index == self.levels - 1
        shape = torch.broadcast_shapes(index.shape[:-1], loc.shape[:-1])
        index = index.expand(*shape, index.shape[-1])
        edges, widths = (t.expand(*shape, t.shape[-1]) for t in (self.cutpoints, self._widths))
        lower = edges.gather(-1, (index - 1).clamp(min=0))
        upper = edges.gather(-1, index.clamp(max=self.levels - 2))
        return log_mass_between(lower - loc, upper - loc, widths.gather(-1, index), lowest, highest)

    def _log_prob(self, value: Tensor) -> Tensor:
        return self._log_mass(to_grid_index(value, self.levels).unsqueeze(-1), self.loc.unsqueeze(-1)).squeeze(-1)

    def _sample(self, shape: Size, generator: Stream) -> Tensor:
        u = self.uniform(shape, generator)
        drawn = self.loc + u.log() - (-u).log1p()
        return (drawn.unsqueeze(-1) > self.cutpoints).sum(-1).to(self.loc.dtype) / (self.levels - 1)

"""The mixture of discretised logistics, which the channels of a position share."""

from __future__ import annotations

import torch
from torch import Size, Tensor

from lucid.distributions.drawn import Drawn
from lucid.distributions.factorised import sum_event
from lucid.distributions.logistic_bins import discretised_draw, discretised_log_mass, discretised_mean
from lucid.distributions.streams import Stream

__all__ = ["LogisticMixtureGrid"]


class LogisticMixtureGrid(Drawn):
    r"""Mixtures of discretised logistics; at each position the channels choose one component together.

    .. math:: p(x) = \prod_{\text{positions}} \sum_k \pi_k \prod_c \mathrm{DL}\Bigl(x_c \mid
        \mu_{kc} + \sum_{b<c} a_{kcb}\,(x_b - \tfrac12),\ s_{kc}\Bigr)

    with DL the logistic cut into bins on [0, 1] whose outer bins are open. Without coefficients `a` the channels are
    independent given the component. (Salimans, Karpathy, Chen, Kingma: PixelCNN++, 2017,
    https://arxiv.org/abs/1701.05517.)

    The channels of x, G·C of them, are G groups of C neighbours; a position is one group at one place. Positions are
    independent of each other.

    Args:
        logits: Unnormalised log-weights of the K components, (N, K, G, ...).
        loc: Means before the channels' influence on each other, (N, K, C, G, ...), on the scale of the data (0 to 1).
        log_scale: Logs of the scales, the shape of `loc`.
        coefficients: Influence of channel b on channel c > b, in the order (1,0), (2,0), (2,1), …: (N, K, C(C−1)/2, G,
            ...); None for no influence.
        levels: Number of grid points, at least 2.
    """

    def __init__(
        self, logits: Tensor, loc: Tensor, log_scale: Tensor, coefficients: Tensor | None, levels: int
    ) -> None:
        self.logits = logits
        self.log_weight = logits.log_softmax(dim=1)
        self.loc = loc
        self.log_scale = log_scale
        self.coefficients = coefficients
        self.levels = levels
        super().__init__(_joined(loc[:, 0], rank=loc.dim() - 3))

    @property
    def mean(self) -> Tensor:
        """The mean of each feature, (N, G·C, ...).

        Exact without coefficients. With them, the mean of a component's channel is taken at the means of the channels
        before it: exact where the logistics lie well inside (0, 1) and are wider than a level, since the influence is
        linear; where they are cut off at 0 or 1 or are narrower than a level, off by what the rounding and the cut make
        of the spread of the channels before.
        """
        means: list[Tensor] = []
        for channel, log_scale in enumerate(self.log_scale.unbind(2)):
            loc = self._shifted(self.loc, self.coefficients, means, channel, dim=2)
            means.append(discretised_mean(loc, log_scale, self.levels))
        of_components = torch.stack(means, 2)
        mean = (self.log_weight.exp().unsqueeze(2) * of_components).sum(1)
        return _joined(mean, self._rank)

    @property
    def _rank(self) -> int:
        """Dimensions of a group's place: G and what follows it."""
        return len(self.event_shape)

    @property
    def _channels(self) -> int:
        return self.loc.shape[2]

    def log_prob(self, value: Tensor) -> Tensor:
        channel_dim = -1 - self._rank
        x = _split(value.to(self.loc.dtype), self._channels, self._rank).unsqueeze(channel_dim - 1)
        given = list(x.unbind(channel_dim))
        shifted = [
            self._shifted(self.loc, self.coefficients, given, channel, dim=channel_dim)
            for channel in range(self._channels)
        ]
        loc = torch.stack(torch.broadcast_tensors(*shifted), channel_dim)
        log_mass = discretised_log_mass(x, loc, self.log_scale, self.levels).sum(channel_dim)
        return sum_event((self.log_weight + log_mass).logsumexp(-1 - self._rank), self._rank)

    def _sample(self, shape: Size, generator: Stream) -> Tensor:
        rank, channel_dim = self._rank, -1 - self._rank
        lead = shape[: len(shape) - rank]
        chosen = self._components(lead, generator)
        loc = _chosen(self.loc, chosen)
        log_scale = _chosen(self.log_scale, chosen).unbind(channel_dim)
        coefficients = None if self.coefficients is None else _chosen(self.coefficients, chosen)
        uniform = _split(self.uniform(shape, generator), self._channels, rank).unbind(channel_dim)
        drawn: list[Tensor] = []
        for channel in range(self._channels):
            at = self._shifted(loc, coefficients, drawn, channel, dim=channel_dim)
            drawn.append(discretised_draw(uniform[channel], at, log_scale[channel], self.levels))
        return _joined(torch.stack(drawn, channel_dim), rank)

    def _components(self, lead: Size, generator: Stream) -> Tensor:
        """The component that each position of each draw belongs to, (*lead, G, ...)."""
        cumulative = self.log_weight.exp().movedim(1, -1).cumsum(-1)
        shape = Size([*lead, *cumulative.shape[1:-1]])
        u = self.uniform(shape, generator).unsqueeze(-1) * cumulative[..., -1:]
        index = torch.searchsorted(cumulative.expand(*shape, -1).contiguous(), u, right=True).squeeze(-1)
        return index.clamp(max=cumulative.shape[-1] - 1)

    @staticmethod
    def _shifted(loc: Tensor, coefficients: Tensor | None, before: list[Tensor], channel: int, dim: int) -> Tensor:
        """Mean of a channel given the values of those before it; `dim` is that of the channels."""
        own = loc.select(dim, channel)
        if coefficients is None:
            return own
        first = channel * (channel - 1) // 2
        for earlier in range(channel):
            own = own + coefficients.select(dim, first + earlier) * (before[earlier] - 0.5)
        return own


def _split(x: Tensor, channels: int, rank: int) -> Tensor:
    """(..., G·C, places) with its channels apart and before the groups: (..., C, G, places)."""
    return x.unflatten(-rank, (-1, channels)).movedim(-rank, -rank - 1)


def _joined(x: Tensor, rank: int) -> Tensor:
    """What `_split` took apart: (..., C, G, places) as (..., G·C, places)."""
    return x.movedim(-rank - 1, -rank).flatten(-rank - 1, -rank)


def _chosen(parameter: Tensor, component: Tensor) -> Tensor:
    """Of (N, K, n, G, ...) one component at each position: (*lead, n, G, ...) for `component` (*lead, G, ...)."""
    rank = parameter.dim() - 3
    last = parameter.movedim(1, -1)
    lead = component.shape[: component.dim() - rank]
    last = last.expand(*lead, *last.shape[1:])
    index = component.unsqueeze(-1 - rank).expand(last.shape[:-1]).unsqueeze(-1)
    return last.gather(-1, index).squeeze(-1)

"""A mixture of distributions, the same for every row of the batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from lucid.distributions.drawn import Drawn
from lucid.distributions.factorised import draw, tempered
from lucid.distributions.gaussian import StandardNormal
from lucid.distributions.streams import Stream

__all__ = ["Mixture"]

_MAX_NUMBERS = 2**22
"""Numbers (values × components × features) held at once where no gradient keeps them anyway."""


class Mixture(Drawn):
    r"""One mixture for all rows of a batch, summed over its components in nats.

    .. math:: \log p(z) = \log \sum_k w_k\, p_k(z)

    A draw chooses a component and draws from it; it has no gradient.

    Args:
        like: A tensor (N, ...) whose shape, type and device the draws have; its values are not read.
        log_weights: log w_k, (K,).
        components: The p_k, batch shape (K,), event shape that of `like`.
        select: From numbers of components (M,) to their distributions, batch shape (M,).
        temperature: Multiplies the scale of each component.
    """

    _no_rsample = "chooses one of its components"

    def __init__(
        self,
        like: Tensor,
        log_weights: Tensor,
        components: Distribution,
        select: Callable[[Tensor], Distribution],
        temperature: float = 1.0,
    ) -> None:
        super().__init__(like)
        self.log_weights = log_weights
        self.components = tempered(components, temperature)
        self.temperature = temperature
        self._as_given = components
        self._select = select

    @property
    def mean(self) -> Tensor:
        return self._weighted(self.components.mean).expand_as(self._like)

    @property
    def variance(self) -> Tensor:
        means = self.components.mean
        spread = (means - self._weighted(means)).square()
        return self._weighted(self.components.variance + spread).expand_as(self._like)

    def tempered(self, temperature: float) -> Mixture:
        """The same weights and means of components, the scale of each times `temperature`.

        At 0 a draw is the mean of one component: the places stay apart, and only their surroundings shrink.
        """
        factor = self.temperature * temperature
        return Mixture(self._like, self.log_weights, self._as_given, self._select, factor)

    def log_prob(self, value: Tensor) -> Tensor:
        lead = value.shape[: value.dim() - len(self.event_shape)]
        flat = value.reshape(-1, *self.event_shape)
        rows = max(1, _MAX_NUMBERS // (len(self.log_weights) * max(1, self.event_shape.numel())))
        whole = torch.compiler.is_compiling() or torch.is_grad_enabled() or len(flat) <= rows
        parts = (flat,) if whole else flat.split(rows)
        return torch.cat([self._log_prob(part) for part in parts]).view(lead)

    def _log_prob(self, value: Tensor) -> Tensor:
        every = value.unsqueeze(1).expand(-1, len(self.log_weights), *self.event_shape)
        return (self.components.log_prob(every) + self.log_weights).logsumexp(1)

    def _sample(self, shape: Size, generator: Stream) -> Tensor:
        lead = shape[: len(shape) - len(self.event_shape) - 1]
        draws = [self._sample_rows(shape[len(lead)], generator) for _ in range(lead.numel())]
        return torch.stack(draws).view(shape)

    def _sample_rows(self, rows: int, generator: Stream) -> Tensor:
        # One number a row, of which a part of a batch gets its own.
        chosen = StandardNormal(self._like.new_empty(rows)).uniform(Size((rows,)), generator)
        upto = self.log_weights.exp().cumsum(0)
        index = torch.searchsorted(upto / upto[-1], chosen.to(upto.dtype), right=True).clamp(max=len(upto) - 1)
        return draw(tempered(self._select(index), self.temperature), generator=generator)

    def _weighted(self, values: Tensor) -> Tensor:
        """The weighted mean over components, (1, ...)."""
        weights = self.log_weights.exp().view(-1, *([1] * len(self.event_shape)))
        return (weights * values).sum(0, keepdim=True)

"""Normalizing flows: invertible maps built of autoregressive steps, and the density they make of a Gaussian."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Size, Tensor, nn

from lucid.distributions.drawn import Drawn
from lucid.distributions.flow_steps import AutoregressiveStep
from lucid.distributions.gaussian import DiagonalGaussian, StandardNormal
from lucid.distributions.last_draw import LastDraw
from lucid.distributions.streams import Stream

__all__ = ["Flow", "FlowDensity", "Mapped", "Univariate"]

Univariate = Literal["affine", "spline"]

Mapped = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From (..., D) to what it is mapped to, (..., D), and the log of the Jacobian's determinant there, (...)."""

_PAIRS = 32


class Flow(nn.Module):
    """Autoregressive steps one after the other, the order of the features turned round in between; begins as identity.

    `forward` takes one pass of each step. `inverse` takes as many as there are groups of features that depend on one
    another: D for a fully autoregressive flow, 2 for coupling.

    Args:
        features: Number of features D.
        context: Numbers per example that the maps depend on, besides the features.
        transforms: How many steps.
        passes: Groups the features are divided into; each group depends on those before it. None means D.
        hidden: Width of the two hidden layers of each step.
        univariate: What is done to each feature: "affine" or "spline".
    """

    def __init__(
        self, features: int, context: int, transforms: int, passes: int | None, hidden: int, univariate: Univariate
    ) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            AutoregressiveStep(
                features,
                context,
                passes=features if passes is None else min(passes, features),
                reverse=bool(number % 2),
                hidden=hidden,
                spline=univariate == "spline",
                share=1 / transforms,
            )
            for number in range(transforms)
        )

    def forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """f(x), (..., D), and log |det ∂f/∂x|, (...); context (N, context) for x (..., N, D)."""
        log_det = x.new_zeros(x.shape[:-1])
        for step in self.steps:
            x, added = step(x, context)
            log_det = log_det + added
        return x, log_det

    def inverse(self, y: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """The x with f(x) = y, and log |det ∂x/∂y|."""
        log_det = y.new_zeros(y.shape[:-1])
        for step in reversed(self.steps):
            assert isinstance(step, AutoregressiveStep)
            y, added = step.inverse(y, context)
            log_det = log_det + added
        return y, log_det


class FlowDensity(Drawn):
    r"""What an invertible map makes of a Gaussian.

    .. math:: \log p(z) = \log p_u(u) + \log\left|\det \frac{\partial u}{\partial z}\right|, \qquad u = u(z)

    Rezende, Mohamed: Variational Inference with Normalizing Flows, 2015, https://arxiv.org/abs/1505.05770.

    `mean` and `variance`, which have no closed form, are estimated from 64 draws of u, the same each time and paired
    with their mirror images; the mean is exact where the map is affine.

    Args:
        like: A tensor (N, ...) whose shape, type and device the draws have; its values are not read.
        base: p_u, batch shape (N,), over the flattened event, (N, D).
        to_base: From z to u.
        from_base: From u to z.
        keep: Whether a draw is kept with its log-density, for maps whose `to_base` costs more than their `from_base`.
    """

    has_rsample = True

    def __init__(
        self, like: Tensor, base: DiagonalGaussian | StandardNormal, to_base: Mapped, from_base: Mapped, *, keep: bool
    ) -> None:
        super().__init__(like)
        self.base = base
        self._to_base = to_base
        self._from_base = from_base
        self._last = LastDraw() if keep else None

    @property
    def mean(self) -> Tensor:
        return self._mirrored().mean(0)

    @property
    def variance(self) -> Tensor:
        return self._mirrored().var(0)

    def tempered(self, temperature: float) -> FlowDensity:
        """The same map of u, whose standard deviation is multiplied by `temperature`; at 0 the image of u's mean.

        Kingma, Dhariwal: Glow, 2018, https://arxiv.org/abs/1807.03039.
        """
        keep = self._last is not None
        return FlowDensity(self._like, self.base.tempered(temperature), self._to_base, self._from_base, keep=keep)

    def log_prob(self, value: Tensor) -> Tensor:
        lead = value.shape[: value.dim() - len(self.event_shape)]
        known = None if self._last is None else self._last.log_prob_of(value, lead)
        if known is not None:
            return known
        u, log_det = self._to_base(value.reshape(*lead, -1))
        return self.base.log_prob(u) + log_det

    def _sample(self, shape: Size, generator: Stream) -> Tensor:
        lead = shape[: len(shape) - len(self.event_shape) - 1]
        u = self.base.rsample(lead, generator=generator)
        z, log_det = self._from_base(u)
        value = z.view(shape)
        return value if self._last is None else self._last.keep(value, self.base.log_prob(u) - log_det)

    def _mirrored(self) -> Tensor:
        """64 draws, (64, N, ...)."""
        stream = torch.Generator().manual_seed(0)
        noise = torch.randn(_PAIRS, 1, self.event_shape.numel(), generator=stream).to(self._like)
        # One pair at a time: a spline holds dozens of numbers for each of the draws.
        pairs = [self._from_base(self.base.mean + self.base.stddev * torch.stack([one, -one]))[0] for one in noise]
        return torch.cat(pairs).view(2 * _PAIRS, *self._like.shape)

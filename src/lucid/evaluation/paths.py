"""The densities that annealing goes along, in coordinates in which the first of them is standard normal."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Distribution

from lucid.distributions import DiagonalGaussian, IsotropicGaussian, StandardNormal
from lucid.models import Latent, LatentModel, Record, Walk, draws, drive, given
from lucid.models.condition import told
from lucid.models.walk import log_prob_of_draws, repeat_to

__all__ = ["Path", "Point", "Start", "Values"]

Start = Literal["prior", "posterior"]

Values = list[Tensor]
"""A value for each latent of K·B chains, (K·B, ...) each, laid out draw-major, in the order of the path's walk."""

_LOG_2PI = math.log(2 * math.pi)
_WIDEST = 1e6


@dataclass(frozen=True)
class Point:
    """Where the chains are.

    Attributes:
        values: Their coordinates ε.
        start: log of the density that the path begins at, over ε, (K·B,).
        change: log p(x, z) − log p₀(z) there, (K·B,).
    """

    values: Values
    start: Tensor
    change: Tensor

    def log_density(self, beta: float) -> Tensor:
        """log of the unnormalised density at β, over ε, (K·B,)."""
        return self.start + beta * self.change


class Path:
    r"""Densities over all latents of a batch of examples, from one that can be drawn from to the posterior.

    .. math:: \log f_\beta(z) = \log p_0(z) + \beta\,[\log p(x, z) - \log p_0(z)]

    with :math:`p_0` the prior p(z), or the approximate posterior q(z|x). The chains do not move in z but in the noise
    that a walk of :math:`p_0` makes z of, each latent given those met before it:

    .. math:: z_l = \mu_l(z_{before}) + \sigma_l(z_{before})\,\varepsilon_l, \qquad
        \log f_\beta(\varepsilon) = \log N(\varepsilon; 0, I) + \beta\,[\log p(x, z) - \log p_0(z)]

    with z that of :math:`\varepsilon`, since :math:`p_0(z)\,|dz/d\varepsilon| = N(\varepsilon; 0, I)`. Normalising
    constants, and so the weights, are those of z. In z the conditional priors of a deep model are narrow ridges whose
    place depends on the deeper latents, along which only tiny steps are accepted; in ε they are all round. A latent
    whose distribution is no diagonal Gaussian is its own coordinate.

    Papaspiliopoulos, Roberts, Sköld: A General Framework for the Parametrization of Hierarchical Models, 2007,
    https://arxiv.org/abs/0708.3797. Betancourt, Girolami: Hamiltonian Monte Carlo for Hierarchical Models, 2013,
    https://arxiv.org/abs/1312.0906.

    Args:
        model: The model, in evaluation mode.
        x: The examples, (B, ...).
        condition: What a conditional model is told of them.
        start: What the path begins at.
        generator: Of the draw that the scales are read from.
    """

    def __init__(
        self, model: LatentModel, x: Tensor, condition: Tensor | None, start: Start, generator: torch.Generator
    ) -> None:
        self.model = model
        self.x = x
        self.condition = condition
        self.from_prior = start == "prior"
        record, order = _order_of(model, x, condition, draws(generator))
        # A walk without data meets the deepest level first.
        self._order = list(reversed(range(len(order)))) if self.from_prior else order
        latents = [record.latents[level] for level in self._order]
        self._precisions = [_precisions(latent, self.from_prior) for latent in latents]

    def draw(self, chains: int, generator: torch.Generator) -> Values:
        """Exact draws of the density at β = 0."""
        rows = chains * len(self.x)
        if self.from_prior:
            return self._coordinates(self._walk(rows), draws(generator))
        return self._coordinates(self._walk(rows), draws(generator, num_samples=chains))

    def coordinates(self, latents: Values) -> Values:
        """The ε of which latents are made; these are indexed by level, (K·B, ...) each."""
        return self._coordinates(self._walk(len(latents[0])), given([latents[level] for level in self._order]))

    def at(self, values: Values) -> Point:
        """The densities at some coordinates."""
        remaining, starts = iter(values), []

        def choose(distribution: Distribution) -> Tensor:
            value = next(remaining)
            frame = _frame(distribution, len(value))
            if frame is None:
                starts.append(log_prob_of_draws(distribution, value))
                return value
            squared = value.square().flatten(1)
            starts.append(-(squared.sum(1) + squared.shape[1] * _LOG_2PI) / 2)
            return frame[0] + frame[1] * value

        record = drive(self._walk(len(values[0])), choose)
        change = -record._replace(x=self.x).reconstruction() if self.from_prior else record.log_weight()
        return Point(values, torch.stack(starts).sum(0), change)

    def gradient(self, values: Values, beta: float) -> tuple[Values, Point]:
        """The gradient of log f_β over ε, and the densities."""
        with torch.enable_grad():
            leaves = [value.detach().requires_grad_() for value in values]
            point = self.at(leaves)
            gradients = torch.autograd.grad(point.log_density(beta).sum(), leaves)
        return list(gradients), Point(values, point.start.detach(), point.change.detach())

    def scales(self, beta: float) -> Values:
        """About how wide the density at β is in each coordinate, (B, ...) each; what makes one step size fit all."""
        return [torch.lerp(first, last, beta).rsqrt() for first, last in self._precisions]

    def _walk(self, rows: int) -> Walk:
        if not self.from_prior:
            return self.model.walk(self.x, check=False, **told(self.condition))
        condition = None if self.condition is None else repeat_to(self.condition, rows)
        return self.model.walk(num_examples=rows, **told(condition))

    def _coordinates(self, walk: Walk, choose: Callable[[Distribution], Tensor]) -> Values:
        found: Values = []

        def noting(distribution: Distribution) -> Tensor:
            value = choose(distribution)
            frame = _frame(distribution, len(value))
            found.append(value if frame is None else (value - frame[0]) / frame[1])
            return value

        drive(walk, noting)
        return found


def _frame(distribution: Distribution, rows: int) -> tuple[Tensor, Tensor] | None:
    """Mean and standard deviation of a diagonal Gaussian, (rows, ...) each; None of another distribution."""
    if not isinstance(distribution, (DiagonalGaussian, StandardNormal, IsotropicGaussian)):
        return None
    return repeat_to(distribution.mean, rows), repeat_to(distribution.variance.sqrt(), rows)


def _precisions(latent: Latent, from_prior: bool) -> tuple[Tensor, Tensor]:
    """1 / variance of a coordinate at β = 0 and, as the approximate posterior has it, at β = 1, (B, ...) each."""
    assert latent.posterior is not None, "a walk over data has posteriors"
    first = latent.prior if from_prior else latent.posterior
    at_start, at_end = _precision(first, latent.value), _precision(latent.posterior, latent.value)
    if _frame(first, len(latent.value)) is None:
        return at_start, at_end
    # The data only narrow what the prior leaves open, whatever an encoder says.
    return torch.ones_like(at_end), (at_end / at_start).clamp(1, _WIDEST)


def _precision(distribution: Distribution, value: Tensor) -> Tensor:
    """1 / variance, (B, ...); 1 where a density does not know its own."""
    try:
        variance = distribution.variance
    except NotImplementedError:
        variance = torch.ones_like(value)
    return variance.detach().expand_as(value).clamp(1e-12, 1e12).reciprocal()


def _order_of(
    model: LatentModel, x: Tensor, condition: Tensor | None, choose: Callable[[Distribution], Tensor]
) -> tuple[Record, list[int]]:
    """A walk over data, and the level of each of its stops."""
    sent: Values = []

    def noting(distribution: Distribution) -> Tensor:
        sent.append(choose(distribution))
        return sent[-1]

    record = drive(model.walk(x, **told(condition)), noting)
    levels = list(range(len(sent)))
    order: list[int] = []
    for value in sent:
        order.append(next(n for n in levels if n not in order and _is(record.latents[n].value, value)))
    return record, order


def _is(a: Tensor, b: Tensor) -> bool:
    return a is b or (a.shape == b.shape and bool((a == b).all()))

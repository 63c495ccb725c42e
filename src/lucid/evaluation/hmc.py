"""Hamiltonian Monte Carlo over all latents of a model at once, along a path of densities that ends at p(z|x).

Neal: MCMC Using Hamiltonian Dynamics, 2011, https://arxiv.org/abs/1206.1901.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.distributions import Distribution

from lucid.models import Latent, LatentModel, Record, draws, drive, given
from lucid.models.condition import told
from lucid.models.walk import log_prob_of_draws, repeat_to

__all__ = ["Path", "Point", "Start", "Values", "transition", "tuned"]

Start = Literal["prior", "posterior"]

Values = list[Tensor]
"""The latents of K·B chains, (K·B, ...) each, indexed by level, laid out draw-major."""

Choice = Callable[[Distribution], Tensor]

_AIMED_ACCEPTANCE = 0.75
_ADAPTATION = 0.5
_FIRST_STEP = 0.3
_WARM_UP = 20


@dataclass(frozen=True)
class Point:
    """Where the chains are.

    Attributes:
        values: Their latents.
        start: log of the density that the path begins at, (K·B,).
        change: What it lacks of log p(x, z), (K·B,).
    """

    values: Values
    start: Tensor
    change: Tensor

    def log_density(self, beta: float) -> Tensor:
        """log of the unnormalised density at β, (K·B,)."""
        return self.start + beta * self.change


class Path:
    r"""Densities over all latents of a batch of examples, from one that can be drawn from to the posterior.

    .. math:: \log f_\beta(z) = \log p_0(z) + \beta\,[\log p(x, z) - \log p_0(z)]

    with :math:`p_0` the prior p(z), or the approximate posterior q(z|x). It is evaluated by the model's own walk, so
    it knows no family.

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
        record, self._order = _order_of(model, x, condition, draws(generator))
        self._prior_precision = [_precision(latent.prior, latent) for latent in record.latents]
        self._posterior_precision = [_precision(_posterior_of(latent), latent) for latent in record.latents]

    def draw(self, chains: int, generator: torch.Generator) -> Values:
        """Exact draws of the density at β = 0."""
        if self.from_prior:
            condition = None if self.condition is None else repeat_to(self.condition, chains * len(self.x))
            walk = self.model.walk(num_examples=chains * len(self.x), **told(condition))
            record = drive(walk, draws(generator))
        else:
            record = drive(self.model.walk(self.x, **told(self.condition)), draws(generator, num_samples=chains))
        return [latent.value for latent in record.latents]

    def at(self, values: Values) -> Point:
        """The densities at some latents."""
        walk = self.model.walk(self.x, check=False, **told(self.condition))
        record = drive(walk, given([values[level] for level in self._order]))
        prior = torch.stack([log_prob_of_draws(latent.prior, latent.value) for latent in record.latents]).sum(0)
        if self.from_prior:
            return Point(values, prior, -record.reconstruction())
        q = torch.stack([log_prob_of_draws(_posterior_of(latent), latent.value) for latent in record.latents]).sum(0)
        return Point(values, q, prior - record.reconstruction() - q)

    def gradient(self, values: Values, beta: float) -> tuple[Values, Point]:
        """The gradient of log f_β, and the densities."""
        with torch.enable_grad():
            leaves = [value.detach().requires_grad_() for value in values]
            point = self.at(leaves)
            gradients = torch.autograd.grad(point.log_density(beta).sum(), leaves)
        return list(gradients), Point(values, point.start.detach(), point.change.detach())

    def scales(self, beta: float) -> Values:
        """About how wide the density at β is in each latent, (B, ...) each; what makes one step size fit all."""
        first = self._prior_precision if self.from_prior else self._posterior_precision
        return [torch.lerp(a, b, beta).rsqrt() for a, b in zip(first, self._posterior_precision, strict=True)]


def transition(
    path: Path, values: Values, beta: float, step: Tensor, leapfrogs: int, generator: torch.Generator
) -> tuple[Point, Tensor]:
    """One transition that leaves the density at β as it is: leapfrog steps, then accepted or rejected.

    Args:
        path: The densities.
        values: Where the chains are.
        beta: At which density.
        step: Largest step size of each example, (B,), in units of `path.scales`; each transition takes a random part
            of it between half and all, so that no trajectory closes on itself.
        leapfrogs: How many steps.
        generator: Of the random numbers.

    Returns:
        Where the chains are then, and the probability with which each accepted, (K·B,).
    """
    rows = len(values[0])
    uniform = torch.rand(2, rows, generator=generator, device=step.device, dtype=step.dtype)
    sizes = repeat_to(step, rows) * (1 + uniform[0]) / 2
    moves = [_like(sizes, scale_rows) * scale_rows for scale_rows in (repeat_to(s, rows) for s in path.scales(beta))]
    momentum = [torch.randn(v.shape, generator=generator, device=v.device, dtype=v.dtype) for v in values]
    gradient, before = path.gradient(values, beta)
    energy = before.log_density(beta) - _kinetic(momentum)
    proposed, now, at = momentum, before, values
    for _ in range(leapfrogs):
        proposed = [r + m * g / 2 for r, m, g in zip(proposed, moves, gradient, strict=True)]
        at = [v + m * r for v, m, r in zip(at, moves, proposed, strict=True)]
        gradient, now = path.gradient(at, beta)
        proposed = [r + m * g / 2 for r, m, g in zip(proposed, moves, gradient, strict=True)]
    log_ratio = now.log_density(beta) - _kinetic(proposed) - energy
    # A trajectory that has left the numbers is one that is never accepted.
    acceptance = torch.where(log_ratio.isfinite(), log_ratio.clamp(max=0).exp(), 0)
    accepted = uniform[1] < acceptance
    kept = [torch.where(_like(accepted, old), new, old) for new, old in zip(at, values, strict=True)]
    start = torch.where(accepted, now.start, before.start)
    return Point(kept, start, torch.where(accepted, now.change, before.change)), acceptance


def tuned(path: Path, betas: list[float], chains: int, leapfrogs: int, generator: torch.Generator) -> list[Tensor]:
    """Step sizes for each β but the first and the last, (B,) each, from chains of their own.

    A pilot goes along the path and adapts: the steps that are used later then depend on nothing that they move, and
    every transition leaves its density exactly as it is.

    Args:
        path: The densities.
        betas: Along it, from 0 to 1.
        chains: Chains of the pilot for each example.
        leapfrogs: Steps of a transition.
        generator: Of the pilot.
    """
    examples, longest = len(path.x), math.pi / leapfrogs  # twice a quarter of a period, where the scales are right
    values = path.draw(chains, generator)
    log_step = values[0].new_full((examples,), math.log(min(_FIRST_STEP, longest)))
    steps: list[Tensor] = []
    for beta in [*[betas[1]] * _WARM_UP, *betas[1:-1]]:
        point, acceptance = transition(path, values, beta, log_step.exp(), leapfrogs, generator)
        values = point.values
        accepted = acceptance.view(chains, examples).mean(0)
        log_step = (log_step + _ADAPTATION * (accepted - _AIMED_ACCEPTANCE)).clamp(max=math.log(longest))
        steps.append(log_step.exp())
    return steps[_WARM_UP:]


def _kinetic(momentum: Values) -> Tensor:
    return torch.stack([r.square().flatten(1).sum(1) for r in momentum]).sum(0) / 2


def _like(per_row: Tensor, value: Tensor) -> Tensor:
    return per_row.view(-1, *[1] * (value.dim() - 1))


def _posterior_of(latent: Latent) -> Distribution:
    assert latent.posterior is not None, "a walk over data has posteriors"
    return latent.posterior


def _precision(distribution: Distribution, latent: Latent) -> Tensor:
    """1 / variance, (B, ...); 1 where a density does not know its own."""
    try:
        variance = distribution.variance
    except NotImplementedError:
        variance = torch.ones_like(latent.value)
    return variance.detach().expand_as(latent.value).clamp(1e-12, 1e12).reciprocal()


def _order_of(model: LatentModel, x: Tensor, condition: Tensor | None, choose: Choice) -> tuple[Record, list[int]]:
    """A walk, and the level of each of its stops."""
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

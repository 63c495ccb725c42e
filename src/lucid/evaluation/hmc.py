"""Hamiltonian Monte Carlo over all latents of a model at once, along a path of densities that ends at p(z|x).

Neal: MCMC Using Hamiltonian Dynamics, 2011, https://arxiv.org/abs/1206.1901.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lucid.evaluation.paths import Path, Point, Values
from lucid.models.walk import repeat_to

__all__ = ["transition", "tuned"]

_AIMED_ACCEPTANCE = 0.75
_ADAPTATION = 0.5
_FIRST_STEP = 0.3
_WARM_UP = 20


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

"""The parts of what latents cost, at each draw: what they tell of x, and what their priors do not fit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lucid.evaluation.joint import Drawn, marginal_tables
from lucid.models import LatentModel

__all__ = ["Part", "averages", "joint_parts", "marginal_parts"]

_JOINT = "q(z) summed over all N posteriors at draws of each"


@dataclass(frozen=True)
class Part:
    """One quantity at each draw.

    Attributes:
        name: As the figure is called.
        per_draw: (S, N) nats.
        told: The information that log N limits, up to here, (S, N) nats.
        is_gap: Whether this is a KL, too large where the information is too small; else it is an information.
        estimator: How it was made.
        meaning: How to read it.
        bounds: Other estimates of it, whose errors are known in sign, (S, N) nats each.
    """

    name: str
    per_draw: Tensor
    told: Tensor
    is_gap: bool
    estimator: str
    meaning: str
    bounds: dict[str, Tensor]


def joint_parts(drawn: Drawn, table: Tensor) -> list[Part]:
    """Of all levels together, and of each along the order of inference.

    Args:
        drawn: The latents.
        table: log q(z_before, z_l | x_n) at each draw after each level in the order of inference, (depth, S, N, N).
    """
    own, of_all, of_others = averages(table)
    told, at_most = own - of_all, own - of_others
    log_prior = torch.stack(drawn.log_prior).sum(0)
    suffix = ", all levels" if len(drawn.order) > 1 else ""
    gap, at_least = of_all[-1] - log_prior, of_others[-1] - log_prior
    means_told = "what z tells of which example x is: well spent"
    means_gap = "what is paid because q(z), all x together, is not spread as p(z)"
    parts = [
        Part(f"I(x; z){suffix}", told[-1], told[-1], False, _JOINT, means_told, {"at_most": at_most[-1]}),
        Part(f"KL(q(z) ‖ p(z)){suffix}", gap, told[-1], True, _JOINT, means_gap, {"at_least": at_least}),
    ]
    for level in range(len(drawn.order)) if suffix else ():
        place = drawn.order.index(level)
        added, without = _increment(told, place), {"with_each_example_left_out": _increment(at_most, place)}
        means_added = "what this level tells of x beyond the levels decided before it"
        parts.append(Part(f"I(x; z) added by level {level}", added, told[place], False, _JOINT, means_added, without))
        if all(drawn.prior_known_first[before] for before in drawn.order[: place + 1]):
            gap = _increment(of_all, place) - drawn.log_prior[level]
            means_gap = "what is paid because this level, given those before it, is not spread as its prior"
            parts.append(Part(f"KL(q(z) ‖ p(z)), level {level}", gap, told[place], True, _JOINT, means_gap, {}))
    return parts


def marginal_parts(model: LatentModel, drawn: Drawn, inner: int, stream: torch.Generator) -> list[Part]:
    """Of each deeper level of a chain by itself, and what the prior of the deepest does not fit.

    Args:
        model: The model.
        drawn: Latents of the examples.
        inner: Draws of what is decided before the level, for each example.
        stream: Of the draws.
    """
    estimator = f"q(z) summed over all N posteriors, each of {inner} draws of what was decided before"
    parts: list[Part] = []
    for level, table, log_prior in marginal_tables(model, drawn, inner, stream):
        # (S, N, N, M): at each draw, the components of each example; the first of its own is where it came from.
        of_examples = table.logsumexp(3) - math.log(inner)
        own, of_all, of_others = (average[0] for average in averages(of_examples[None]))
        without_source = table.diagonal(dim1=1, dim2=2)[:, 1:].logsumexp(1) - math.log(inner - 1)
        told = own - of_all
        bounds = {"at_most": own - of_others, "at_least": without_source - of_all}
        meaning = "what a decoder that reads this level alone can know of x"
        parts.append(Part(f"I(x; z) of level {level} alone", told, told, False, estimator, meaning, bounds))
        if level == model.depth - 1:
            gap, meaning = of_all - log_prior, "what another prior of the deepest level can win"
            parts.append(Part(f"KL(q(z) ‖ p(z)), level {level} alone", gap, told, True, estimator, meaning, {}))
    return parts


def averages(table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log q(z|x), log q(z) and log q(z) without the example itself, (depth, S, N), from (depth, S, N, N)."""
    examples = table.shape[-1]
    own = table.diagonal(dim1=2, dim2=3)
    of_all = table.logsumexp(3) - math.log(examples)
    alone = torch.eye(examples, dtype=torch.bool)
    of_others = table.masked_fill(alone, -math.inf).logsumexp(3) - math.log(examples - 1)
    return own, of_all, of_others


def _increment(cumulative: Tensor, place: int) -> Tensor:
    return cumulative[place] if place == 0 else cumulative[place] - cumulative[place - 1]

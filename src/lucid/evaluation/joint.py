"""Every example's latents under every example's posterior: the tables that aggregate posteriors are summed from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from lucid.distributions import draw
from lucid.evaluation.examples import Batches, examples_of, length_of
from lucid.models import LatentModel, drive
from lucid.models.condition import told
from lucid.models.walk import log_prob_of_draws

__all__ = ["Drawn", "Marginal", "draw_all", "log_prob_table", "marginal_tables"]

_MAX_ROWS = 8192
"""Rows that go through the networks at once."""

_MAX_NUMBERS = 2**22
"""Numbers (values × posteriors × features) held at once."""


class Drawn(NamedTuple):
    """Draws of all latents of N examples, S of each.

    Attributes:
        x: The examples in the batches they were encoded in.
        conditions: What a conditional model was told of them.
        order: The levels in the order in which inference decides them.
        values: Of each level, (S, N, ...).
        log_prior: log p(z_l | …) at them, of each level, (S, N) float64 on the CPU.
        prior_known_first: Of each level, whether its prior is known when it is decided.
    """

    x: list[Tensor]
    conditions: list[Tensor | None]
    order: list[int]
    values: list[Tensor]
    log_prior: list[Tensor]
    prior_known_first: list[bool]

    @property
    def num_examples(self) -> int:
        """N."""
        return sum(map(len, self.x))


def draw_all(
    model: LatentModel,
    data: Batches | Tensor,
    max_examples: int,
    num_samples: int,
    batch_size: int,
    stream: torch.Generator,
    condition: Tensor | None,
) -> Drawn:
    """Draw the latents of at most `max_examples` examples, evenly spread (of a stream, the first)."""
    total = length_of(data)
    stride = 1 if total is None else -(-total // max_examples)
    xs: list[Tensor] = []
    conditions: list[Tensor | None] = []
    values: list[list[list[Tensor]]] = [[] for _ in range(model.depth)]
    priors: list[list[list[Tensor]]] = [[] for _ in range(model.depth)]
    known, order, met = [True] * model.depth, list(range(model.depth)), 0
    for batch, labels in examples_of(model, data, batch_size, stream.device, condition):
        first = -met % stride
        met += len(batch)
        x = batch[first::stride][: max_examples - sum(map(len, xs))]
        if len(x):
            xs.append(x)
            conditions.append(None if labels is None else labels[first::stride][: len(x)])
            for level in range(model.depth):
                values[level].append([])
                priors[level].append([])
            for _ in range(num_samples):
                visited: list[Distribution] = []
                record = drive(model.walk(x, **told(conditions[-1])), _noting(visited, stream))
                places = {id(distribution): place for place, distribution in enumerate(visited)}
                order = sorted(range(model.depth), key=lambda level: places[id(record.latents[level].posterior)])
                for level, latent in enumerate(record.latents):
                    values[level][-1].append(latent.value)
                    priors[level][-1].append(log_prob_of_draws(latent.prior, latent.value).double().cpu())
                    known[level] = latent.prior_known_first
        if sum(map(len, xs)) == max_examples:
            break
    if not xs:
        raise ValueError("there is no example to draw latents of")
    return Drawn(xs, conditions, order, [_stacked(some) for some in values], [_stacked(some) for some in priors], known)


def log_prob_table(model: LatentModel, drawn: Drawn) -> Tensor:
    """log q(z_first, …, z_l | x_n) at every draw and for every example, (depth, S, N, N) float64 on the CPU.

    The first index follows the order of inference, the last is that of x.
    """
    samples, examples = drawn.values[0].shape[:2]
    z = [drawn.values[level].flatten(0, 1) for level in drawn.order]
    blocks: list[Tensor] = []
    for x, condition in zip(drawn.x, drawn.conditions, strict=True):
        widest = max(value[0].numel() for value in z)
        rows = max(1, min(_MAX_ROWS, _MAX_NUMBERS // max(1, widest, x[0].numel())))
        chunks = zip(*(value.split(max(1, rows // len(x))) for value in z), strict=True)
        blocks.append(torch.cat([_terms(model, x, condition, list(chunk)) for chunk in chunks], 1))
    terms = torch.cat(blocks, 2)
    return terms.cumsum(0).view(len(z), samples, examples, examples)


class Marginal(NamedTuple):
    """New draws of one level, from the first of M draws of what is decided before it.

    Attributes:
        level: Which.
        table: log q(z_l | z_before^m of x_n) at every draw, (S, N, N, M) float64; m = 0 of an example is where its own
            draw is from.
        log_prior: log p(z_l | …) at the draws, (S, N) float64.
    """

    level: int
    table: Tensor
    log_prior: Tensor


def marginal_tables(model: LatentModel, drawn: Drawn, inner: int, stream: torch.Generator) -> Iterator[Marginal]:
    """Each level but the first decided, under every example's posterior of it, by M draws of what is before it."""
    for level in drawn.order[1:]:
        z: list[Tensor] = []
        priors: list[Tensor] = []
        posteriors: list[Distribution] = []
        samples = drawn.values[level].shape[0]
        for x, condition in zip(drawn.x, drawn.conditions, strict=True):
            repeated = x.repeat(inner, *([1] * (x.dim() - 1)))
            given = None if condition is None else condition.repeat(inner, *([1] * (condition.dim() - 1)))
            latent = drive(model.walk(repeated, **told(given)), lambda q: draw(q, generator=stream)).latents[level]
            assert latent.posterior is not None, "a walk over data has posteriors"
            drawn_here = draw(latent.posterior, (samples,), generator=stream)
            z.append(drawn_here[:, : len(x)])
            priors.append(latent.prior.log_prob(drawn_here)[:, : len(x)].double().cpu())
            posteriors.append(latent.posterior)
        values = torch.cat(z, 1)
        flat = values.flatten(0, 1)
        parts = [
            _log_probs(posterior, flat).view(len(flat), inner, -1).transpose(1, 2).cpu() for posterior in posteriors
        ]
        table = torch.cat(parts, 1).view(samples, drawn.num_examples, drawn.num_examples, inner)
        yield Marginal(level, table, torch.cat(priors, 1))


def _terms(model: LatentModel, x: Tensor, condition: Tensor | None, z: list[Tensor]) -> Tensor:
    """log q(z_l | x_n, z before it) of each level in the order of inference, (depth, K, B), without decoding."""
    walk = model.walk(x, check=False, **told(condition))
    found: list[Tensor] = []
    posterior = next(walk)
    for place, value in enumerate(z):
        assert isinstance(posterior, Distribution), "a walk meets its posteriors before its record"
        rows = value.repeat_interleave(len(x), 0)  # draw-major: each value beside every x
        found.append(log_prob_of_draws(posterior, rows).double().view(len(value), len(x)).cpu())
        if place + 1 < len(z):
            posterior = walk.send(rows)
    walk.close()
    return torch.stack(found)


def _log_probs(posterior: Distribution, z: Tensor) -> Tensor:
    """log q(z_i | x_j) of every value under every row of a posterior, (K, B), in float64."""
    rows = posterior.batch_shape[0]
    at_once = max(1, _MAX_NUMBERS // (rows * max(1, math.prod(posterior.event_shape))))
    parts = [
        posterior.log_prob(part.unsqueeze(1).expand(-1, rows, *posterior.event_shape)) for part in z.split(at_once)
    ]
    return torch.cat(parts).double()


def _noting(visited: list[Distribution], stream: torch.Generator) -> Callable[[Distribution], Tensor]:
    """A driver that draws, and notes the distributions in the order they are met."""

    def choose(distribution: Distribution) -> Tensor:
        visited.append(distribution)
        return draw(distribution, generator=stream)

    return choose


def _stacked(batches: list[list[Tensor]]) -> Tensor:
    """Draws of batches, a list of S for each batch, as (S, N, ...)."""
    return torch.cat([torch.stack(draws) for draws in batches], 1)

"""How many latent units are active while a model trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn import Module

from lucid.data import Share
from lucid.evaluation import LatentStatistics
from lucid.models import LatentModel, evaluating
from lucid.training.engine import Engine

if TYPE_CHECKING:
    from lucid.data import Split

__all__ = ["Units", "count_units"]

_EXAMPLES = 1000
_EXAMPLES_OF_DEEP = 500
"""Of models whose deeper posteriors are reached through drawn latents: those need several draws each."""
_DRAWS = 10


class Units(NamedTuple):
    """Latent units of each level, indexed by level.

    Attributes:
        active: Those whose posterior mean varies with x, as `lucid.evaluation.unit_statistics` counts them.
        total: All of them.
    """

    active: list[int]
    total: list[int]


def count_units(
    step: Any, inner: Module, model: LatentModel, split: Split, *, engine: Engine, batch_size: int
) -> Units:
    """Count the active units on the first examples of a split: 1,000 of them, 500 where a model has several levels.

    Every process looks at all of them, and finds the same.

    Args:
        step: A `TrainingStep`, as the engine distributed it.
        inner: The same before that.
        model: Within it.
        split: Which part of the data.
        engine: Where it computes.
        batch_size: Examples that are computed at once in training.
    """
    draws, examples = (1, _EXAMPLES) if model.depth == 1 else (_DRAWS, _EXAMPLES_OF_DEEP)
    rows = max(1, batch_size // draws)
    statistics = LatentStatistics(model.depth)
    # Not the run's stream: these draws belong to no step.
    stream = torch.Generator(engine.device).manual_seed(0)
    seen = 0
    with evaluating(inner), engine.autocast():
        told = model.condition is not None
        for portion in split.portions(rows, device=engine.device, share=Share(), condition=told):
            x = portion.x[: examples - seen].to(engine.dtype)
            condition = None if portion.condition is None else portion.condition[: len(x)]
            step(x, (), stream, False, condition, (statistics, draws))
            seen += len(x)
            if seen >= examples:
                break
    found = statistics.result()
    return Units([level.num_active for level in found], [level.variance.numel() for level in found])

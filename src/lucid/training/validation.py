"""The objective over a part of the data, every example once, by any number of processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch.nn import Module

from lucid.distributions import Rows
from lucid.models import LatentModel, evaluating
from lucid.training.engine import Engine
from lucid.training.randomness import Randomness
from lucid.training.update import stand_in
from lucid.training.window import Averages, Window

if TYPE_CHECKING:
    from lucid.data import Split

__all__ = ["measure"]


def measure(
    step: Any,
    inner: Module,
    model: LatentModel,
    split: Split,
    betas: Sequence[float],
    *,
    engine: Engine,
    randomness: Randomness,
    batch_size: int,
) -> list[Averages]:
    """Means of the terms of the loss over a split, with the same draws each time and whatever the number of processes.

    Args:
        step: A `TrainingStep`, as the engine distributed it.
        inner: The same before that; an objective may compute another thing in training.
        model: Within it.
        split: What is measured.
        betas: Weights of the KL; the terms are found at each.
        engine: Where it computes.
        randomness: Of the run.
        batch_size: Examples at a time, over all processes.
    """
    windows = [Window() for _ in betas]
    noise = randomness.noise
    with evaluating(inner):
        told = model.condition is not None
        for number, portion in enumerate(
            split.portions(batch_size, device=engine.device, share=engine.share, condition=told)
        ):
            randomness.at("validation", number)
            examples, first, whole = len(portion.x), portion.first, portion.whole
            stream = noise if examples == whole else Rows(noise, first if examples else 0, whole)
            # Sharded weights are gathered by all together: a process without rows takes part with a row of its own.
            rows = portion if examples else stand_in(portion)
            with engine.autocast():
                found = step(rows.x.to(engine.dtype), betas, stream, condition=rows.condition)
            for window, terms in zip(windows, found, strict=True):
                window.add(terms, examples)
    return [window.averages(engine.sum) for window in windows]

"""The bootstrap: what a score would have been on other examples of the same kind."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["check_num_resamples", "resampled_rows", "spread", "two_parts", "weights"]

TRAIN_SHARE = 2 / 3
"""Share of the examples that classifiers are fitted on: 10,000 of 15,000 in the published studies."""


def weights(num_examples: int, num_resamples: int, generator: torch.Generator) -> Tensor:
    """How often each example is drawn, (1 + num_resamples, N) float32; in the first row each once: the data itself."""
    drawn = [torch.ones(num_examples)]
    for _ in range(num_resamples):
        rows = resampled_rows(num_examples, generator)
        drawn.append(torch.bincount(rows, minlength=num_examples).float())
    return torch.stack(drawn)


def resampled_rows(num_examples: int, generator: torch.Generator) -> Tensor:
    """As many rows as there are examples, drawn with replacement, (N,) int64."""
    return torch.randint(num_examples, (num_examples,), generator=generator)


def spread(scores: Tensor) -> tuple[float, float | None]:
    """A score and its standard error, from the score of the data and those of its resamples, (1 + R,).

    Efron: Bootstrap Methods: Another Look at the Jackknife, 1979, https://doi.org/10.1214/aos/1176344552.
    """
    return float(scores[0]), float(scores[1:].std()) if len(scores) > 2 else None


def two_parts(num_examples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rows to fit on, two thirds, and rows to measure on, in a random order."""
    order = torch.randperm(num_examples, generator=generator)
    cut = round(num_examples * TRAIN_SHARE)
    return order[:cut], order[cut:]


def check_num_resamples(num_resamples: int) -> None:
    """Refuse a number of resamples that gives no standard error."""
    if num_resamples < 0 or num_resamples == 1:
        raise ValueError(
            "num_resamples must be 0, for no standard error, or at least 2, of which it is the standard deviation; "
            f"received {num_resamples}"
        )

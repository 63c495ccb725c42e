"""The bootstrap: what a score would have been on other examples of the same kind."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["check_num_resamples", "resampled_rows", "spread", "two_parts", "weights"]

TRAIN_SHARE = 2 / 3
"""Share of the examples that classifiers are fitted on: 10,000 of 15,000 in the published studies."""


def weights(codes: Tensor, num_resamples: int, generator: torch.Generator) -> Tensor:
    """How often each example is drawn, (1 + num_resamples, N) float32; in the first row each once: the data itself."""
    num_examples = len(codes)
    drawn = [torch.ones(num_examples)]
    for _ in range(num_resamples):
        rows = resampled_rows(codes, generator)
        drawn.append(torch.bincount(rows, minlength=num_examples).float())
    return torch.stack(drawn)


def resampled_rows(codes: Tensor, generator: torch.Generator) -> Tensor:
    """As many rows as there are examples, drawn with replacement, (N,) int64.

    Rows in which a factor takes one value only have no score, and are drawn again: the spread is then that over data
    which have one, as the data at hand do.

    Args:
        codes: The value of each factor, (N, F), of which each varies.
        generator: Of the draws.
    """
    while True:
        rows = torch.randint(len(codes), (len(codes),), generator=generator)
        if _each_varies(codes[rows]):
            return rows


def _each_varies(codes: Tensor) -> bool:
    return bool((codes != codes[0]).any(0).all())


def spread(scores: Tensor) -> tuple[float, float | None]:
    """A score and its standard error, from the score of the data and those of its resamples, (1 + R,).

    Efron: Bootstrap Methods: Another Look at the Jackknife, 1979, https://doi.org/10.1214/aos/1176344552.
    """
    return float(scores[0]), float(scores[1:].std()) if len(scores) > 2 else None


def two_parts(codes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rows to fit on, two thirds, and rows to measure on, in a random order in which each factor varies in both.

    Args:
        codes: The value of each factor, (N, F), which takes two values at least twice.
        generator: Of the order.
    """
    cut = round(len(codes) * TRAIN_SHARE)
    while True:
        order = torch.randperm(len(codes), generator=generator)
        if _each_varies(codes[order[:cut]]) and _each_varies(codes[order[cut:]]):
            return order[:cut], order[cut:]


def check_num_resamples(num_resamples: int) -> None:
    """Refuse a number of resamples that gives no standard error."""
    if num_resamples < 0 or num_resamples == 1:
        raise ValueError(
            "num_resamples must be 0, for no standard error, or at least 2, of which it is the standard deviation; "
            f"received {num_resamples}"
        )

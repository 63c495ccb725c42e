"""Figures over seeds: of repeated draws on one model, or of several trainings; what one evaluation cannot know."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lucid.evaluation.figure import Figure
from lucid.evaluation.result import Evaluation

__all__ = ["over_seeds"]


def over_seeds(evaluations: Sequence[Evaluation], what: str = "draws") -> tuple[Figure, ...]:
    r"""Each figure averaged over evaluations that differ by a seed, with its standard error over the seeds.

    With n values of a figure, the standard error over seeds is :math:`s / \sqrt n`, s their standard deviation. Of
    repeated draws it says how exactly the estimator was computed on these examples and this model; of several
    trainings, how exactly the method is known, which is what two methods must be compared by. Neither contains the
    other error, that over examples, which stands beside it in `details`: the root mean square of those of the
    evaluations.

    Args:
        evaluations: At least two, of the same data by the same estimators; the figures that all of them have are
            averaged.
        what: What the seeds are of, for the estimators' names: "draws" or "trainings".

    Returns:
        The figures; `details` hold `values`, one for each evaluation, and `standard_error_over_examples`.

    Raises:
        ValueError: If there are fewer than two, or they are of other data or other estimators.

    Example:
        >>> import lucid.nn as nn, torch
        >>> from lucid.evaluation import evaluate
        >>> from lucid.models import VAE, VAEConfig
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)]))
        >>> x = torch.randn(50, 6)
        >>> found = over_seeds([evaluate(model, x, num_samples=5, seed=seed) for seed in range(3)])
        >>> found[0].name, len(found[0].details["values"])
        ('ELBO', 3)
    """
    if len(evaluations) < 2:
        raise ValueError(f"a standard error over seeds needs at least 2 evaluations; received {len(evaluations)}")
    first = evaluations[0]
    for other in evaluations[1:]:
        for name in ("protocol", "split", "num_examples"):
            if getattr(other, name) != getattr(first, name):
                raise ValueError(
                    f"evaluations over seeds must be of the same data; their {name} differs: "
                    f"{getattr(first, name)!r} and {getattr(other, name)!r}"
                )
    of_all = [{figure.name: figure for figure in evaluation.figures} for evaluation in evaluations]
    names = [figure.name for figure in first.figures if all(figure.name in figures for figures in of_all)]
    return tuple(_averaged([figures[name] for figures in of_all], what) for name in names)


def _averaged(figures: Sequence[Figure], what: str) -> Figure:
    first, n = figures[0], len(figures)
    if len({(figure.unit, figure.num_samples) for figure in figures}) > 1:
        raise ValueError(f"{first.name} was estimated in different ways: evaluate with the same settings")
    values = [figure.value for figure in figures]
    mean = math.fsum(values) / n
    error = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
    over_examples = [figure.standard_error for figure in figures if figure.standard_error is not None]
    details: dict[str, Any] = {"values": values, "seeds": [figure.seed for figure in figures], "over": what}
    if len(over_examples) == n:
        details["standard_error_over_examples"] = math.sqrt(math.fsum(e * e for e in over_examples) / n)
    return replace(
        first,
        value=mean,
        standard_error=error,
        estimator=f"mean over {n} {what} of: {first.estimator}; standard error here over {what}",
        warning=next((figure.warning for figure in figures if figure.warning), None),
        details=details,
    )

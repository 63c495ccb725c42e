"""`sample_figures`: a model's samples beside data in a feature space, with errors, and a floor to read them by."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lucid.evaluation.declared import protocol_of
from lucid.evaluation.examples import Batches, device_of, examples_of, length_of, name_of
from lucid.evaluation.figure import Figure
from lucid.evaluation.samples.features import FeatureSpace, feature_space, features_of
from lucid.evaluation.samples.frechet import frechet_distance
from lucid.evaluation.samples.neighbours import expected_coverage, neighbourhoods_without
from lucid.models import LatentModel
from lucid.models.condition import told

__all__ = ["sample_figures"]

_DISTANCE = "Fréchet distance"
_READ = {
    "density": "about 1 for samples of the data's own distribution; low where samples look like no data",
    "coverage": "how much of the variety of the data the samples show",
    "precision": "how many samples lie among the data; one outlier of the data can raise it",
    "recall": "how much of the data lies among the samples; one outlier of the samples can raise it",
}


@dataclass(frozen=True)
class _Told:
    """What all figures of one comparison have in common."""

    space: FeatureSpace
    neighbours: int
    groups: int
    seed: int
    split: str
    protocol: str


def sample_figures(
    model: LatentModel,
    data: Batches | Tensor,
    *,
    train: Batches | Tensor | None = None,
    features: str | FeatureSpace = "pixels",
    num_samples: int = 2000,
    neighbours: int = 5,
    groups: int = 10,
    mean: bool = False,
    batch_size: int = 128,
    seed: int = 0,
    split: str | None = None,
    condition: Tensor | None = None,
) -> list[Figure]:
    """Fréchet distance, density, coverage, precision and recall of a model's samples beside data.

    n examples of the data, evenly spread over it (of a stream, the first), meet n samples of the model, and, with
    `train`, n training examples, which show what such figures are for samples that could not be better: the floor.
    n is `num_samples`, or the length of the data if that is less. Images are not kept: the memory is that of 3·n rows
    of features in float32, and of one batch.

    Standard errors are by the jackknife, over groups of both sets at once. It is right for distance and density; of the
    fractions, which jump where a neighbour is left out, it is too large, by about 1.4 for a coverage.

    None of this is the "FID" of the literature, which is a Fréchet distance in one certain feature space, that of an
    Inception network; figures are named by the space that they were made in.

    Args:
        model: Any latent-variable model; it is left as it was.
        data: A split of a dataset, or a tensor of model-space x, (N, ...).
        train: The training part, for the floor; None for no floor.
        features: "pixels", "efficientnet-lite0" (`pip install lucid-vae[features]`), or a `FeatureSpace` of your own.
        num_samples: n, at most.
        neighbours: k, of density, coverage, precision and recall.
        groups: Of the jackknife that the standard errors are from: each group of examples and samples is left out once.
        mean: Whether a sample is the mean of p(x|z), which is what one looks at, in the place of a draw from it.
        batch_size: Examples at once.
        seed: Of the samples, and of the groups.
        split: What to call the data. None means the name of the split, or "tensor".
        condition: What a conditional model is told of each example of a tensor; its samples are made for the same.

    Returns:
        The figures of the samples, then those of the training data.

    Raises:
        ValueError: If a setting is out of range, there are too few examples, or the feature space does not suit.
        ImportError: If the feature space needs weights that are not installed.

    Example:
        >>> import torch
        >>> from lucid.models import DataProtocol, create
        >>> digits = DataProtocol(name="digits", kind="image", shape=(1, 8, 8), levels=17)
        >>> found = sample_figures(create("mlp", digits, size=1), torch.rand(60, 1, 8, 8), num_samples=50)
        >>> [figure.name for figure in found][:2], found[0].num_samples, found[0].num_examples
        (['Fréchet distance of samples (pixels)', 'density of samples (pixels)'], 50, 50)
    """
    _check(num_samples, neighbours, groups, batch_size)
    protocol = protocol_of(model, data)
    space = feature_space(features, protocol)
    described = "not declared" if protocol is None else protocol.describe()
    facts = _Told(space, neighbours, groups, seed, split or name_of(data), described)
    device = device_of(model)
    generator = torch.Generator(device).manual_seed(seed)
    real: list[Tensor] = []
    made: list[Tensor] = []
    for x, labels in _spread(model, data, num_samples, batch_size, device, condition):
        real.append(features_of(space, x))
        drawn = model.sample(len(x), generator=generator, noise=not mean, **told(labels))
        made.append(features_of(space, drawn))
    of_data, of_samples = _gathered(real, facts), _gathered(made, facts)
    how = "the mean of p(x|z) for z from the prior" if mean else "z from the prior, x from p(x|z)"
    figures = _compared(of_data, of_samples, facts, "samples", how)
    if train is not None:
        kept = [features_of(space, x) for x, _ in _spread(model, train, len(of_data), batch_size, device, None)]
        figures += _compared(of_data, _gathered(kept, facts), facts, "training data", "examples of the data")
    return figures


def _compared(data: Tensor, others: Tensor, facts: _Told, what: str, how: str) -> list[Figure]:
    """The figures of samples, or of what stands in their place, beside data.

    Args:
        data: Features of the data, (N, D).
        others: Features of what is compared with it, (M, D).
        facts: What the figures say of themselves.
        what: What is compared with the data.
        how: How it was made.
    """
    groups = [_groups(len(x), facts) for x in (data, others)]
    distance = [frechet_distance(data, others)]
    distance += [frechet_distance(data[groups[0] != g], others[groups[1] != g]) for g in range(facts.groups)]
    near = neighbourhoods_without(data, others, *groups, groups=facts.groups, neighbours=facts.neighbours)
    num_features = data.shape[1]
    warning = None
    if len(data) <= num_features:
        warning = (
            f"{len(data):,} examples cannot show the covariance of {num_features:,} features: read this only beside "
            "the distance of the training data, at the same number of examples"
        )
    elif len(others) < len(data):
        warning = f"only {len(others):,} examples against {len(data):,}: with more the distance would be less"
    estimator = f"{len(others):,} rows ({how}) against {len(data):,} of the data; features: {facts.space.says}"

    def figure(name: str, values: list[float], unit: str, meaning: str, **more: Any) -> Figure:
        return Figure(
            name=f"{name} of {what} ({facts.space.name})",
            value=values[0],
            standard_error=_jackknife(values[1:]),
            unit=unit,
            estimator=f"{estimator}; standard error: jackknife over {facts.groups} groups of both",
            num_samples=len(others) if what == "samples" else None,
            num_examples=len(data),
            seed=facts.seed,
            split=facts.split,
            protocol=facts.protocol,
            meaning=meaning,
            **more,
        )

    found = [
        figure(
            _DISTANCE,
            distance,
            "squared units of the features",
            "0 for equal means and covariances; too large by what few examples add: compare with the training data's",
            warning=warning,
            details={"at_fewer_examples": _at_fewer(data, others, facts)},
        )
    ]
    for name, meaning in _READ.items():
        values = [float(getattr(each, name)) for each in near]
        details: dict[str, Any] = {"neighbours": facts.neighbours}
        if name == "coverage":
            details["expected_of_the_same_distribution"] = expected_coverage(len(data), len(others), facts.neighbours)
        unit = "1 for the same distribution" if name == "density" else "fraction in [0, 1]"
        found.append(figure(name, values, unit, meaning, details=details))
    return found


def _spread(
    model: LatentModel,
    data: Batches | Tensor,
    num_examples: int,
    batch_size: int,
    device: torch.device,
    condition: Tensor | None,
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """At most that many examples, evenly spread over the data; of a stream, whose length is not known, the first."""
    total = length_of(data)
    wanted = num_examples if total is None else min(num_examples, total)
    places = torch.arange(wanted) if total is None else torch.arange(wanted) * total // wanted
    met = taken = 0
    for x, labels in examples_of(model, data, batch_size, device, condition):
        here = places[taken : taken + len(x)] - met
        here = here[here < len(x)].to(x.device)
        met, taken = met + len(x), taken + len(here)
        if len(here):
            yield x[here], None if labels is None else labels[here]
        if taken == wanted:
            return


def _gathered(parts: list[Tensor], facts: _Told) -> Tensor:
    """The features of all batches, if they are enough for every figure."""
    rows = torch.cat(parts) if parts else torch.zeros(0, 1)
    least = max(2 * facts.groups, 2 * (facts.neighbours + 1))
    if len(rows) < least:
        raise ValueError(
            f"samples are compared with at least {least} examples, for {facts.neighbours} neighbours and "
            f"{facts.groups} groups; received {len(rows)}"
        )
    return rows


def _groups(rows: int, facts: _Told) -> Tensor:
    """The group of each row: equal in size, and drawn, since examples may come in the order of their classes."""
    generator = torch.Generator().manual_seed(facts.seed)
    return torch.randperm(rows, generator=generator) % facts.groups


def _at_fewer(data: Tensor, others: Tensor, facts: _Told) -> dict[str, float]:
    """The Fréchet distance by a half and by a quarter of the rows, drawn, which shows what the number of them adds."""
    generator = torch.Generator().manual_seed(facts.seed)
    orders = [torch.randperm(len(x), generator=generator) for x in (data, others)]
    counts = [len(data) // 4, len(data) // 2]
    return {str(n): frechet_distance(data[orders[0][:n]], others[orders[1][:n]]) for n in counts}


def _jackknife(without: list[float]) -> float:
    """The standard error of a figure from its values without each of g equal groups."""
    g = len(without)
    mean = sum(without) / g
    return math.sqrt((g - 1) / g * sum((value - mean) ** 2 for value in without))


def _check(num_samples: int, neighbours: int, groups: int, batch_size: int) -> None:
    settings = {"num_samples": num_samples, "neighbours": neighbours, "groups": groups, "batch_size": batch_size}
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an int; received {value!r}")
        if value < (2 if name == "groups" else 1):
            raise ValueError(f"{name} must be at least {2 if name == 'groups' else 1}; received {value}")

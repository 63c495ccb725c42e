"""Density and coverage, precision and recall: how samples and data lie among each other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Neighbourhoods", "density_and_coverage", "expected_coverage", "neighbourhoods_without"]

_NUMBERS = 2**22
"""Distances held at once."""


@dataclass(frozen=True)
class Neighbourhoods:
    """How samples lie among data. Each example of the data owns the ball that reaches to its k-th nearest neighbour.

    Attributes:
        density: Balls of the data that a sample lies in, over k, averaged over the samples: about 1 if they are of the
            same distribution, more where samples crowd where the data is dense.
        coverage: Fraction of the data in whose ball there is a sample; `expected_coverage` for the same distribution.
        precision: Fraction of the samples that lie in some ball of the data.
        recall: Fraction of the data that lies in some ball of the samples.
    """

    density: float
    coverage: float
    precision: float
    recall: float


def density_and_coverage(data: Tensor, samples: Tensor, *, neighbours: int = 5) -> Neighbourhoods:
    r"""Density, coverage, precision and recall of samples.

    With :math:`B_k(x)` the open ball around x that reaches to its k-th nearest neighbour in its own set, N examples
    :math:`x_i` and M samples :math:`y_j`,

    .. math:: \text{density} = \frac{1}{kM} \sum_{j} \sum_{i} [y_j \in B_k(x_i)], \qquad
        \text{coverage} = \frac1N \sum_i [\exists j: y_j \in B_k(x_i)].

    Naeem, Oh, Uh, Choi, Yoo: Reliable Fidelity and Diversity Metrics for Generative Models, 2020,
    https://arxiv.org/abs/2002.09797. Precision and recall: Kynkäänniemi, Karras, Laine, Lehtinen, Aila: Improved
    Precision and Recall Metric for Assessing Generative Models, 2019, https://arxiv.org/abs/1904.06991.

    Args:
        data: Features of data, (N, D) with N > `neighbours`.
        samples: Features of samples, (M, D) with M > `neighbours`.
        neighbours: k.

    Raises:
        ValueError: If the shapes are others, or there are too few examples.

    Example:
        >>> import torch
        >>> x = torch.randn(200, 4)
        >>> density_and_coverage(x, x)
        Neighbourhoods(density=1.0, coverage=1.0, precision=1.0, recall=1.0)
        >>> density_and_coverage(x, x + 100).density
        0.0
    """
    everyone = torch.zeros(len(data), dtype=torch.int64), torch.zeros(len(samples), dtype=torch.int64)
    return neighbourhoods_without(data, samples, *everyone, groups=0, neighbours=neighbours)[0]


def expected_coverage(num_examples: int, num_samples: int, neighbours: int = 5) -> float:
    r"""The coverage to expect of samples of the data's own distribution, whatever it is.

    .. math:: 1 - \prod_{i=1}^{k} \frac{N - i}{N + M - i}

    Naeem et al. 2020, https://arxiv.org/abs/2002.09797, section 3.3.

    Example:
        >>> round(expected_coverage(10_000, 10_000), 3)
        0.969
    """
    missed = 1.0
    for i in range(1, neighbours + 1):
        missed *= (num_examples - i) / (num_examples + num_samples - i)
    return 1 - missed


def neighbourhoods_without(
    data: Tensor,
    samples: Tensor,
    data_groups: Tensor,
    sample_groups: Tensor,
    *,
    groups: int,
    neighbours: int = 5,
) -> list[Neighbourhoods]:
    """The figures of all, and then without each of some groups, for a jackknife, from one set of distances.

    Args:
        data: Features of data, (N, D).
        samples: Features of samples, (M, D).
        data_groups: The group of each example, (N,), 0 … `groups` − 1.
        sample_groups: The group of each sample, (M,).
        groups: How many there are.
        neighbours: k.

    Returns:
        1 + `groups` figures.
    """
    _check(data, samples, neighbours)
    centre = data.double().mean(0)
    data, samples = data.double() - centre, samples.double() - centre  # distances lose no digits to a common offset
    among_data = _in_balls(data, samples, data_groups, sample_groups, groups, neighbours)
    among_samples = _in_balls(samples, data, sample_groups, data_groups, groups, neighbours)
    return [
        Neighbourhoods(density, coverage, precision, recall)
        for (density, coverage, precision), (_, _, recall) in zip(among_data, among_samples, strict=True)
    ]


def _in_balls(
    centres: Tensor, points: Tensor, centre_groups: Tensor, point_groups: Tensor, groups: int, k: int
) -> list[tuple[float, float, float]]:
    """Density, share of the balls with a point, share of the points in a ball; of all, and without each group."""
    kept_centres = [torch.ones_like(centre_groups, dtype=torch.bool), *(centre_groups != g for g in range(groups))]
    kept_points = [torch.ones_like(point_groups, dtype=torch.bool), *(point_groups != g for g in range(groups))]
    hits, covered = [0] * (groups + 1), [0] * (groups + 1)
    found = torch.zeros(groups + 1, len(points), dtype=torch.bool)
    for rows in torch.arange(len(centres)).split(max(1, _NUMBERS // max(len(points), len(centres)))):
        radii = _radii(centres, rows, centre_groups, groups, k)
        distances = torch.cdist(centres[rows], points)
        for case in range(groups + 1):
            own = kept_centres[case][rows]
            inside = distances[own][:, kept_points[case]] < radii[own, case].unsqueeze(1)
            hits[case] += int(inside.sum())
            covered[case] += int(inside.any(1).sum())
            found[case, kept_points[case]] |= inside.any(0)
    figures: list[tuple[float, float, float]] = []
    for case, (of_centres, of_points) in enumerate(zip(kept_centres, kept_points, strict=True)):
        num_centres, num_points = int(of_centres.sum()), int(of_points.sum())
        precision = int(found[case].sum()) / num_points
        figures.append((hits[case] / (k * num_points), covered[case] / num_centres, precision))
    return figures


def _radii(x: Tensor, rows: Tensor, group_of: Tensor, groups: int, k: int) -> Tensor:
    """Distance from some rows to their k-th nearest other one, (rows, 1 + groups): of all, and without each group."""
    distances = torch.cdist(x[rows], x)
    distances[torch.arange(len(rows)), rows] = torch.inf
    radii = [distances.kthvalue(k, 1).values]
    if groups:
        # The k nearest of each group are enough to tell the k-th nearest without any one of them.
        members = [distances[:, group_of == g] for g in range(groups)]
        nearest = [each.topk(min(k, each.shape[1]), 1, largest=False).values for each in members]
        others = [torch.cat(nearest[:g] + nearest[g + 1 :], 1) for g in range(groups)]
        radii += [each.kthvalue(k, 1).values for each in others]
    return torch.stack(radii, 1)


def _check(data: Tensor, samples: Tensor, neighbours: int) -> None:
    if data.dim() != 2 or samples.dim() != 2 or data.shape[1] != samples.shape[1]:
        raise ValueError(
            f"two sets of features must be (N, D) and (M, D); received {tuple(data.shape)} and {tuple(samples.shape)}"
        )
    if isinstance(neighbours, bool) or not isinstance(neighbours, int) or neighbours < 1:
        raise ValueError(f"neighbours must be a positive int; received {neighbours!r}")
    if min(len(data), len(samples)) <= neighbours:
        raise ValueError(
            f"each set must hold more than {neighbours} examples, for each to have {neighbours} neighbours; received "
            f"{len(data)} and {len(samples)}"
        )

"""Density and coverage against their definitions in loops, the authors' implementation, and the paper's cases."""

import math

import pytest
import torch

from lucid.evaluation.samples import Neighbourhoods, density_and_coverage, expected_coverage
from lucid.evaluation.samples import neighbours as module


def by_definition(data: list[list[float]], samples: list[list[float]], k: int) -> Neighbourhoods:
    """Literally what the definitions say, one pair after the other."""

    def radius(x: list[list[float]], i: int) -> float:
        return sorted(math.dist(x[i], x[j]) for j in range(len(x)) if j != i)[k - 1]

    of_data = [radius(data, i) for i in range(len(data))]
    of_samples = [radius(samples, j) for j in range(len(samples))]
    inside = [[math.dist(x, y) < r for y in samples] for x, r in zip(data, of_data, strict=True)]
    return Neighbourhoods(
        density=sum(map(sum, inside)) / (k * len(samples)),
        coverage=sum(any(row) for row in inside) / len(data),
        precision=sum(any(row[j] for row in inside) for j in range(len(samples))) / len(samples),
        recall=sum(any(math.dist(x, y) < r for y, r in zip(samples, of_samples, strict=True)) for x in data)
        / len(data),
    )


def assert_equal(found: Neighbourhoods, expected: Neighbourhoods):
    for name in ("density", "coverage", "precision", "recall"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), abs=1e-12), name


@pytest.mark.parametrize("k", [1, 3])
def test_equals_the_definition_in_loops(k, monkeypatch):
    monkeypatch.setattr(module, "_NUMBERS", 100)  # several parts of the distances
    generator = torch.Generator().manual_seed(0)
    data, samples = torch.randn(23, 2, generator=generator), 0.3 + torch.randn(31, 2, generator=generator)
    assert_equal(density_and_coverage(data, samples, neighbours=k), by_definition(data.tolist(), samples.tolist(), k))


def wavy(rows: int, a: float, b: float) -> torch.Tensor:
    i = torch.arange(1, rows + 1, dtype=torch.float64).unsqueeze(1)
    j = torch.arange(1, 4, dtype=torch.float64).unsqueeze(0)
    return (a * i * j).sin() + 0.5 * (b * i + j).sin()


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, Neighbourhoods(1.1333333333333333, 0.48333333333333334, 0.7333333333333333, 0.6333333333333333)),
        (5, Neighbourhoods(0.8933333333333334, 0.9333333333333333, 1.0, 0.9833333333333333)),
    ],
)
def test_equals_the_authors_implementation(k, expected):
    """Figures of prdc 0.2 (Naeem et al.) on the same two sets."""
    assert_equal(density_and_coverage(wavy(60, 1.37, 2.11), 1.1 * wavy(45, 0.73, 1.93) + 0.2, neighbours=k), expected)


def test_without_a_group_is_as_if_it_had_never_been():
    generator = torch.Generator().manual_seed(1)
    data, samples = torch.randn(30, 2, generator=generator), torch.randn(24, 2, generator=generator)
    groups = torch.arange(30) % 4, torch.arange(24) % 4
    found = module.neighbourhoods_without(data, samples, *groups, groups=4, neighbours=2)
    assert_equal(found[0], density_and_coverage(data, samples, neighbours=2))
    for g in range(4):
        kept = density_and_coverage(data[groups[0] != g], samples[groups[1] != g], neighbours=2)
        assert_equal(found[1 + g], kept)


def test_identical_sets_and_sets_far_apart():
    x = torch.randn(100, 3, generator=torch.Generator().manual_seed(2))
    assert density_and_coverage(x, x) == Neighbourhoods(1.0, 1.0, 1.0, 1.0)
    assert density_and_coverage(x, x + 50) == Neighbourhoods(0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("features", [1, 20])
def test_one_distribution_has_density_one_and_the_expected_coverage(features):
    """The paper's sections 3.2 and 3.3: both hold for any distribution, in any dimension."""
    generator = torch.Generator().manual_seed(3)
    found = [
        density_and_coverage(*(torch.randn(n, features, generator=generator) for n in (150, 100))) for _ in range(60)
    ]
    for name, expected in (("density", 1.0), ("coverage", expected_coverage(150, 100))):
        values = torch.tensor([getattr(each, name) for each in found], dtype=torch.float64)
        assert abs(float(values.mean()) - expected) < 3.5 * float(values.std()) / math.sqrt(len(values)), name


def test_an_outlier_of_the_data_raises_precision_and_hardly_density():
    """The paper's figure of a single far example, whose large ball takes in samples that look like no data."""
    generator = torch.Generator().manual_seed(4)
    data, samples = torch.randn(200, 2, generator=generator), 6 + torch.randn(200, 2, generator=generator)
    without = density_and_coverage(data, samples)
    outlier = density_and_coverage(torch.cat([data, torch.tensor([[6.0, 6.0]])]), samples)
    assert without.precision < 0.02
    assert outlier.precision > 0.95
    assert outlier.density < 0.25


def test_samples_of_one_mode_of_two_cover_half():
    """A dropped mode is seen by coverage, not by density."""
    generator = torch.Generator().manual_seed(5)
    modes = [offset + torch.randn(300, 2, generator=generator) for offset in (0.0, 30.0)]
    found = density_and_coverage(torch.cat(modes), torch.randn(600, 2, generator=generator))
    assert found.density == pytest.approx(1, abs=0.15)
    assert found.coverage == pytest.approx(0.5, abs=0.02)


def test_what_cannot_be_measured_is_refused():
    x = torch.zeros(6, 2)
    with pytest.raises(ValueError, match=r"more than 5 examples.*received 5 and 6"):
        density_and_coverage(x[:5], x)
    with pytest.raises(ValueError, match="neighbours must be a positive int; received 0"):
        density_and_coverage(x, x, neighbours=0)
    with pytest.raises(ValueError, match=r"\(N, D\) and \(M, D\)"):
        density_and_coverage(x, torch.zeros(6, 3))

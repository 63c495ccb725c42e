"""The Fréchet distance against closed forms, and its bias against the number of examples."""

import math

import pytest
import torch

from lucid.evaluation.samples import frechet_between_gaussians, frechet_distance


def rotation(size: int, seed: int) -> torch.Tensor:
    numbers = torch.randn(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return torch.linalg.qr(numbers).Q


def test_commuting_covariances_have_a_closed_form():
    """Σ1 and Σ2 of the same axes: Σ (√a − √b)², whatever the axes."""
    a = torch.tensor([4.0, 1.0, 0.25, 0.0], dtype=torch.float64)
    b = torch.tensor([1.0, 9.0, 0.25, 2.0], dtype=torch.float64)
    shift = torch.tensor([1.0, -2.0, 0.0, 0.5], dtype=torch.float64)
    axes = rotation(4, seed=0)
    found = frechet_between_gaussians(torch.zeros(4), axes @ a.diag() @ axes.T, shift, axes @ b.diag() @ axes.T)
    assert found == pytest.approx(float(shift.square().sum() + (a.sqrt() - b.sqrt()).square().sum()), abs=1e-7)


def test_any_two_by_two_covariances_have_a_closed_form():
    """tr √(Σ1^½ Σ2 Σ1^½) of 2×2 matrices is √(tr Σ1Σ2 + 2 √det Σ1Σ2)."""
    for seed in range(5):
        roots = [rotation(2, 2 * seed + i) @ torch.tensor([1.0, 0.3 + i], dtype=torch.float64).diag() for i in (0, 1)]
        first, second = (root @ root.T for root in roots)
        product = first @ second
        common = math.sqrt(product.trace() + 2 * math.sqrt(product.det()))
        expected = float(first.trace() + second.trace()) - 2 * common
        found = frechet_between_gaussians(torch.zeros(2), first, torch.zeros(2), second)
        assert found == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(("rows", "features"), [(40, 6), (6, 40), (41, 40)])
def test_sets_give_the_distance_of_their_moments(rows, features):
    """With more examples than features and with fewer, which are computed in different ways."""
    generator = torch.Generator().manual_seed(3)
    first = torch.randn(rows, features, dtype=torch.float64, generator=generator)
    second = 0.5 + 1.7 * torch.randn(rows + 2, features, dtype=torch.float64, generator=generator)
    by_moments = frechet_between_gaussians(first.mean(0), first.T.cov(), second.mean(0), second.T.cov())
    assert frechet_distance(first, second) == pytest.approx(by_moments, rel=1e-6)
    assert frechet_distance(second, first) == pytest.approx(by_moments, rel=1e-6)


def test_a_set_is_at_no_distance_from_itself_and_a_moved_one_at_the_square_of_the_move():
    for rows, features in ((50, 5), (5, 50)):
        x = torch.randn(rows, features, generator=torch.Generator().manual_seed(4))
        assert frechet_distance(x, x) == pytest.approx(0, abs=1e-5)
        assert frechet_distance(x, x + 3) == pytest.approx(9 * features, rel=1e-5)


def test_many_rows_are_added_up_in_parts():
    """More rows than are held in float64 at once, far from zero, where sums of squares would lose every digit."""
    x = 1e3 + torch.randn(3000, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    assert frechet_distance(x, 2 * x) == pytest.approx(
        frechet_between_gaussians(x.mean(0), x.T.cov(), 2 * x.mean(0), 4 * x.T.cov()), rel=1e-9
    )


def test_the_bias_falls_as_one_over_n():
    """Two sets of one distribution: not at 0, and about half as far with twice the examples."""
    generator = torch.Generator().manual_seed(6)

    def mean_distance(n: int) -> float:
        pairs = [torch.randn(2, n, 8, generator=generator) for _ in range(30)]
        return sum(frechet_distance(*pair) for pair in pairs) / len(pairs)

    at_200, at_400 = mean_distance(200), mean_distance(400)
    assert at_200 > 0.05
    assert at_200 / at_400 == pytest.approx(2, rel=0.15)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"\(N, D\) and \(M, D\); received \(4, 3\) and \(4, 2\)"):
        frechet_distance(torch.zeros(4, 3), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="at least 2 examples; received 1 and 4"):
        frechet_distance(torch.zeros(1, 3), torch.zeros(4, 3))

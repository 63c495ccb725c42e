from __future__ import annotations

import math

import torch

from lucid.evaluation import Moments


def test_any_division_into_batches_gives_the_mean_and_variance_of_the_whole() -> None:
    values = torch.randn(101, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for sizes in ([101], [1] * 101, [60, 1, 40], [2, 99]):
        moments = Moments()
        for part in values.split(sizes):
            moments.add(part)
        assert moments.count == 101
        torch.testing.assert_close(moments.mean, values.mean(0), rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(moments.variance, values.var(0), rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(moments.standard_error, values.std(0) / math.sqrt(101), rtol=1e-12, atol=1e-13)


def test_a_small_variance_beside_a_large_mean_keeps_its_digits() -> None:
    # A sum of squares minus a square would lose all of it: 1e16 has no room for 1e-2 in float64.
    values = 1e8 + torch.tensor([0.0, 0.1, 0.2, 0.3], dtype=torch.float64)
    moments = Moments()
    for part in values.split(1):
        moments.add(part)
    assert abs(float(moments.variance) / float(values.var()) - 1) < 1e-6


def test_one_value_has_no_variance() -> None:
    moments = Moments()
    moments.add(torch.ones(1, 2))
    assert moments.variance.isnan().all()
    assert moments.standard_error.isnan().all()

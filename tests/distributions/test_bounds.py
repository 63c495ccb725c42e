"""The smooth bounds: identity where it matters, finite where it must be, never deaf."""

from __future__ import annotations

import math

import pytest
import torch

from lucid.distributions import bounded_loc, bounded_logvar, smooth_clamp
from lucid.distributions.bounds import LOC_RANGE, LOGVAR_RANGE, bounded_halves

LIMIT = 20.0


def derivative(x: torch.Tensor, limit: float = LIMIT) -> torch.Tensor:
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(smooth_clamp(leaf, limit).sum(), leaf)
    return gradient


def test_inside_it_is_the_identity_bit_for_bit() -> None:
    x = torch.linspace(-LIMIT, LIMIT, 4001)
    assert torch.equal(smooth_clamp(x, LIMIT), x)
    assert torch.equal(derivative(x), torch.ones_like(x))


def test_outside_it_levels_off_by_its_formula() -> None:
    x = torch.tensor([21.0, 22.0, 120.0], dtype=torch.float64)
    beyond = x - LIMIT
    torch.testing.assert_close(smooth_clamp(x, LIMIT), LIMIT + beyond / (1 + beyond))
    torch.testing.assert_close(smooth_clamp(-x, LIMIT), -LIMIT - beyond / (1 + beyond))
    torch.testing.assert_close(derivative(x), (1 + beyond).pow(-2))


def test_its_derivative_is_right_and_continuous_across_the_limit() -> None:
    x = torch.tensor([-60.0, -20.5, -3.0, 0.0, 19.5, 20.5, 45.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: smooth_clamp(x, LIMIT), (x,))
    h = 1e-6
    around = torch.tensor([LIMIT - h, LIMIT, LIMIT + h, -LIMIT - h, -LIMIT, -LIMIT + h], dtype=torch.float64)
    torch.testing.assert_close(derivative(around), torch.ones_like(around), rtol=0, atol=3 * h)


def test_it_is_increasing_odd_and_bounded() -> None:
    x = torch.cat(
        [torch.linspace(-200, 200, 2001, dtype=torch.float64), torch.logspace(2.4, 300, 500, dtype=torch.float64)]
    )
    y = smooth_clamp(x, LIMIT)
    assert bool((y.diff() >= 0).all())
    assert bool((y[:2001].diff() > 0).all())
    assert float(y.abs().max()) <= LIMIT + 1
    assert torch.equal(smooth_clamp(-x, LIMIT), -y)


@pytest.mark.parametrize("x", [1e4, -1e4, 1e6])
def test_far_outside_a_gradient_still_comes_back(x: float) -> None:
    gradient = float(derivative(torch.tensor([x])))
    # Autograd subtracts 1/(1+u) − u/(1+u)²: float32 keeps it to about 2ε·u.
    assert gradient == pytest.approx((1 + abs(x) - LIMIT) ** -2, rel=2.4e-7 * abs(x), abs=0)
    assert gradient > 0


@pytest.mark.parametrize("x", [3e38, -3e38])
def test_at_the_end_of_float32_nothing_is_nan(x: float) -> None:
    leaf = torch.tensor([x])
    assert float(smooth_clamp(leaf, LIMIT)) == math.copysign(LIMIT + 1, x)
    assert bool(derivative(leaf).isfinite().all())


def test_the_ranges_of_means_and_log_variances() -> None:
    edges = torch.tensor([-LOGVAR_RANGE, LOGVAR_RANGE, 1e30])
    assert bounded_logvar(edges).tolist() == [-20.0, 20.0, 21.0]
    assert bounded_loc(torch.tensor([-LOC_RANGE, LOC_RANGE, 1e30])).tolist() == [-1e5, 1e5, 100_001.0]


def test_inside_the_range_the_short_way_and_the_long_way_agree_to_the_bit() -> None:
    """On a CPU an output that no bound touches is not sent through the formula; outside, and on a GPU, it is."""
    h = 6 * torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    outside = torch.cat([h, torch.full((1, 8), 25.0)])
    short, long = h.clone().requires_grad_(), outside.clone().requires_grad_()
    for x in (short, long):
        loc, logvar = bounded_halves(x)
        (loc[:5].sin().sum() + logvar[:5].cos().sum()).backward()
    for a, b in zip(bounded_halves(h), bounded_halves(outside), strict=True):
        assert torch.equal(a, b[:5])
    assert torch.equal(short.grad, long.grad[:5])  # type: ignore[arg-type, index]

"""The discretised logistic where its arithmetic is hard: narrow beside an edge, and far from its mean."""

from __future__ import annotations

import math

import pytest
import torch

from lucid.distributions import DiscretisedLogistic


@pytest.mark.parametrize("levels", [2, 16, 17, 256])
@pytest.mark.parametrize("log_scale", [-20.0, -15.0, -10.0, -7.0, -4.0, 0.0])
def test_a_narrow_discretised_logistic_beside_an_edge_sums_to_one_in_float32(levels: int, log_scale: float) -> None:
    """Both neighbours of an edge must see the same edge: a scale of 1e-7 magnifies the last digit of 1/(L−1)."""
    edges = (torch.arange(levels - 1) + 0.5) / (levels - 1)
    loc = torch.cat([edges, torch.nextafter(edges, edges + 1), torch.nextafter(edges, edges - 1)])
    params = torch.stack([loc, torch.full_like(loc, log_scale)], 1)
    values = (torch.arange(levels) / (levels - 1)).view(-1, 1, 1).expand(-1, len(loc), 1)
    mass = DiscretisedLogistic(levels)(params).log_prob(values).exp()
    torch.testing.assert_close(mass.double().sum(0), torch.ones(len(loc), dtype=torch.float64), rtol=0, atol=1e-6)


def test_far_from_the_mean_the_discretised_logistic_keeps_its_digits_and_its_gradient() -> None:
    """A difference of two CDFs is 0 − 0 there; the log-mass is −distance/scale + log(2 sinh(half a bin))."""
    params = torch.tensor([[0.0, -6.0]], requires_grad=True)
    log_prob = DiscretisedLogistic(17)(params).log_prob(torch.tensor([[0.75]]))
    scale = math.exp(-6.0)
    truth = -0.75 / scale + math.log(2 * math.sinh(1 / 32 / scale))
    assert float(log_prob.detach()) == pytest.approx(truth, rel=1e-6)
    log_prob.sum().backward()
    assert params.grad is not None
    assert float(params.grad[0, 0]) == pytest.approx(1 / scale, rel=1e-5)

"""Parts of log Γ against mpmath's many digits."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lucid.distributions.gamma import log_factorial_excess, log_gamma_ratio, stirling_error

mpmath: Any = pytest.importorskip("mpmath")

POINTS = [1e-9, 1e-3, 0.3, 1.0, 2.5, 7.99, 8.0, 8.01, 30.0, 1e4, 1e9]


def stirling(y: Any) -> Any:
    return mpmath.loggamma(y) - ((y - 0.5) * mpmath.log(y) - y + mpmath.log(2 * mpmath.pi) / 2)


@pytest.mark.parametrize(
    ("function", "truth", "points"),
    [
        (stirling_error, stirling, POINTS),
        (log_gamma_ratio, lambda y: mpmath.loggamma(y + 0.5) - mpmath.loggamma(y), POINTS),
        (log_factorial_excess, lambda n: mpmath.loggamma(n + 1) - n * mpmath.log(n) + n, [1.0, 2.0, 7.0, 8.0, 1e6]),
    ],
)
@pytest.mark.parametrize(("dtype", "digits"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_they_keep_their_digits(
    function: Any, truth: Any, points: list[float], dtype: torch.dtype, digits: float
) -> None:
    y = torch.tensor(points, dtype=dtype, requires_grad=True)
    with mpmath.workdps(40):
        exact = [mpmath.mpf(point) for point in y.tolist()]
        values = [float(truth(point)) for point in exact]
        slopes = [float(point * mpmath.diff(truth, point, h=point * mpmath.mpf("1e-12"))) for point in exact]
    found = function(y)
    torch.testing.assert_close(found.detach(), torch.tensor(values, dtype=dtype), rtol=digits, atol=digits)
    (gradient,) = torch.autograd.grad(found.sum(), y)
    # As the derivative with respect to log y: what the logarithm of a parameter feels.
    torch.testing.assert_close(
        gradient * y.detach(), torch.tensor(slopes, dtype=dtype), rtol=20 * digits, atol=20 * digits
    )

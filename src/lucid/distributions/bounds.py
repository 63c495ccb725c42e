"""Smooth bounds: no finite network output may turn a density, or its gradient, into inf or NaN."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

__all__ = ["LOC_RANGE", "LOGVAR_RANGE", "bounded_loc", "bounded_logvar", "smooth_clamp"]

LOGVAR_RANGE = 20.0
"""Log-variances in ±20 (standard deviations from 4.5e-5 to 2.2e4) are left exactly as they are."""

LOC_RANGE = 1e5
"""Means in ±1e5 are left exactly as they are."""


def smooth_clamp(x: Tensor, limit: float) -> Tensor:
    r"""The identity on [−limit, limit], then a tail that levels off at ±(limit + 1).

    .. math:: f(x) = \operatorname{clamp}(x, -c, c) + \operatorname{softsign}(\operatorname{softshrink}_c(x))

    Its first derivative is continuous and, outside, falls as :math:`(1 + |x| - c)^{-2}`: unlike a clamp, an output that
    has run away still feels a gradient that brings it back.

    Args:
        x: Any shape, any finite values.
        limit: Half-width c of the range that is left alone.

    Returns:
        The shape of `x`, values within ±(limit + 1).

    Example:
        >>> import torch
        >>> smooth_clamp(torch.tensor([-3.0, 20.0, 22.0, 3e38]), 20.0)
        tensor([-3.0000, 20.0000, 20.6667, 21.0000])
    """
    return x.clamp(-limit, limit) + F.softsign(F.softshrink(x, limit))


def bounded_logvar(logvar: Tensor) -> Tensor:
    """A log-variance (or any log-scale) held to ±21, exact within ±`LOGVAR_RANGE`."""
    return smooth_clamp(logvar, LOGVAR_RANGE)


def bounded_loc(loc: Tensor) -> Tensor:
    """A mean held to ±100,001, exact within ±`LOC_RANGE`, so that its square stays far from overflow."""
    return smooth_clamp(loc, LOC_RANGE)

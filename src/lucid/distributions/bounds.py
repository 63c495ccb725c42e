"""Smooth bounds: no finite network output may turn a density, or its gradient, into inf or NaN."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["LOC_RANGE", "LOGVAR_RANGE", "bounded_halves", "bounded_loc", "bounded_logvar", "smooth_clamp"]

LOGVAR_RANGE = 20.0
"""Log-variances in ±20 (standard deviations from 4.5e-5 to 2.2e4) are left exactly as they are."""

LOC_RANGE = 1e5
"""Means in ±1e5 are left exactly as they are."""


def smooth_clamp(x: Tensor, limit: float) -> Tensor:
    r"""The identity on [−limit, limit], then a tail that levels off at ±(limit + 1).

    With :math:`e = x - \operatorname{clamp}(x, -c, c)`, what exceeds the limit,

    .. math:: f(x) = \operatorname{clamp}(x, -c, c) + \frac{e}{1 + |e|}, \qquad f'(x) = (1 + |e|)^{-2}

    The derivative is continuous, 1 inside and never 0: unlike with a clamp, an output that has run away still feels a
    gradient that brings it back.

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
    if torch.compiler.is_compiling():  # which fuses the plain formula by itself
        excess = x - x.clamp(-limit, limit)
        return x.clamp(-limit, limit) + excess / (1 + excess.abs())
    return _Bounded.apply(x, (limit,))[0]


class _Bounded(torch.autograd.Function):
    """The formula above for equal parts of dimension 1, each with its limit; the derivative by hand.

    One node of the graph in the place of a dozen: autograd's own bookkeeping would cost more than the arithmetic.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, limits: tuple[float, ...]) -> tuple[Tensor, ...]:
        bounded: list[Tensor] = []
        denominators: list[Tensor] = []
        for part, limit in zip(x.chunk(len(limits), dim=1) if len(limits) > 1 else (x,), limits, strict=True):
            inside = part.clamp(-limit, limit)
            excess = part - inside
            denominators.append(excess.abs().add_(1))
            bounded.append(inside.add_(excess.div_(denominators[-1])))
        ctx.save_for_backward(*denominators)
        return tuple(bounded)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        # Divided twice, and not by the square, which would overflow far outside.
        parts = [grad / d / d for grad, d in zip(grads, ctx.saved_tensors, strict=True)]
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0], None


def bounded_halves(h: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance from their concatenation along dimension 1, bounded as the functions below do.

    Args:
        h: (N, 2·C, ...).
    """
    if torch.compiler.is_compiling():
        loc, logvar = h.chunk(2, dim=1)
        return bounded_loc(loc), bounded_logvar(logvar)
    if _plainly_inside(h):
        loc, logvar = h.chunk(2, dim=1)
    else:
        loc, logvar = _Bounded.apply(h, (LOC_RANGE, LOGVAR_RANGE))
    return loc, logvar


def _plainly_inside(h: Tensor) -> bool:
    """Whether the bounds are the identity on `h`, where finding out is cheap: a GPU would have to be waited for."""
    if h.device.type != "cpu" or h.numel() == 0:
        return False
    low, high = torch.aminmax(h.detach())
    return low.item() >= -LOGVAR_RANGE and high.item() <= LOGVAR_RANGE


def bounded_logvar(logvar: Tensor) -> Tensor:
    """A log-variance (or any log-scale) held to ±21, exact within ±`LOGVAR_RANGE`."""
    return smooth_clamp(logvar, LOGVAR_RANGE)


def bounded_loc(loc: Tensor) -> Tensor:
    """A mean held to ±100,001, exact within ±`LOC_RANGE`, so that its square stays far from overflow."""
    return smooth_clamp(loc, LOC_RANGE)

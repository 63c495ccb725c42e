"""The logistic density cut into bins: log-masses, means and draws that every discretised logistic is made of."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["discretised_draw", "discretised_log_mass", "discretised_mean", "log_mass_between"]


def log_mass_between(lower: Tensor, upper: Tensor, width: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
    r"""log(σ(upper) − σ(lower)), the log-mass a standard logistic has between two edges.

    .. math:: \log\bigl(\sigma(b) - \sigma(a)\bigr) = \log\sigma(b) + \log\sigma(-a) + \log(1 - e^{a-b}),

    which is exact at any distance from the mean, where a difference of two CDFs would be 0 − 0. (Kingma et al.,
    Improved Variational Inference with Inverse Autoregressive Flow, 2016, https://arxiv.org/abs/1606.04934,
    appendix C.)

    Args:
        lower: Lower edges a, finite.
        upper: Upper edges b, finite.
        width: b − a > 0, given by itself: far from the mean the difference of the edges has lost its digits.
        lowest: Where the bin has no lower edge, bool.
        highest: Where it has no upper edge, bool.

    Returns:
        Nats, the shapes broadcast together.
    """
    log_upper = torch.where(highest, 0.0, F.logsigmoid(upper))
    log_lower = torch.where(lowest, 0.0, F.logsigmoid(-lower))
    log_inside = torch.where(lowest | highest, 0.0, (-torch.expm1(-width)).log())
    return log_upper + log_lower + log_inside


def discretised_log_mass(value: Tensor, loc: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """Log-mass of a value on the grid of `levels` points of [0, 1] under a logistic whose outer bins are open.

    Args:
        value: On the grid {0, 1/(levels−1), …, 1}.
        loc: Mean of the logistic, in the units of the grid.
        log_scale: Log of its scale.
        levels: Number of grid points, at least 2.

    Returns:
        Nats, the shapes broadcast together.
    """
    steps = levels - 1
    inverse_scale = (-log_scale).exp()
    # Neighbouring bins must see one and the same edge to the last digit: a narrow scale magnifies any difference.
    index = (value.to(loc.dtype) * steps).round()
    above, below = (index + 0.5) / steps, (index - 0.5) / steps
    return log_mass_between(
        lower=(below - loc) * inverse_scale,
        upper=(above - loc) * inverse_scale,
        width=(above - below) * inverse_scale,
        lowest=index <= 0,
        highest=index >= steps,
    )


def discretised_mean(loc: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """Mean of the discretised logistic on the grid of `levels` points, the shape of `loc`.

    E[x] = 1 − (1/(L−1)) Σ_k P(x ≤ level k) over k < L−1, one level at a time: memory of one image, not of L.
    """
    total = torch.zeros_like(loc)
    inverse_scale = (-log_scale).exp()
    for k in range(levels - 1):
        edge = (k + 0.5) / (levels - 1)
        total = total + ((edge - loc) * inverse_scale).sigmoid()
    return 1 - total / (levels - 1)


def discretised_draw(uniform: Tensor, loc: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """The grid point that a uniform number in [0, 1) stands for.

    0 gives −inf, which the outer bin receives like any other value below the grid.
    """
    continuous = loc + log_scale.exp() * (uniform.log() - (-uniform).log1p())
    steps = levels - 1
    return (continuous.clamp(0, 1) * steps).round() / steps

"""One autoregressive step of a flow: each feature is mapped by a monotone function its predecessors decide."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lucid.distributions.bounds import bounded_loc
from lucid.distributions.factorised import at_least_float32

__all__ = ["AutoregressiveStep"]

_LOG_SCALE = 10.0
"""The scales of all affine steps of a flow together lie within e^±10, so that no square overflows."""

_BINS = 8
_SLOPE = 1e-2
"""Slopes of a spline lie within 1e-2 … 1e2, where the root that inverts it keeps its digits in float32."""


class AutoregressiveStep(nn.Module):
    r"""y_i = g(x_i; θ_i(x_{<i}, context)), with g increasing; begins as the identity.

    The Jacobian is triangular, its log-determinant the sum of the log-derivatives of g. θ comes from one masked network
    (zuko's). g is affine,

    .. math:: g(x) = x\, e^{s} + m,

    or zuko's rational-quadratic spline on [−5, 5], which is the identity outside.

    Germain et al.: MADE: Masked Autoencoder for Distribution Estimation, 2015, https://arxiv.org/abs/1502.03509.
    Papamakarios et al.: Masked Autoregressive Flow for Density Estimation, 2017, https://arxiv.org/abs/1705.07057.
    Durkan et al.: Neural Spline Flows, 2019, https://arxiv.org/abs/1906.04032.

    Args:
        features: Number of features D.
        context: Numbers per example that θ depends on too.
        passes: Groups the features are divided into; θ of a group depends on those before it.
        reverse: Whether the last group comes first.
        hidden: Width of the two hidden layers.
        spline: Whether g is a spline.
        share: Of the flow's log-scale, this step's.

    Raises:
        ImportError: Without zuko.
    """

    def __init__(
        self, features: int, context: int, *, passes: int, reverse: bool, hidden: int, spline: bool, share: float
    ) -> None:
        super().__init__()
        self.passes = passes
        self.spline = spline
        self._limit = _LOG_SCALE * share
        self._sizes = (_BINS, _BINS, _BINS - 1) if spline else (1, 1)
        self.network = _masked_network(features, context, passes, reverse, hidden, sum(self._sizes))

    def forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """y, (..., D), and the log-determinant, (...)."""
        theta = self._parameters_of(x, context)
        if self.spline:
            y, log_slope = self._spline(theta).call_and_ladj(x)
            return y, log_slope.sum(-1)
        shift, log_scale = self._affine(theta)
        return x * log_scale.exp() + shift, log_scale.sum(-1)

    def inverse(self, y: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """x, (..., D), and the log-determinant of the inverse, (...): after each pass one more group is right."""
        x = y
        for _ in range(self.passes):
            theta = self._parameters_of(x, context)
            if self.spline:
                x = self._spline(theta)._inverse(y)
            else:
                shift, log_scale = self._affine(theta)
                x = (y - shift) * (-log_scale).exp()
        return x, -self(x, context)[1]

    def _parameters_of(self, x: Tensor, context: Tensor | None) -> Tensor:
        """θ, (..., D, numbers per feature), in the type of x."""
        context = x.new_ones(1) if context is None else context.to(x.dtype)
        h = torch.cat([x, context.expand(*x.shape[:-1], context.shape[-1])], -1)
        weight = next(self.network.parameters())
        with torch.autocast(x.device.type, enabled=False):  # a density needs the digits
            theta = at_least_float32(self.network(h.to(weight.dtype))).to(x.dtype)
        return theta.unflatten(-1, (-1, sum(self._sizes)))

    def _affine(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        shift, scale = theta.unbind(-1)
        return bounded_loc(shift), scale / (1 + (scale / self._limit).abs())

    def _spline(self, theta: Tensor) -> Any:
        from zuko.transforms import MonotonicRQSTransform

        widths, heights, derivatives = theta.split(self._sizes, -1)
        return MonotonicRQSTransform(widths, heights, derivatives, slope=_SLOPE)


def _masked_network(features: int, context: int, passes: int, reverse: bool, hidden: int, numbers: int) -> nn.Module:
    """From features and context to `numbers` per feature, none of which depends on its own feature or a later one."""
    masked_mlp = _import_masked_mlp()
    with torch.device("cpu"):  # the masks are worked out, also for a model that is only described
        place = torch.arange(features) * passes // features
        place = place.flip(0) if reverse else place
        before = place[:, None] > place
        mask = torch.cat([before, torch.ones(features, max(context, 1), dtype=torch.bool)], 1)
        network = masked_mlp(mask.repeat_interleave(numbers, 0), (hidden, hidden), activation=nn.SiLU)
    for parameter in network[-1].parameters():
        nn.init.zeros_(parameter)
    return network.to(torch.get_default_device())


def _import_masked_mlp() -> Any:
    validating = torch.distributions.Distribution._validate_args  # pyright: ignore[reportPrivateUsage]
    try:
        from zuko.nn import MaskedMLP
    except ImportError as error:
        raise ImportError("normalizing flows need zuko: pip install 'lucid-vae[flows]'") from error
    finally:
        # Importing zuko switches off the checks of PyTorch's distributions for the whole process.
        torch.distributions.Distribution.set_default_validate_args(validating)
    return MaskedMLP

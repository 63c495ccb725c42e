"""What the networks of a `TopDownVAE` are made of: convolutions in one to three dimensions, and residual blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lucid import nn

__all__ = ["Bottleneck", "ConditionBias", "Conv", "convolution", "enlarge", "shrink", "subpixels", "zeroed"]

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_POOLS = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)


def convolution(in_channels: int, out_channels: int, size: Sequence[int], wide: bool = False) -> Conv:
    """A convolution that keeps the size: 1 position wide, or 3 if `wide`, where the size has 3 to look at.

    Biases begin at zero: those of tens of blocks would add up.
    """
    kernel = tuple(3 if wide and n > 2 else 1 for n in size)
    padding = tuple(k // 2 for k in kernel)
    layer = _CONVOLUTIONS[len(size) - 1](in_channels, out_channels, kernel, padding=padding)  # pyright: ignore[reportArgumentType]
    assert layer.bias is not None
    torch.nn.init.zeros_(layer.bias)
    return layer


def strided(in_channels: int, out_channels: int, ratio: Sequence[int], size: Sequence[int]) -> Conv:
    """A convolution that divides each size by `ratio`, rounded up, and sees what lies between its steps twice."""
    kernel = tuple(2 * r + 1 if n > 1 else 1 for r, n in zip(ratio, size, strict=True))
    padding = tuple(k // 2 for k in kernel)
    return _CONVOLUTIONS[len(size) - 1](in_channels, out_channels, kernel, tuple(ratio), padding)  # pyright: ignore[reportArgumentType]


def shrink(h: Tensor, ratio: Sequence[int]) -> Tensor:
    """Means over cells of `ratio` positions; the last cell of a dimension may hold fewer."""
    if all(r == 1 for r in ratio):
        return h
    return _POOLS[len(ratio) - 1](h, tuple(ratio), ceil_mode=True, count_include_pad=False)  # pyright: ignore[reportArgumentType, reportCallIssue]


def enlarge(h: Tensor, ratio: Sequence[int], size: Sequence[int]) -> Tensor:
    """Each position repeated over the cell it stands for in `shrink`, cut to `size`."""
    if all(r == 1 for r in ratio):
        return h
    return _cut(F.interpolate(h, scale_factor=tuple(float(r) for r in ratio), mode="nearest"), size)


def subpixels(h: Tensor, ratio: Sequence[int], size: Sequence[int]) -> Tensor:
    """(N, C·∏ratio, ...) to (N, C, ...) at `ratio` times the resolution, cut to `size`.

    Shi et al.: Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural
    Network, 2016, https://arxiv.org/abs/1609.05158.
    """
    if all(r == 1 for r in ratio):
        return h
    dims, coarse = len(ratio), h.shape[2:]
    h = h.unflatten(1, (-1, *ratio))
    order = [n for i in range(dims) for n in (2 + dims + i, 2 + i)]
    fine = [n * r for n, r in zip(coarse, ratio, strict=True)]
    return _cut(h.permute(0, 1, *order).reshape(*h.shape[:2], *fine), size)


def _cut(h: Tensor, size: Sequence[int]) -> Tensor:
    for dim, n in enumerate(size, start=2):
        h = h.narrow(dim, 0, n)
    return h


def zeroed(layer: Conv) -> Conv:
    """The layer, emitting zeros at first."""
    torch.nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        torch.nn.init.zeros_(layer.bias)
    return layer


class Bottleneck(nn.Module):
    """Activation and convolution four times over: narrow, look around twice, widen.

    Child: Very Deep VAEs Generalize Autoregressive Models and Can Outperform Them on Images, 2020,
    https://arxiv.org/abs/2011.10650, figure 3.

    Args:
        in_channels: Channels received.
        out_channels: Channels emitted.
        size: Spatial size, kept.
        hidden: Channels between.
    """

    def __init__(self, in_channels: int, out_channels: int, size: Sequence[int], hidden: int) -> None:
        super().__init__()
        self.narrow = convolution(in_channels, hidden, size)
        self.look = convolution(hidden, hidden, size, wide=True)
        self.look_again = convolution(hidden, hidden, size, wide=True)
        self.widen = convolution(hidden, out_channels, size)

    def forward(self, h: Tensor) -> Tensor:
        for layer in (self.narrow, self.look, self.look_again, self.widen):
            h = layer(F.silu(h))
        return h


def residual_branch(channels: int, size: Sequence[int], depth: int) -> Bottleneck:
    """A branch to be added to its input, one of `depth`: its last layer starts 1/√depth as large as usual.

    So the variance of the features does not grow with the number of blocks.
    """
    branch = Bottleneck(channels, channels, size, max(1, channels // 4))
    with torch.no_grad():
        branch.widen.weight.mul_(1 / math.sqrt(depth))
    return branch


class ConditionBias(nn.Module):
    """A condition as channels to be added at every position, (N, channels, 1, ...).

    Args:
        channels: Channels it is added to.
        dims: Spatial dimensions.
        num_classes: Number of classes, for labels.
        size: Numbers in a vector, for vectors.
    """

    def __init__(self, channels: int, dims: int, num_classes: int | None, size: int | None) -> None:
        super().__init__()
        self.dims = dims
        if num_classes is not None:
            self.layer: nn.Module = nn.Embedding(num_classes, channels)
        else:
            assert size is not None
            self.layer = nn.Linear(size, channels)

    def forward(self, condition: Tensor) -> Tensor:
        if condition.is_floating_point():
            condition = condition.to(next(self.layer.parameters()).dtype)
        e: Tensor = self.layer(condition)
        return e.view(*e.shape, *([1] * self.dims))

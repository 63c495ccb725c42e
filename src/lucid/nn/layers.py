"""The few layers our presets need that PyTorch does not have; constructor arguments are kept as attributes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lucid.nn.table import TableInput

__all__ = ["Rescale", "Residual", "ResizeConv2d", "TableInput"]


class Rescale(nn.Module):
    """An affine map with fixed numbers, x ↦ scale · x + shift.

    Presets put it first, so that data in [0, 1] reaches the network centred.

    Args:
        scale: The factor.
        shift: Added after the factor.

    Shape:
        Any; the output has the input's.

    Example:
        >>> import torch, lucid.nn as nn
        >>> nn.Rescale(2.0, -1.0)(torch.tensor([0.0, 0.5, 1.0]))
        tensor([-1.,  0.,  1.])
    """

    def __init__(self, scale: float, shift: float) -> None:
        super().__init__()
        self.scale = scale
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift

    def extra_repr(self) -> str:
        return f"{self.scale:g}, {self.shift:g}"


class Residual(nn.Module):
    """Adds what its body computes to its input, x ↦ x + body(x).

    Deep Residual Learning for Image Recognition, 2015, https://arxiv.org/abs/1512.03385.

    Args:
        body: Any module that keeps the shape of its input.

    Raises:
        ValueError: At the call, when the body changes the shape.

    Example:
        >>> import torch, lucid.nn as nn
        >>> nn.Residual(nn.Identity())(torch.ones(2))
        tensor([2., 2.])
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        if y.shape != x.shape:
            raise ValueError(
                f"the body of Residual must keep the shape of its input: it received {tuple(x.shape)} and "
                f"returned {tuple(y.shape)}"
            )
        return x + y


class ResizeConv2d(nn.Module):
    """Nearest-neighbour resizing to an exact size, then a 3×3 convolution.

    Free of the checkerboard pattern of transposed convolutions (Deconvolution and Checkerboard Artifacts, 2016,
    https://distill.pub/2016/deconv-checkerboard), and it reaches any size, odd ones too.

    Args:
        in_channels: Channels received.
        out_channels: Channels emitted.
        size: Height and width of the output, in pixels.

    Shape:
        (N, in_channels, H, W) to (N, out_channels, size[0], size[1]).
    """

    def __init__(self, in_channels: int, out_channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.size = size
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        resized: Tensor = torch.nn.functional.interpolate(x, size=self.size, mode="nearest")
        return self.conv(resized)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, size={self.size}"

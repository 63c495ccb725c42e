"""Convolutions of float64 images on a processor, as products of matrices that fit its cache."""

from __future__ import annotations

import torch
from torch import Tensor

from lucid.codec.network.operations.base import Finish

__all__ = ["convolved"]

_CACHED = 1 << 16
"""Numbers of windows at a time: half a megabyte."""


def convolved(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    kernel: tuple[int, int],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    finish: Finish,
) -> Tensor:
    """The finished convolution of x with `weight`, (out, rows · columns · channels).

    Two to four times as fast as torch's own in float64, which copies windows channel by channel; the sums are the same.
    """
    if kernel == (1, 1) and set(stride) == {1} and not any(padding):
        result = x.new_empty(len(x), len(weight), *x.shape[2:])
        torch.bmm(weight.expand(len(x), -1, -1), x.flatten(2), out=result.flatten(2))
        return finish(result if bias is None else result.add_(bias[:, None, None]))
    return _over_windows(_windows(x, kernel, stride, padding), weight, bias, finish)


def _windows(x: Tensor, kernel: tuple[int, int], stride: tuple[int, ...], padding: tuple[int, ...]) -> Tensor:
    """What each place of a convolution sees: a view (n, down, right, rows, columns · channels) of x, channels last."""
    n, channels, height, width = x.shape
    if any(padding):
        rows, columns = padding
        padded = x.new_zeros(n, height + 2 * rows, width + 2 * columns, channels)
        padded[:, rows : rows + height, columns : columns + width] = x.permute(0, 2, 3, 1)
    else:
        padded = x.permute(0, 2, 3, 1).contiguous()
    down, right = ((size - k) // step + 1 for size, k, step in zip(padded.shape[1:3], kernel, stride, strict=True))
    of_image, of_row, of_column, _ = padded.stride()
    steps = (of_image, of_row * stride[0], of_column * stride[1], of_row, 1)
    return padded.as_strided((n, down, right, kernel[0], kernel[1] * channels), steps)


def _over_windows(windows: Tensor, weight: Tensor, bias: Tensor | None, finish: Finish) -> Tensor:
    """Σ weight · window + bias at every place, for as many images at once as the cache holds."""
    n, down, right = windows.shape[:3]
    outputs, length = weight.shape
    places = down * right
    result = windows.new_empty(n, outputs, down, right)
    at_once = max(1, min(n, _CACHED // (places * length)))
    copied, sums = windows.new_empty(at_once, *windows.shape[1:]), windows.new_empty(outputs * at_once * places)
    for start in range(0, n, at_once):
        part = windows[start : start + at_once]
        rows = copied[: len(part)].copy_(part).view(-1, length)
        product = sums[: outputs * len(rows)].view(outputs, -1)
        # Not rows · weightᵀ: for few outputs that takes MKL twice the time.
        torch.mm(weight, rows.t(), out=product)
        into = result[start : start + at_once]
        by_image = product.view(outputs, len(part), down, right).transpose(0, 1)
        into.copy_(by_image) if bias is None else torch.add(by_image, bias[:, None, None], out=into)
        finish(into)
    return result

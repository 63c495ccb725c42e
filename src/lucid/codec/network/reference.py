"""What a graph computes, in plain float64: the reference that its integers are held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lucid.codec.network.pointwise import evaluate

__all__ = ["EVALUATE"]

Attrs = Mapping[str, Any]

_CONVOLUTIONS: Sequence[Callable[..., Tensor]] = (F.conv1d, F.conv2d, F.conv3d)
_TRANSPOSED: Sequence[Callable[..., Tensor]] = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
_AVG_POOLS: Sequence[Callable[..., Tensor]] = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
_MAX_POOLS: Sequence[Callable[..., Tensor]] = (F.max_pool1d, F.max_pool2d, F.max_pool3d)


def _conv(attrs: Attrs, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    dims = weight.dim() - 2
    stride, padding, dilation = attrs["stride"], attrs["padding"], attrs["dilation"]
    if attrs["transposed"]:
        more = attrs["output_padding"], attrs["groups"], dilation
        return _TRANSPOSED[dims - 1](x, weight, bias, stride, padding, *more)
    return _CONVOLUTIONS[dims - 1](x, weight, bias, stride, padding, dilation, attrs["groups"])


def _slice(attrs: Attrs, x: Tensor) -> Tensor:
    where = [slice(None)] * x.dim()
    where[attrs["dim"]] = slice(attrs["start"], attrs["stop"], attrs["step"])
    return x[tuple(where)]


def _cat(attrs: Attrs, *parts: Tensor) -> Tensor:
    # Constants lack the batch.
    rank, batch = max((p.dim(), p.shape[0]) for p in parts)
    return torch.cat([p if p.dim() == rank else p.expand(batch, *p.shape) for p in parts], attrs["dim"])


def _pad(attrs: Attrs, x: Tensor) -> Tensor:
    pads = [n for before_after in reversed(attrs["pads"]) for n in before_after]
    return F.pad(x, pads, value=attrs["value"])


def _avg_pool(attrs: Attrs, x: Tensor) -> Tensor:
    pool = _AVG_POOLS[len(attrs["kernel"]) - 1]
    shape = attrs["kernel"], attrs["stride"], attrs["padding"]
    return pool(x, *shape, attrs["ceil_mode"], attrs["count_include_pad"])


def _max_pool(attrs: Attrs, x: Tensor) -> Tensor:
    pool = _MAX_POOLS[len(attrs["kernel"]) - 1]
    return pool(x, attrs["kernel"], attrs["stride"], attrs["padding"], attrs["dilation"], attrs["ceil_mode"])


def _normalise(attrs: Attrs, x: Tensor) -> Tensor:
    centred = x - x.mean(attrs["dims"], keepdim=True)
    return centred / (centred.square().mean(attrs["dims"], keepdim=True) + attrs["eps"]).sqrt()


EVALUATE: Mapping[str, Callable[..., Tensor]] = {
    "linear": lambda _, x, weight, bias=None: F.linear(x, weight, bias),
    "conv": _conv,
    "matmul": lambda _, a, b: a @ b,
    "add": lambda _, a, b: a + b,
    "sub": lambda _, a, b: a - b,
    "mul": lambda _, a, b: a * b,
    "div": lambda _, a, b: a / b,
    "maximum": lambda _, a, b: torch.maximum(a, b),
    "minimum": lambda _, a, b: torch.minimum(a, b),
    "pointwise": lambda attrs, x: evaluate(attrs["function"], x),
    "reshape": lambda attrs, x: x.reshape(x.shape[0], *attrs["shape"]),
    "permute": lambda attrs, x: x.permute(attrs["dims"]),
    "slice": _slice,
    "cat": _cat,
    "expand": lambda attrs, x: x.expand(x.shape[0], *attrs["shape"]),
    "gather": lambda attrs, x: x.index_select(attrs["dim"], torch.tensor(attrs["index"], device=x.device)),
    "pad": _pad,
    "sum": lambda attrs, x: x.sum(attrs["dims"], keepdim=attrs["keepdim"]),
    "mean": lambda attrs, x: x.mean(attrs["dims"], keepdim=attrs["keepdim"]),
    "amax": lambda attrs, x: x.amax(attrs["dims"], keepdim=attrs["keepdim"]),
    "cumsum": lambda attrs, x: x.cumsum(attrs["dim"]),
    "avg_pool": _avg_pool,
    "max_pool": _max_pool,
    "normalise": _normalise,
    "softmax": lambda attrs, x: x.softmax(attrs["dim"]),
}
"""From an operation to what computes it, of the attrs and the values."""

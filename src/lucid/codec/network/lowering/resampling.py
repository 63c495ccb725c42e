"""Resizing that averages: a matrix for each spatial dimension, which the operation itself reveals."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lucid.codec.network.lowering.call import Call, lowers
from lucid.codec.network.lowering.movement import moved
from lucid.codec.network.lowering.products import linear
from lucid.codec.network.values import Builder, Value

__all__: list[str] = []


@lowers(
    "upsample_linear1d",
    "upsample_bilinear2d",
    "upsample_trilinear3d",
    "upsample_bicubic2d",
    "_upsample_bilinear2d_aa",
    "_upsample_bicubic2d_aa",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "_adaptive_avg_pool2d",
    "_adaptive_avg_pool3d",
)
def _resample(call: Call) -> Value:
    """All of these are linear, treat each dimension by itself, and leave what is the same everywhere as it is."""
    x = call.x
    dims = next(int(digit) for digit in call.name if digit.isdigit())
    first = len(x.shape) - dims
    for axis in range(dims):
        matrix = _matrix(call, call.x.shape[first:], axis)
        if matrix.shape[0] != matrix.shape[1] or not bool(torch.equal(matrix, torch.eye(len(matrix)).double())):
            x = _along(call.builder, x, first + axis, matrix)
    return x


def _matrix(call: Call, places: tuple[int, ...], axis: int) -> Tensor:
    """What one dimension is multiplied by, (new, old): the response to a line of ones, at each place in turn."""
    old = places[axis]
    lines = torch.eye(old, dtype=torch.float64)
    lines = lines.reshape(old, 1, *[old if i == axis else 1 for i in range(len(places))]).expand(old, 1, *places)
    name = "self" if "self" in call.arguments else "input"
    response = call.target(**{**call.arguments, name: lines.contiguous()})
    return response[:, 0].movedim(axis + 1, 1).reshape(old, response.shape[axis + 2], -1)[:, :, 0].T


def _along(builder: Builder, x: Value, dim: int, matrix: Tensor) -> Value:
    """A matrix times one dimension of the model's."""
    turned = _exchanged(builder, x, dim)
    made = linear(builder, turned, matrix, None, (*turned.shape[:-1], len(matrix)))
    return _exchanged(builder, made, dim)


def _exchanged(builder: Builder, x: Value, dim: int) -> Value:
    """`dim` and the last dimension exchanged."""
    if dim == len(x.shape) - 1:
        return x
    places = torch.arange(math.prod(x.shape), dtype=torch.float64).reshape(x.shape)
    return moved(builder, [x], places.transpose(dim, -1))

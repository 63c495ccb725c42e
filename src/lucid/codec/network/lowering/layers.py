"""Convolutions, pools, normalisations and embeddings."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lucid.codec.network.lowering.call import Call, Operand, lowers
from lucid.codec.network.lowering.elementwise import combine, of_one
from lucid.codec.network.lowering.products import linear
from lucid.codec.network.lowering.reductions import node_dims
from lucid.codec.network.values import Builder, Value

__all__: list[str] = []


# Convolutions and pools, whose node holds one image (C, places) per example


def _image(builder: Builder, x: Value, dims: int) -> tuple[str, int]:
    """The node of one image, and how many images of the model lie side by side in its channels."""
    if len(x.shape) == dims + 1:
        return builder.node(x, x.shape), 1
    images, channels, *places = x.shape
    return builder.node(x, (images * channels, *places)), images


@lowers("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution")
def _conv(call: Call) -> Value:
    weight, bias, builder = call["weight"], call["bias"], call.builder
    if not isinstance(weight, Tensor) or isinstance(bias, Value):
        raise NotImplementedError("with weights that depend on the data")
    dims = weight.dim() - 2
    attrs: dict[str, Any] = {name: _each(call[name], dims) for name in ("stride", "dilation")}
    attrs["padding"] = _padding(call["padding"], weight, attrs, dims)
    attrs["transposed"] = bool(call.get("transposed", "transpose" in call.name))
    attrs["output_padding"] = _each(call.get("output_padding", 0), dims)
    name, images = _image(builder, call.x, dims)
    attrs["groups"] = int(call["groups"]) * images
    if images > 1:
        weight = weight.repeat(images, *[1] * (dims + 1))
        bias = None if bias is None else bias.repeat(images)
    inputs = [name, builder.constant(weight), *([] if bias is None else [builder.constant(bias)])]
    channels = math.prod(call.shape[: len(call.shape) - dims])
    made = builder.emit("conv", inputs, (channels, *call.shape[-dims:]), attrs)
    return builder.value(made, call.shape)


def _each(number: Any, dims: int) -> list[int]:
    """A number for each dimension."""
    numbers = [int(n) for n in number] if isinstance(number, list | tuple) else [int(number)]
    return numbers * dims if len(numbers) == 1 else numbers


def _padding(padding: Any, weight: Tensor, attrs: dict[str, Any], dims: int) -> list[int]:
    if not isinstance(padding, str):
        return _each(padding, dims)
    if padding == "valid":
        return [0] * dims
    both = [(k - 1) * d for k, d in zip(weight.shape[2:], attrs["dilation"], strict=True)]
    if any(n % 2 for n in both):
        raise NotImplementedError('with padding="same" and kernels of even size; pad with F.pad before')
    return [n // 2 for n in both]


@lowers("avg_pool1d", "avg_pool2d", "avg_pool3d")
def _avg_pool(call: Call) -> Value:
    if call.get("divisor_override"):
        raise NotImplementedError("with divisor_override")
    more = {"ceil_mode": bool(call["ceil_mode"]), "count_include_pad": bool(call["count_include_pad"])}
    return _pool(call, "avg_pool", more)


@lowers("max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices")
def _max_pool(call: Call) -> Any:
    dims = int(call.name[8])
    value = _pool(call, "max_pool", {"dilation": _each(call["dilation"], dims), "ceil_mode": bool(call["ceil_mode"])})
    return (value, None) if call.name.endswith("indices") else value


def _pool(call: Call, operation: str, more: dict[str, Any]) -> Value:
    dims = int(call.name[8])
    kernel = _each(call["kernel_size"], dims)
    stride = _each(call["stride"], dims) if call.get("stride") else kernel
    attrs = {"kernel": kernel, "stride": stride, "padding": _each(call["padding"], dims), **more}
    name, _ = _image(call.builder, call.x, dims)
    channels = call.builder.shapes[name][0]
    made = call.builder.emit(operation, [name], (channels, *call.shape[-dims:]), attrs)
    return call.builder.value(made, call.shape)


# Normalisations


def _scaled(builder: Builder, x: Value, weight: Tensor | None, bias: Tensor | None) -> Value:
    """x · weight + bias, shaped to broadcast."""
    scaled: Operand = x
    for operation, number in (("mul", weight), ("add", bias)):
        if isinstance(number, Value):
            raise NotImplementedError("with weights that depend on the data")
        if number is not None:
            scaled = combine(builder, operation, [scaled, number], x.shape)
    assert isinstance(scaled, Value)
    return scaled


def _by_channel(x: Value, number: Tensor | None) -> Tensor | None:
    """A number for each channel, dimension 1, shaped to broadcast."""
    return None if number is None else number.reshape(-1, *[1] * (len(x.shape) - 2))


@lowers("layer_norm", "native_layer_norm")
def _layer_norm(call: Call) -> Any:
    x, builder = call.x, call.builder
    dims = node_dims(x, range(-len(call["normalized_shape"]), 0))
    name = builder.node(x)
    made = builder.emit("normalise", [name], builder.shapes[name], {"dims": dims, "eps": float(call["eps"])})
    value = _scaled(builder, builder.value(made, x.shape), call.get("weight"), call.get("bias"))
    return (value, None, None) if call.name.startswith("native") else value


@lowers("group_norm")
def _group_norm(call: Call) -> Value:
    x, builder, groups = call.x, call.builder, int(call["num_groups"])
    images = x.shape[0] * groups
    grouped = builder.node(x, (images, math.prod(x.shape) // images))
    made = builder.emit("normalise", [grouped], builder.shapes[grouped], {"dims": [2], "eps": float(call["eps"])})
    weight, bias = (_by_channel(x, call.get(name)) for name in ("weight", "bias"))
    return _scaled(builder, builder.value(made, x.shape), weight, bias)


@lowers("instance_norm")
def _instance_norm(call: Call) -> Value:
    if not call["use_input_stats"]:
        return _fixed_norm(call)
    x, builder = call.x, call.builder
    flat = builder.node(x, (x.shape[0] * x.shape[1], math.prod(x.shape[2:])))
    made = builder.emit("normalise", [flat], builder.shapes[flat], {"dims": [2], "eps": float(call["eps"])})
    weight, bias = (_by_channel(x, call.get(name)) for name in ("weight", "bias"))
    return _scaled(builder, builder.value(made, x.shape), weight, bias)


@lowers("batch_norm", "_native_batch_norm_legit_no_training", "native_batch_norm", "cudnn_batch_norm")
def _batch_norm(call: Call) -> Any:
    if call.get("training"):
        raise NotImplementedError("that measures the batch: with track_running_stats=False, or in training mode")
    value = _fixed_norm(call)
    return value if call.name == "batch_norm" else (value, None, None)


def _fixed_norm(call: Call) -> Value:
    """(x − mean) / √(variance + eps) · weight + bias with numbers that are known: one factor, one shift."""
    mean, variance, weight, bias = (call.get(n) for n in ("running_mean", "running_var", "weight", "bias"))
    assert isinstance(mean, Tensor)
    assert isinstance(variance, Tensor)
    scale = (variance.double() + call["eps"]).rsqrt() * (1.0 if weight is None else weight)
    shift = (0.0 if bias is None else bias) - mean * scale
    return _scaled(call.builder, call.x, _by_channel(call.x, scale), _by_channel(call.x, shift))


# Embeddings


@lowers("embedding")
def _embedding(call: Call) -> Value:
    """Of numbers that depend on the data: one-hot, times the table."""
    table, index, builder = call["weight"], call["indices"], call.builder
    if not isinstance(table, Tensor):
        raise NotImplementedError("of a table that depends on the data")
    numbers = torch.arange(table.shape[0], dtype=torch.float64)
    spread = builder.value(builder.node(index), (*index.shape, 1))
    one_hot = of_one(combine(builder, "sub", [spread, numbers], (*index.shape, len(numbers))), "eq", 0.0)
    return linear(builder, one_hot, table.T, None, call.shape)

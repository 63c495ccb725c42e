"""Matrix products: of values with weights, of values with values, and attention."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lucid.codec.network.lowering.call import Call, Operand, lowers
from lucid.codec.network.lowering.elementwise import combine, of_one, without_infinity
from lucid.codec.network.lowering.movement import moved
from lucid.codec.network.lowering.reductions import along
from lucid.codec.network.values import Builder, Value, canonical

__all__ = ["linear", "matmul"]


def linear(builder: Builder, x: Value, weight: Tensor, bias: Tensor | None, shape: tuple[int, ...]) -> Value:
    """x · weightᵀ + bias along the last dimension of the model's."""
    # The last dimension stays one of its own, even where it is the only one.
    example = x.shape[1:] if x.shape[0] == 1 and len(x.shape) > 1 else x.shape
    inputs = [builder.node(x, example), builder.constant(weight)]
    if bias is not None:
        inputs.append(builder.constant(bias))
    name = builder.emit("linear", inputs, (*example[:-1], weight.shape[0]))
    return builder.value(name, shape)


def matmul(builder: Builder, a: Operand, b: Operand, shape: tuple[int, ...]) -> Value:
    """The matrix product of the last two dimensions, any number of others broadcast."""
    if isinstance(a, Value) and isinstance(b, Tensor):
        if b.dim() > 2 and math.prod(b.shape[:-2]) == 1:
            b = b.reshape(b.shape[-2:])
        if b.dim() > 2:
            raise NotImplementedError("of a value with a stack of matrices")
        if b.dim() == 1:
            return _squeezed(builder, linear(builder, a, b.unsqueeze(0), None, (*a.shape[:-1], 1)), shape)
        return linear(builder, a, b.T, None, (*a.shape[:-1], b.shape[1]))
    if isinstance(a, Tensor) and isinstance(b, Value):  # (bᵀ · aᵀ)ᵀ
        if len(b.shape) == 1:
            return _squeezed(builder, matmul(builder, b, a.mT, (a.shape[0],)), shape)
        flipped = _transposed(builder, b)
        matrix = a.unsqueeze(0) if a.dim() == 1 else a
        product = matmul(builder, flipped, matrix.mT, (*flipped.shape[:-1], matrix.shape[-2]))
        return _squeezed(builder, _transposed(builder, product), shape)
    assert isinstance(a, Value)
    assert isinstance(b, Value)
    left = (1, *a.shape) if len(a.shape) == 1 else a.shape
    right = (*b.shape, 1) if len(b.shape) == 1 else b.shape
    lead = tuple(torch.broadcast_shapes(left[:-2], right[:-2]))
    whole = (*lead, left[-2], right[-1])
    names = [builder.node(v, _example(s, whole)) for v, s in ((a, left), (b, right))]
    name = builder.emit("matmul", names, whole[1:] if _leads(whole) else whole)
    return builder.value(builder.reshape(name, canonical(shape)), shape)


def _leads(whole: tuple[int, ...]) -> bool:
    """Whether the first dimension is one of size 1 and no matrix's own."""
    return len(whole) > 2 and whole[0] == 1


def _example(shape: tuple[int, ...], whole: tuple[int, ...]) -> tuple[int, ...]:
    padded = (1,) * (len(whole) - len(shape)) + tuple(shape)
    return padded[1:] if _leads(whole) else padded


def _squeezed(builder: Builder, x: Value, shape: tuple[int, ...]) -> Value:
    return builder.value(builder.node(x), shape) if x.shape != shape else x


def _transposed(builder: Builder, x: Value) -> Value:
    """The last two dimensions exchanged."""
    places = torch.arange(math.prod(x.shape), dtype=torch.float64).reshape(x.shape)
    return moved(builder, [x], places.mT)


@lowers("linear")
def _linear(call: Call) -> Value:
    weight, bias = call["weight"], call["bias"]
    if not isinstance(weight, Tensor) or isinstance(bias, Value) or not isinstance(call["input"], Value):
        raise NotImplementedError("with weights that depend on the data")
    return linear(call.builder, call["input"], weight, bias, call.shape)


@lowers("matmul", "mm", "bmm", "mv", "dot")
def _matmul(call: Call) -> Value:
    other = next(call[name] for name in ("other", "mat2", "vec", "tensor") if name in call.arguments)
    return matmul(call.builder, call["self"], other, call.shape)


@lowers("addmm", "baddbmm", "addbmm")
def _addmm(call: Call) -> Value:
    if call.name == "addbmm":
        raise NotImplementedError("which sums over a stack of matrices")
    a, b = (call["mat1"], call["mat2"]) if call.name == "addmm" else (call["batch1"], call["batch2"])
    builder = call.builder
    product: Operand = matmul(builder, a, b, call.shape)
    if call["alpha"] != 1:
        product = combine(builder, "mul", [product, call["alpha"]], call.shape)
    more = call["self"]
    if call["beta"] != 1 and isinstance(more, Value):
        more = combine(builder, "mul", [more, call["beta"]], more.shape)
    elif call["beta"] != 1:
        more = more * call["beta"]
    return combine(builder, "add", [product, more], call.shape)


@lowers("scaled_dot_product_attention")
def _attention(call: Call) -> Value:
    """softmax(q · kᵀ / √d + mask) · v."""
    query, key, value, mask = call["query"], call["key"], call["value"], call["attn_mask"]
    if not all(isinstance(v, Value) for v in (query, key, value)):
        raise NotImplementedError("with constants among query, key and value")
    if call.get("enable_gqa") or call["dropout_p"]:
        raise NotImplementedError("with grouped queries, or dropout")
    builder, rows, columns = call.builder, query.shape[-2], key.shape[-2]
    shape = (*call.shape[:-2], rows, columns)
    scale: Any = call.get("scale")
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else float(scale)
    scores = matmul(builder, of_one(query, "mul", factor), _transposed(builder, key), shape)
    if call["is_causal"]:
        mask = torch.ones(rows, columns, dtype=torch.bool).tril()
    if isinstance(mask, Tensor) and mask.dtype == torch.bool:
        scores = combine(builder, "where", [mask, scores, -math.inf], shape)
    elif isinstance(mask, Tensor):
        scores = combine(builder, "add", [scores, without_infinity(mask.double())], shape)
    elif mask is not None:
        scores = combine(builder, "add", [scores, mask], shape)
    return matmul(builder, along(builder, "softmax", scores, -1), value, call.shape)

"""Sums, means, extremes and what is made of them along dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lucid.codec.network.lowering.call import Call, lowers
from lucid.codec.network.lowering.elementwise import combine, of_one
from lucid.codec.network.values import Builder, Value

__all__ = ["along", "node_dims", "reduced"]


def node_dims(x: Value, dims: Sequence[int]) -> list[int]:
    """Dimensions of the model as those of the node, which count the batch; a leading one of size 1 is not there."""
    rank = len(x.shape)
    absolute = sorted({dim % rank for dim in dims})
    if x.shape[0] != 1:
        return [dim + 1 for dim in absolute]
    return [dim for dim in absolute if dim > 0]


def reduced(builder: Builder, operation: str, x: Value, dims: Sequence[int] | None, keepdim: bool) -> Value:
    """A sum, mean or greatest value over dimensions of the model; None and () are all of them."""
    rank = len(x.shape)
    dims = list(dims) if dims else list(range(rank))
    absolute = {dim % rank for dim in dims} if rank else set[int]()
    kept = tuple(1 if dim in absolute else n for dim, n in enumerate(x.shape))
    shape = kept if keepdim else tuple(n for dim, n in enumerate(x.shape) if dim not in absolute)
    over = node_dims(x, dims) if rank else []
    name = builder.node(x)
    if over:
        example = kept[1:] if x.shape[0] == 1 else kept
        name = builder.emit(operation, [name], example, {"dims": over, "keepdim": True})
    return builder.value(name, shape)


def along(builder: Builder, operation: str, x: Value, dim: int) -> Value:
    """A softmax or running sum along one dimension of the model, which is not that of the batch."""
    dims = node_dims(x, [dim])
    if not dims:
        raise NotImplementedError("along the dimension of the batch")
    name = builder.node(x)
    return builder.value(builder.emit(operation, [name], builder.shapes[name], {"dim": dims[0]}), x.shape)


def _dims(call: Call) -> Sequence[int] | None:
    dims: Any = call.get("dim")
    return [dims] if isinstance(dims, int) else dims


@lowers("sum", "mean", "amax")
def _reduce(call: Call) -> Value:
    return reduced(call.builder, call.name, call.x, _dims(call), bool(call.get("keepdim")))


@lowers("amin")
def _amin(call: Call) -> Value:
    below = of_one(call.x, "neg")
    return of_one(reduced(call.builder, "amax", below, _dims(call), bool(call["keepdim"])), "neg")


@lowers("max", "min")
def _extreme(call: Call) -> Any:
    if "other" in call.arguments:
        return combine(call.builder, call.name + "imum", [call["self"], call["other"]], call.shape)
    lowest = call.name == "min"
    x = of_one(call.x, "neg") if lowest else call.x
    found = reduced(call.builder, "amax", x, _dims(call), bool(call.get("keepdim")))
    found = of_one(found, "neg") if lowest else found
    return (found, None) if call.get("dim") is not None else found  # which one it was depends on the data


@lowers("var", "std")
def _var(call: Call) -> Value:
    correction = call.get("correction", 1 if call.get("unbiased", True) else 0)
    value = _variance(call, float(1 if correction is None else correction))
    return of_one(value, "sqrt") if call.name == "std" else value


@lowers("var_mean")
def _var_mean(call: Call) -> tuple[Value, Value]:
    correction = call.get("correction")
    mean = reduced(call.builder, "mean", call.x, _dims(call), bool(call["keepdim"]))
    return _variance(call, float(1 if correction is None else correction)), mean


def _variance(call: Call, correction: float) -> Value:
    x, dims = call.x, _dims(call)
    centred = combine(call.builder, "sub", [x, reduced(call.builder, "mean", x, dims, keepdim=True)], x.shape)
    square = reduced(call.builder, "mean", of_one(centred, "square"), dims, bool(call.get("keepdim")))
    rank = len(x.shape)
    number = math.prod(x.shape[dim % rank] for dim in dims) if dims else math.prod(x.shape)
    return of_one(square, "mul", number / (number - correction))


@lowers("softmax", "_softmax", "_safe_softmax")
def _softmax(call: Call) -> Value:
    return along(call.builder, "softmax", call.x, call["dim"])


@lowers("log_softmax", "_log_softmax")
def _log_softmax(call: Call) -> Value:
    x = call.x
    return combine(call.builder, "sub", [x, _logsumexp(call.builder, x, [call["dim"]], keepdim=True)], x.shape)


@lowers("logsumexp")
def _log_of_sum(call: Call) -> Value:
    return _logsumexp(call.builder, call.x, _dims(call), bool(call["keepdim"]))


def _logsumexp(builder: Builder, x: Value, dims: Sequence[int] | None, keepdim: bool) -> Value:
    most = reduced(builder, "amax", x, dims, keepdim=True)
    above = of_one(combine(builder, "sub", [x, most], x.shape), "exp")
    total = of_one(reduced(builder, "sum", above, dims, keepdim), "log")
    return combine(builder, "add", [total, reduced(builder, "amax", x, dims, keepdim)], total.shape)


@lowers("cumsum")
def _cumsum(call: Call) -> Value:
    return along(call.builder, "cumsum", call.x, call["dim"])


@lowers("linalg_vector_norm", "norm")
def _norm(call: Call) -> Value:
    order: Any = call.get("ord", call.get("p"))
    order = 2.0 if order is None else float(order)
    keepdim = bool(call.get("keepdim"))
    if order == math.inf:
        return reduced(call.builder, "amax", of_one(call.x, "abs"), _dims(call), keepdim)
    if order not in (1.0, 2.0):
        raise NotImplementedError(f"of order {order:g}")
    each = of_one(call.x, "abs" if order == 1.0 else "square")
    total = reduced(call.builder, "sum", each, _dims(call), keepdim)
    return total if order == 1.0 else of_one(total, "sqrt")

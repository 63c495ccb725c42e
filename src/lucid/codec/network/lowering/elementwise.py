"""Operations number by number: functions of one variable, sums and products, comparisons and choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lucid.codec.network.lowering.call import Call, Operand, lowers
from lucid.codec.network.lowering.movement import chunks
from lucid.codec.network.pointwise import applied, joined
from lucid.codec.network.values import Builder, Value, canonical

__all__ = ["AS_GOOD_AS_INFINITE", "LEAST_LOGIT", "combine", "of_one", "without_infinity"]

_NODES = {"add", "sub", "mul", "div", "maximum", "minimum"}
_COMPARISONS = {"eq", "ne", "lt", "le", "gt", "ge"}
_NOTHING: list[tuple[str, list[Operand]]] = [("add", [0.0]), ("sub", [0.0]), ("mul", [1.0]), ("div", [1.0])]
"""Operations and second operands that leave the first as it is."""

AS_GOOD_AS_INFINITE, LEAST_LOGIT = -1e6, -200.0
"""What a mask lies below, and what a graph holds in its place."""

_SAME = """
abs acos acosh asin asinh atan atanh ceil cos cosh digamma erf erfc erfinv exp exp2 expm1 floor frac hardsigmoid
hardswish isnan lgamma log log10 log1p log2 mish neg reciprocal relu round rsqrt sigmoid sign silu sin sinh sqrt square
tan tanh trunc
"""


def of_one(x: Value, operation: str, *numbers: float) -> Value:
    """A function of one variable after those that are to be applied already."""
    return x.with_function(applied(x.function, operation, *numbers))


def combine(builder: Builder, operation: str, operands: Sequence[Operand], shape: Sequence[int]) -> Value:
    """A function of several operands, broadcast to `shape`.

    Functions of one and the same variable become one function. All others become sums, products and so on of nodes.
    """
    shape = tuple(shape)
    values = [v for v in operands if isinstance(v, Value)]
    assert values, "what is constant is not written into a graph"
    widening = _broadcast(*values) != shape
    known = [operand if widening else _simple(operand) for operand in operands]
    alike = all(v.base == values[0].base and v.shape == shape for v in values)
    if alike and not any(isinstance(v, Tensor) for v in known):
        if (operation, known[1:]) in _NOTHING:
            return values[0]
        parts = [v.function if isinstance(v, Value) else float(v) for v in known if not isinstance(v, Tensor)]
        return values[0].with_function(joined(operation, parts))
    if operation == "where":
        return _choice(builder, known, shape)
    a, b = known
    if operation in _NODES:
        return _node(builder, operation, a, b, shape)
    if operation in _COMPARISONS:
        return of_one(combine(builder, "sub", [a, b], shape), operation, 0.0)
    raise NotImplementedError("of two values that both depend on the data")


def _simple(operand: Operand) -> Operand:
    """A constant that is one number throughout as that number, where its shape adds nothing."""
    if isinstance(operand, Value):
        return operand
    if not isinstance(operand, Tensor):
        return float(operand)
    flat = operand.double().flatten()
    if flat.numel() and bool((flat == flat[0]).all()):
        return float(flat[0])
    return operand.double()


def _node(builder: Builder, operation: str, a: Operand, b: Operand, shape: tuple[int, ...]) -> Value:
    if not isinstance(a, Value) and operation in ("add", "mul", "maximum", "minimum"):
        a, b = b, a
    name = builder.emit(operation, [_aligned(builder, o, shape) for o in (a, b)], canonical(shape))
    return builder.value(name, shape)


def _aligned(builder: Builder, operand: Operand, shape: tuple[int, ...]) -> str:
    """A node or constant with as many dimensions as one example of `shape`, so that batches meet batches."""
    if not isinstance(operand, Value | Tensor):
        return builder.constant(torch.tensor(operand, dtype=torch.float64))
    padded = (1,) * (len(shape) - len(operand.shape)) + tuple(operand.shape)
    example = padded[1:] if shape and shape[0] == 1 else padded
    return builder.constant(operand.reshape(example)) if isinstance(operand, Tensor) else builder.node(operand, example)


def _choice(builder: Builder, operands: Sequence[Operand], shape: tuple[int, ...]) -> Value:
    """where(c, a, b) as c·a + (1 − c)·b, which is exact as long as both are finite."""
    condition, *branches = operands
    if not isinstance(condition, Value):
        condition = torch.as_tensor(condition)
        opposite: Operand = (condition == 0).double()
        condition = (condition != 0).double()
    else:
        condition = of_one(condition, "ne", 0.0)
        opposite = of_one(condition, "not")
    parts: list[Operand] = []
    for mask, branch in zip((condition, opposite), branches, strict=True):
        if not isinstance(branch, Value):
            branch = without_infinity(torch.as_tensor(branch, dtype=torch.float64))
            if bool((branch == 0).all()):
                continue
        if not isinstance(mask, Value) and not isinstance(branch, Value):
            parts.append(torch.as_tensor(mask) * branch)
        else:
            parts.append(combine(builder, "mul", [mask, branch], _broadcast(mask, branch)))
    if len(parts) == 1 and isinstance(parts[0], Value) and parts[0].shape == shape:
        return parts[0]
    return combine(builder, "add", [*parts, *[0.0] * (2 - len(parts))], shape)


def without_infinity(mask: Tensor) -> Tensor:
    """A mask's −∞, or what is meant as such, as a logit that integers can hold, and whose exponential is 0 as well."""
    return torch.where(mask < AS_GOOD_AS_INFINITE, LEAST_LOGIT, mask)


def _broadcast(*operands: Operand) -> tuple[int, ...]:
    return tuple(torch.broadcast_shapes(*(o.shape for o in operands if isinstance(o, Value | Tensor))))


# Of one variable


@lowers(*_SAME.split())
def _same(call: Call) -> Value:
    if call.get("decimals") or call.get("approximate") not in (None, "none"):
        raise NotImplementedError(f"with {dict(call.arguments)}")
    return of_one(call.x, call.name)


@lowers("log_sigmoid", "log_sigmoid_forward")
def _log_sigmoid(call: Call) -> Any:
    value = of_one(call.x, "log_sigmoid")
    return (value, None) if call.name.endswith("forward") else value


@lowers("gelu")
def _gelu(call: Call) -> Value:
    return of_one(call.x, "gelu" if call["approximate"] == "none" else "gelu_tanh")


@lowers("softplus")
def _softplus(call: Call) -> Value:
    return of_one(call.x, "softplus", float(call["beta"]), float(call["threshold"]))


@lowers("elu", "celu", "selu")
def _elu(call: Call) -> Value:
    if call.name == "selu":
        return of_one(call.x, "elu", 1.6732632423543772848170429916717, 1.0507009873554804934193349852946, 1.0)
    alpha = float(call["alpha"])
    if call.name == "celu":
        return of_one(call.x, "elu", alpha, 1.0, 1 / alpha)
    return of_one(call.x, "elu", alpha, float(call["scale"]), float(call["input_scale"]))


@lowers("leaky_relu")
def _leaky_relu(call: Call) -> Value:
    return of_one(call.x, "leaky_relu", float(call["negative_slope"]))


@lowers("relu6")
def _relu6(call: Call) -> Value:
    return _between(call.builder, call.x, 0.0, 6.0)


@lowers("clamp", "hardtanh", "clip", "clamp_min", "clamp_max")
def _clamp(call: Call) -> Value:
    return _between(call.builder, call.x, call.get("min", call.get("min_val")), call.get("max", call.get("max_val")))


def _between(builder: Builder, x: Value, low: Operand | None, high: Operand | None) -> Value:
    if low is not None:
        x = combine(builder, "maximum", [x, low], x.shape)
    return x if high is None else combine(builder, "minimum", [x, high], x.shape)


@lowers("prelu", "_prelu_kernel")
def _prelu(call: Call) -> Value:
    x, weight = call.x, call["weight"]
    if weight.dim() == 1 and weight.numel() > 1:  # one for each channel
        weight = weight.reshape(-1, *[1] * (len(x.shape) - 2))
    below = combine(call.builder, "mul", [combine(call.builder, "minimum", [x, 0.0], x.shape), weight], x.shape)
    return combine(call.builder, "add", [of_one(x, "relu"), below], x.shape)


@lowers("threshold")
def _threshold(call: Call) -> Value:
    test = applied(call.x.function, "gt", float(call["threshold"]))
    return call.x.with_function(joined("where", [test, call.x.function, float(call["value"])]))


@lowers("hardshrink", "softshrink")
def _shrink(call: Call) -> Value:
    x, limit = call.x.function, float(call["lambd"])
    far = applied(applied(x, "abs"), "gt", limit)
    towards = joined("mul", [applied(x, "sign"), limit])
    kept = x if call.name == "hardshrink" else joined("sub", [x, towards])
    return call.x.with_function(joined("where", [far, kept, 0.0]))


@lowers("logical_not", "bitwise_not")
def _not(call: Call) -> Value:
    if call.floating:
        raise NotImplementedError("of anything but truth values")
    return of_one(call.x, "not")


@lowers("_to_copy", "to")
def _to_copy(call: Call) -> Value:
    kind: torch.dtype | None = call.get("dtype")
    if kind is None or kind.is_floating_point:
        return call.x
    return of_one(call.x, "ne", 0.0) if kind == torch.bool else of_one(call.x, "trunc")


@lowers("alias", "clone", "detach", "lift_fresh_copy", "contiguous", "dropout", "native_dropout", "type_as")
def _as_it_is(call: Call) -> Value:
    if call.get("train") and call.get("p", 0.0) > 0:
        raise NotImplementedError("in training mode")
    return call.x


# Of two and three


@lowers("add", "sub", "mul", "div", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge", "rsub", "true_divide")
def _two(call: Call) -> Value:
    a, b, builder = call["self"], call["other"], call.builder
    if call.get("alpha", 1) != 1:
        b = combine(builder, "mul", [b, call["alpha"]], b.shape) if isinstance(b, Value) else b * call["alpha"]
    if call.name == "rsub":
        return combine(builder, "sub", [b, a], call.shape)
    if call.get("rounding_mode") is not None:
        quotient = combine(builder, "div", [a, b], call.shape)
        return of_one(quotient, "floor" if call["rounding_mode"] == "floor" else "trunc")
    return combine(builder, "div" if call.name == "true_divide" else call.name, [a, b], call.shape)


@lowers("floor_divide")
def _floor_divide(call: Call) -> Value:
    return of_one(combine(call.builder, "div", [call["self"], call["other"]], call.shape), "floor")


@lowers("remainder", "fmod")
def _remainder(call: Call) -> Value:
    return combine(call.builder, call.name, [call["self"], call["other"]], call.shape)


@lowers(
    "logical_and",
    "bitwise_and",
    "logical_or",
    "bitwise_or",
    "logical_xor",
    "bitwise_xor",
    "__and__",
    "__or__",
    "__xor__",
)
def _truths(call: Call) -> Value:
    kinds = [v.dtype == torch.bool for v in (call["self"], call["other"]) if isinstance(v, Tensor)]
    if call.floating or not all(kinds):
        raise NotImplementedError("of anything but truth values")
    operation = {"and": "mul", "or": "maximum", "xor": "ne"}[call.name.strip("_").split("_")[-1]]
    return combine(call.builder, operation, [call["self"], call["other"]], call.shape)


@lowers("pow")
def _pow(call: Call) -> Value:
    base, exponent = call["self"], call["exponent"]
    if isinstance(exponent, int | float) and exponent == 2:
        return of_one(base, "square")
    return combine(call.builder, "pow", [base, exponent], call.shape)


@lowers("where", "masked_fill")
def _where(call: Call) -> Value:
    if call.name == "masked_fill":
        return combine(call.builder, "where", [call["mask"], call["value"], call["self"]], call.shape)
    return combine(call.builder, "where", [call["condition"], call["self"], call["other"]], call.shape)


@lowers("logaddexp")
def _logaddexp(call: Call) -> Value:
    """log(eᵃ + eᵇ) = b + log(1 + e^(a − b)), of which the last is a function of one variable."""
    a, b = call["self"], call["other"]
    above = of_one(combine(call.builder, "sub", [a, b], call.shape), "softplus", 1.0, 40.0)
    return combine(call.builder, "add", [b, above], call.shape)


@lowers("lerp")
def _lerp(call: Call) -> Value:
    a, b, weight = call["self"], call["end"], call["weight"]
    builder, shape = call.builder, call.shape
    way = _maybe(builder, "sub", b, a)
    return combine(builder, "add", [a, _maybe(builder, "mul", weight, way)], shape)


@lowers("addcmul", "addcdiv")
def _addc(call: Call) -> Value:
    builder = call.builder
    product = _maybe(builder, "mul" if call.name == "addcmul" else "div", call["tensor1"], call["tensor2"])
    return combine(builder, "add", [call["self"], _maybe(builder, "mul", call["value"], product)], call.shape)


@lowers("glu")
def _glu(call: Call) -> Value:
    a, b = chunks(call.builder, call.x, 2, call["dim"])
    return combine(call.builder, "mul", [a, of_one(b, "sigmoid")], call.shape)


def _maybe(builder: Builder, operation: str, a: Operand, b: Operand) -> Operand:
    """The same, where both may be constants."""
    if isinstance(a, Value) or isinstance(b, Value):
        return combine(builder, operation, [a, b], _broadcast(a, b))
    return getattr(torch, operation)(torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64))

"""Operations that only move numbers, all read in one way: by what they do to the numbers of the places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from lucid.codec.network.lowering.call import Call, lowers
from lucid.codec.network.values import Builder, Value, canonical

__all__ = ["chunks", "moved"]


def chunks(builder: Builder, x: Value, number: int, dim: int) -> list[Value]:
    """`x` in equal parts along a dimension of the model's."""
    places = _places(x.shape)
    return [moved(builder, [x], part) for part in places.chunk(number, dim)]


def moved(builder: Builder, sources: Sequence[Value | Tensor], places: Tensor) -> Any:
    """What stands at the given places of the sources, flattened one after the other.

    Args:
        builder: Of the graph.
        sources: Values, and constants.
        places: Any shape, that of the result for the model: numbers of places; −1 stands for a zero.

    Returns:
        A value; a constant where all of it comes from one, or it is empty.
    """
    if places.numel() == 0:
        return torch.zeros(places.shape, dtype=torch.float64)
    starts = [0]
    for source in sources:
        starts.append(starts[-1] + math.prod(source.shape))
    for source, (start, stop) in zip(sources, pairwise(starts), strict=True):
        if bool(((places >= start) & (places < stop)).all()):
            if isinstance(source, Tensor):
                return source.flatten()[places.long() - start]
            return _from_one(builder, source, places - start)
    return _from_several(builder, sources, places)


def _places(shape: Sequence[int], start: int = 0) -> Tensor:
    """The number of each place; floating point, since some movements exist for nothing else, and exact below 2^53."""
    return torch.arange(start, start + math.prod(shape), dtype=torch.float64).reshape(tuple(shape))


def _from_one(builder: Builder, x: Value, places: Tensor) -> Any:
    if x.base in builder.joined and not x.function:
        parts, (which, where) = builder.joined[x.base]
        chosen = which[places.long()].flatten()
        if bool((chosen == chosen[0]).all()):
            return moved(builder, [parts[int(chosen[0])]], where[places.long()])
    shape = tuple(places.shape)
    flat = places.long().flatten()
    # A function is applied after a movement, where the next operation may still join it; but not to more numbers than
    # there were, nor again where it has been.
    if flat.numel() > math.prod(x.shape) or builder.is_written(x):
        x = builder.value(builder.node(x), x.shape)
    base = builder.node(x.with_function(()))
    if flat.numel() == math.prod(x.shape) and bool((flat == torch.arange(flat.numel())).all()):
        return Value(shape, builder.reshape(base, canonical(shape)), x.function)
    target = canonical(shape)
    name = _axis_by_axis(builder, base, flat.reshape(target))
    if name is None:
        whole = builder.reshape(base, (math.prod(x.shape),))
        name = builder.emit("gather", [whole], (flat.numel(),), {"dim": 1, "index": flat.tolist()})
    return Value(shape, builder.reshape(name, target), x.function)


def _axis_by_axis(builder: Builder, base: str, places: Tensor) -> str | None:
    """The same for movements that treat each dimension by itself: slices, choices, permutations, repetitions."""
    plan = _plan(builder.shapes[base], places)
    if plan is None:
        return None
    name, shape = base, list(builder.shapes[base])
    for dim, (_, chosen) in plan.items():
        name = _along(builder, name, shape, dim, chosen)
    # Only the dimensions that lead somewhere, in the order in which they lead.
    led = [dim for dim in plan if plan[dim][0] is not None]
    name = builder.reshape(name, [shape[dim] for dim in led])
    order = sorted(range(len(led)), key=lambda i: plan[led[i]][0] or 0)
    if order != sorted(order):
        sizes = [shape[led[i]] for i in order]
        name = builder.emit("permute", [name], sizes, {"dims": [0, *(i + 1 for i in order)]})
    axes = {plan[dim][0] for dim in led}
    target = tuple(places.shape)
    name = builder.reshape(name, [n if axis in axes else 1 for axis, n in enumerate(target)])
    return name if builder.shapes[name] == target else builder.emit("expand", [name], target, {"shape": list(target)})


def _plan(shape: Sequence[int], places: Tensor) -> dict[int, tuple[int | None, list[int]]] | None:
    """For each dimension of the source that is more than 1 wide: the axis it becomes, and which of its places."""
    plan: dict[int, tuple[int | None, list[int]]] = {}
    stride = math.prod(shape)
    for dim, n in enumerate(shape):
        stride //= n
        if n == 1:
            continue
        at = places // stride % n
        axes = [a for a in range(at.dim()) if bool((at != at.narrow(a, 0, 1)).any())]
        if len(axes) > 1 or (axes and any(axis == axes[0] for axis, _ in plan.values())):
            return None
        if not axes:
            plan[dim] = (None, [int(at.flatten()[0])])
            continue
        along = at.movedim(axes[0], 0).flatten(1)[:, 0] if at.dim() > 1 else at
        plan[dim] = (axes[0], [int(i) for i in along])
    return plan


def _along(builder: Builder, name: str, shape: list[int], dim: int, chosen: list[int]) -> str:
    """Some places of one dimension; `shape` follows."""
    if chosen == list(range(shape[dim])):
        return name
    shape[dim] = len(chosen)
    steps = {b - a for a, b in pairwise(chosen)} or {1}
    if len(steps) == 1 and (step := steps.pop()) > 0:
        attrs = {"dim": dim + 1, "start": chosen[0], "stop": chosen[-1] + 1, "step": step}
        return builder.emit("slice", [name], shape, attrs)
    return builder.emit("gather", [name], shape, {"dim": dim + 1, "index": chosen})


def _from_several(builder: Builder, sources: Sequence[Value | Tensor], places: Tensor) -> Value:
    """Everything in a row, and of that what is asked for."""
    names = [builder.constant(torch.zeros(1))]  # place −1
    size = 1
    for source in sources:
        n = math.prod(source.shape)
        flat = builder.constant(source.flatten()) if isinstance(source, Tensor) else builder.node(source, (n,))
        names.append(flat)
        size += n
    row = builder.emit("cat", names, (size,), {"dim": 1})
    index = (places.long().flatten() + 1).tolist()
    name = builder.emit("gather", [row], (len(index),), {"dim": 1, "index": index})
    return builder.value(name, tuple(places.shape))


_MOVES = """
view _unsafe_view reshape flatten unflatten permute transpose t numpy_T squeeze unsqueeze slice select narrow split
split_with_sizes chunk unbind expand flip roll repeat repeat_interleave index_select index gather diagonal as_strided
movedim swapaxes unfold view_copy permute_copy upsample_nearest1d upsample_nearest2d upsample_nearest3d
_upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d tile reflection_pad1d reflection_pad2d
reflection_pad3d replication_pad1d replication_pad2d replication_pad3d rot90 im2col take_along_dim take
"""


@lowers(*_MOVES.split())
def _move(call: Call) -> Any:
    """Whatever it is, the operation itself says where every number goes."""
    x = call.x
    arguments = {**call.arguments}
    if any(isinstance(v, Value) for k, v in arguments.items() if k not in ("self", "input")) or _any_value(arguments):
        raise NotImplementedError("at places that depend on the data")
    arguments["self" if "self" in arguments else "input"] = _places(x.shape)
    found = call.target(**arguments)
    if isinstance(found, Tensor):
        return moved(call.builder, [x], found)
    return tuple(moved(call.builder, [x], part) for part in found)


def _any_value(arguments: dict[str, Any]) -> bool:
    """Whether one of the lists among the arguments holds a value."""
    return any(isinstance(v, Value) for given in arguments.values() if isinstance(given, list | tuple) for v in given)


@lowers("cat", "concat", "concatenate", "stack")
def _cat(call: Call) -> Value:
    builder, parts = call.builder, list(call["tensors"])
    dim = call["dim"] % len(call.shape)
    if call.name == "stack":
        parts = [_unsqueezed(builder, part, dim) for part in parts]
    parts = [part for part in parts if math.prod(part.shape)]
    leading = call.shape[0] == 1
    if len(parts) == 1 and isinstance(parts[0], Value):
        return parts[0]
    skipped = 1 if leading and dim > 0 else 0
    names = [
        builder.constant(part.reshape(part.shape[skipped:]))
        if isinstance(part, Tensor)
        else builder.node(part, part.shape[skipped:])
        for part in parts
    ]
    name = builder.emit("cat", names, call.shape[skipped:], {"dim": dim + 1 - skipped})
    which = torch.cat([torch.full(tuple(part.shape), i) for i, part in enumerate(parts)], dim).flatten()
    where = torch.cat([_places(part.shape) for part in parts], dim).flatten()
    value = builder.value(name, call.shape)
    builder.joined[value.base] = parts, (which, where)
    return value


def _unsqueezed(builder: Builder, part: Value | Tensor, dim: int) -> Value | Tensor:
    if isinstance(part, Tensor):
        return part.unsqueeze(dim)
    return moved(builder, [part], _places(part.shape).unsqueeze(dim))


@lowers("index_put", "slice_scatter", "select_scatter", "scatter", "copy", "index_copy", "_unsafe_index_put")
def _write(call: Call) -> Value:
    """Writing into a tensor, at places known beforehand."""
    if call.get("accumulate"):
        raise NotImplementedError("with accumulate=True")
    written = next(name for name in ("values", "src", "source", "value") if name in call.arguments)
    sources = [call["self"], call[written]]
    if any(isinstance(v, Value) for k, v in call.arguments.items() if k not in ("self", written)):
        raise NotImplementedError("at places that depend on the data")
    if not isinstance(sources[1], Value | Tensor):
        sources[1] = torch.tensor(float(sources[1]))
    before = math.prod(sources[0].shape)
    arguments = {**call.arguments, "self": _places(sources[0].shape), written: _places(sources[1].shape, before)}
    if isinstance(sources[0], Tensor) and not bool(sources[0].any()):
        arguments["self"] = torch.full_like(arguments["self"], -1.0)
    return moved(call.builder, sources, call.target(**arguments))


@lowers("constant_pad_nd", "pad")
def _pad(call: Call) -> Value:
    x, builder = call.x, call.builder
    value = float(call.get("value") or 0.0)
    pads = [int(n) for n in call["pad"]]
    if call.get("mode", "constant") != "constant" or min(pads) < 0:
        if value:
            raise NotImplementedError("with negative widths and a value")
        arguments = {**call.arguments, "self": _places(x.shape) + 1}
        return moved(builder, [x], call.target(**arguments) - 1)
    pairs = [[pads[i], pads[i + 1]] for i in range(0, len(pads), 2)][::-1]
    pairs = [[0, 0]] * (len(x.shape) - len(pairs)) + pairs
    example = tuple(x.shape)
    if pairs[0] == [0, 0] and x.shape[0] == 1:
        pairs, example = pairs[1:], example[1:]
    shape = [n + before + after for n, (before, after) in zip(example, pairs, strict=True)]
    name = builder.emit("pad", [builder.node(x, example)], shape, {"pads": pairs, "value": value})
    return builder.value(name, call.shape)

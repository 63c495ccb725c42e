"""How each operation of a graph becomes operations on integers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from lucid.codec.network.functions import Piece, knots_of, slopes_of, table_of
from lucid.codec.network.graph import Node
from lucid.codec.network.operations import KINDS, Operation
from lucid.codec.network.operations.arithmetic import Add, Div, Mul
from lucid.codec.network.operations.lookup import Clamp, Interpolate, Lookup
from lucid.codec.network.operations.movement import Cat, Expand, Gather, Pad, Permute, Reshape, Slice
from lucid.codec.network.operations.normalising import SOFTMAX_BITS, Normalise, Softmax
from lucid.codec.network.operations.pooling import AvgPool, MaxPool
from lucid.codec.network.operations.products import Conv, Linear, Matmul
from lucid.codec.network.operations.reductions import Amax, Cumsum, Mean, Sum
from lucid.codec.network.quantise import Builder, Target

__all__ = ["LOWER"]

TABLE_VALUE_BITS = 22
"""The largest value of a table takes this many."""

EXACT_BITS = 52
"""What sums of products may take: one bit below the limit."""


def _weighted(builder: Builder, node: Node, operation: Operation, terms: Callable[[Tensor], Tensor]) -> None:
    """A layer with weights; `terms` gives the sums of |weight| of each output."""
    place, weight = builder.place(node.inputs[0]), builder.graph.constants[node.inputs[1]]
    largest = float(weight.abs().max()) or 1.0
    wanted = builder.bits.weights - math.ceil(math.log2(largest))
    most = float(terms(weight.abs()).max()) + largest
    bias = builder.graph.constants[node.inputs[2]] if len(node.inputs) == 3 else None

    def allowed(place: str) -> int:
        x = builder.specs[place]
        size = most * x.magnitude + (0.0 if bias is None else float(bias.abs().max()) * 2.0**x.fraction)
        return EXACT_BITS - math.ceil(math.log2(max(size, 1.0)))

    short = wanted - 6 - allowed(place)
    if short > 0:  # weights would get too coarse: the input gives bits instead
        place = builder.lowered(place, builder.specs[place].fraction - short)
    fraction = max(-40, min(wanted, allowed(place), 40))
    inputs = [place, builder.constant(node.inputs[1], weight, fraction)]
    if bias is not None:
        inputs.append(builder.constant(node.inputs[2], bias, fraction + builder.specs[place].fraction))
    builder.add(node.name, operation, inputs, builder.target(node.name))


def _linear(builder: Builder, node: Node) -> None:
    _weighted(builder, node, Linear(), lambda weight: weight.sum(1))


def _conv(builder: Builder, node: Node) -> None:
    attrs = node.attrs
    operation = Conv(
        tuple(attrs["stride"]),
        tuple(attrs["padding"]),
        tuple(attrs["dilation"]),
        attrs["groups"],
        attrs["transposed"],
        tuple(attrs["output_padding"]),
    )

    def terms(weight: Tensor) -> Tensor:
        if operation.transposed:
            return weight.unflatten(0, (operation.groups, -1)).flatten(3).sum(3).sum(1)
        return weight.flatten(1).sum(1)

    _weighted(builder, node, operation, terms)


def _matmul(builder: Builder, node: Node) -> None:
    a, b = (builder.place(name) for name in node.inputs)
    length = builder.specs[a].shape[-1]
    bits = (EXACT_BITS - math.ceil(math.log2(max(length, 1)))) // 2 - 1
    builder.add(
        node.name, Matmul((0, 0)), [builder.within(a, bits), builder.within(b, bits)], builder.target(node.name)
    )


def _sum(builder: Builder, node: Node) -> None:
    """add, sub, maximum, minimum."""
    target = builder.target(node.name)
    wanted = builder.ordinary(node.name).fraction
    assert wanted is not None
    fractions = [builder.specs[builder.place(name)].fraction for name in node.inputs if not builder.is_constant(name)]
    inputs: list[str] = []
    for name in node.inputs:
        if builder.is_constant(name):
            values = builder.graph.constants[name]
            finest = min(max(wanted, *fractions), 48 - math.ceil(math.log2(builder.ranges[name].magnitude)))
            inputs.append(builder.constant(name, values, finest))
        else:
            inputs.append(builder.place(name))
    # Where one is far larger than the other, the bits of the other beyond what both can hold are given up.
    common = min(48 + s.fraction - s.magnitude.bit_length() for s in (builder.specs[place] for place in inputs))
    inputs = [builder.lowered(place, common) for place in inputs]
    builder.add(node.name, KINDS[node.operation](), inputs, target)


def _factor(builder: Builder, name: str, bits: int) -> str:
    if builder.is_constant(name):
        values = builder.graph.constants[name]
        fraction = builder.bits.weights - math.ceil(math.log2(builder.ranges[name].magnitude))
        return builder.constant(name, values, max(-40, min(40, fraction)))
    return builder.within(builder.place(name), bits)


def _mul(builder: Builder, node: Node) -> None:
    builder.add(node.name, Mul(), [_factor(builder, name, 26) for name in node.inputs], builder.target(node.name))


def _div(builder: Builder, node: Node) -> None:
    plain = builder.ordinary(node.name)
    assert plain.fraction is not None
    inputs = [_factor(builder, name, 30) for name in node.inputs]
    builder.add(node.name, Div(plain.fraction, plain.high), inputs, plain)


def _pointwise(builder: Builder, node: Node) -> None:
    place = builder.place(node.inputs[0])
    x, ends = builder.specs[place], builder.clamp_of(node)
    if ends is not None:
        low, high = (round(max(-(2.0**52), min(2.0**52, end * 2.0**x.fraction))) for end in ends)
        builder.add(node.name, Clamp(), [place], Target(x.fraction, low, high, also=node.name))
        return
    pieces, target = builder.pieces_of(node), builder.target(node.name)
    if len(pieces) == 1:
        _table(builder, node, pieces[0], place, node.name, target)
        return
    names: list[str] = []
    plain = builder.ordinary(node.name)
    for number, piece in enumerate(pieces):
        names.append(_table(builder, node, piece, place, f"{node.name}.{number}", plain))
        if number:  # the sum of all pieces so far
            last = number == len(pieces) - 1
            names.append(node.name if last else f"{node.name}.sum{number}")
            builder.add(names[-1], Add(), names[-3:-1], target if last else plain)


def _table(builder: Builder, node: Node, piece: Piece, place: str, name: str, target: Target) -> str:
    """One table of a pointwise node, as a node `name`."""
    x = builder.specs[place]
    piece = piece.coarsened(x.fraction)
    shift = x.fraction - piece.fraction
    values = table_of(builder.function_of(node), piece)
    plain = builder.ordinary(node.name) if target.fraction is None else target
    assert plain.fraction is not None
    values = values.clamp(16 * plain.low * 2.0**-plain.fraction, 16 * plain.high * 2.0**-plain.fraction)
    if piece.lines:
        if piece.clamped:
            ends = Target(x.fraction, piece.first << shift, piece.last << shift)
            place = builder.add(f"{name}.part", Clamp(), [place], ends)
        slopes = slopes_of(builder.function_of(node), piece, values)
        values = torch.cat([values[1:2] - slopes[:1] * 2.0**-piece.fraction, values[1:]])  # on the first line
        return _lines(builder, piece, place, name, values, slopes, target)
    largest = float(values.abs().max()) or 1.0
    fine = max(-40, min(40, TABLE_VALUE_BITS - math.ceil(math.log2(largest))))
    values, spread = knots_of(values, largest * 2.0**-16)
    table = builder.constant(f"{name}.table", values, fine)
    return builder.add(name, Lookup(shift, piece.first, spread), [place, table], target)


def _lines(
    builder: Builder, piece: Piece, place: str, name: str, values: Tensor, slopes: Tensor, target: Target
) -> str:
    """A table of straight lines, as fine as 53 bits allow."""
    x = builder.specs[place]
    steepest = max(float(slopes.abs().max()), 2.0**-30)
    shift = x.fraction - piece.fraction
    reach = max(2 * x.magnitude, abs(piece.first) << shift, abs(piece.last) << shift)
    largest = float(values.abs().max()) + steepest * reach * 2.0**-x.fraction
    finest = 50 - math.ceil(math.log2(largest)) - x.fraction
    slope_bits = max(-40, min(finest, 22 - math.ceil(math.log2(steepest)), 40))
    entries = float(values.abs().max()) or 1.0
    value_bits = min(slope_bits + x.fraction, 24 - math.ceil(math.log2(entries)), 40)
    tables = [
        builder.constant(f"{name}.values", values, value_bits),
        builder.constant(f"{name}.slopes", slopes, slope_bits),
    ]
    operation = Interpolate(shift, piece.first)
    return builder.add(name, operation, [place, *tables], target)


def _move(operation: Callable[[Node], Operation]) -> Callable[[Builder, Node], None]:
    def lower(builder: Builder, node: Node) -> None:
        builder.add(node.name, operation(node), [builder.place(node.inputs[0])])

    return lower


def _gather(builder: Builder, node: Node) -> None:
    index = builder.whole(f"{node.name}.index", torch.tensor(node.attrs["index"], dtype=torch.int64))
    builder.add(node.name, Gather(node.attrs["dim"]), [builder.place(node.inputs[0]), index])


def _cat(builder: Builder, node: Node) -> None:
    builder.add(node.name, Cat(node.attrs["dim"]), [builder.place(n) for n in node.inputs], builder.target(node.name))


def _sum_over(builder: Builder, node: Node) -> None:
    operation = Sum(tuple(node.attrs["dims"]), node.attrs["keepdim"])
    builder.add(node.name, operation, [builder.place(node.inputs[0])], builder.target(node.name))


def _amax(builder: Builder, node: Node) -> None:
    operation = Amax(tuple(node.attrs["dims"]), node.attrs["keepdim"])
    builder.add(node.name, operation, [builder.place(node.inputs[0])], builder.target(node.name))


def _cumsum(builder: Builder, node: Node) -> None:
    inputs = [builder.place(node.inputs[0])]
    builder.add(node.name, Cumsum(node.attrs["dim"]), inputs, builder.target(node.name))


def _mean(builder: Builder, node: Node) -> None:
    plain = builder.ordinary(node.name)
    assert plain.fraction is not None
    operation = Mean(tuple(node.attrs["dims"]), node.attrs["keepdim"], plain.fraction)
    builder.add(node.name, operation, [builder.within(builder.place(node.inputs[0]), 26)], plain)


def _avg_pool(builder: Builder, node: Node) -> None:
    plain, attrs = builder.ordinary(node.name), node.attrs
    assert plain.fraction is not None
    kernel, stride, padding = (tuple(attrs[key]) for key in ("kernel", "stride", "padding"))
    operation = AvgPool(kernel, stride, padding, attrs["ceil_mode"], attrs["count_include_pad"], plain.fraction)
    builder.add(node.name, operation, [builder.within(builder.place(node.inputs[0]), 26)], plain)


def _max_pool(builder: Builder, node: Node) -> None:
    attrs = node.attrs
    kernel, stride, padding, dilation = (tuple(attrs[key]) for key in ("kernel", "stride", "padding", "dilation"))
    operation = MaxPool(kernel, stride, padding, dilation, attrs["ceil_mode"])
    builder.add(node.name, operation, [builder.place(node.inputs[0])], builder.target(node.name))


def _normalise(builder: Builder, node: Node) -> None:
    plain, place = builder.ordinary(node.name), builder.place(node.inputs[0])
    assert plain.fraction is not None
    dims = tuple(node.attrs["dims"])
    count = math.prod(builder.specs[place].shape[dim - 1] for dim in dims)
    place = builder.within(place, (EXACT_BITS - math.ceil(math.log2(count))) // 2)
    smallest = 2.0 ** (-2 * builder.specs[place].fraction - 4)  # what the grid cannot tell from zero
    mantissa, exponent = math.frexp(max(float(node.attrs["eps"]), smallest))
    operation = Normalise(dims, int(mantissa * 2**53), exponent - 53, plain.fraction, plain.high)
    builder.add(node.name, operation, [place], plain)


def _softmax(builder: Builder, node: Node) -> None:
    size, reach = 1024, SOFTMAX_BITS + 1  # exp(−reach · log 2) rounds to nothing
    steps = 2.0**-Softmax.STEPS
    length = math.ceil(reach * math.log(2) / steps / size) + 1
    unit = 2.0**SOFTMAX_BITS
    coarse = torch.exp(torch.arange(length, dtype=torch.float64) * (-size * steps)) * unit
    coarse[-1] = 0.0
    fine = torch.exp(torch.arange(size, dtype=torch.float64) * -steps) * unit
    tables = [
        builder.whole(f"exp.{part}", table.round().to(torch.int64), SOFTMAX_BITS)
        for part, table in (("coarse", coarse), ("fine", fine))
    ]
    place = builder.within(builder.place(node.inputs[0]), 30)
    builder.add(node.name, Softmax(node.attrs["dim"], SOFTMAX_BITS - 2), [place, *tables], builder.ordinary(node.name))


def _pad(builder: Builder, node: Node) -> None:
    place = builder.place(node.inputs[0])
    value = round(node.attrs["value"] * 2.0 ** builder.specs[place].fraction)
    pads = tuple(size for pair in node.attrs["pads"] for size in pair)
    builder.add(node.name, Pad(pads, value), [place], builder.target(node.name))


LOWER: Mapping[str, Callable[[Builder, Node], None]] = {
    "linear": _linear,
    "conv": _conv,
    "matmul": _matmul,
    "add": _sum,
    "sub": _sum,
    "maximum": _sum,
    "minimum": _sum,
    "mul": _mul,
    "div": _div,
    "pointwise": _pointwise,
    "reshape": _move(lambda node: Reshape(tuple(node.attrs["shape"]))),
    "permute": _move(lambda node: Permute(tuple(node.attrs["dims"]))),
    "slice": _move(lambda node: Slice(*(node.attrs[key] for key in ("dim", "start", "stop", "step")))),
    "expand": _move(lambda node: Expand(tuple(node.attrs["shape"]))),
    "gather": _gather,
    "cat": _cat,
    "pad": _pad,
    "sum": _sum_over,
    "mean": _mean,
    "amax": _amax,
    "cumsum": _cumsum,
    "avg_pool": _avg_pool,
    "max_pool": _max_pool,
    "normalise": _normalise,
    "softmax": _softmax,
}
"""By the operation's name in a graph."""

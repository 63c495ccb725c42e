"""The closed set of operations that a fixed network is made of."""

from __future__ import annotations

from collections.abc import Mapping

from lucid.codec.network.operations.arithmetic import Add, Div, Maximum, Minimum, Mul, Sub
from lucid.codec.network.operations.base import LIMIT, Finish, Operation, Raw, Spec, shifted
from lucid.codec.network.operations.lookup import Clamp, Interpolate, Lookup
from lucid.codec.network.operations.movement import Cat, Expand, Gather, Pad, Permute, Reshape, Slice
from lucid.codec.network.operations.normalising import Normalise, Softmax
from lucid.codec.network.operations.pooling import AvgPool, MaxPool
from lucid.codec.network.operations.products import Conv, Linear, Matmul
from lucid.codec.network.operations.reductions import Amax, Cumsum, Mean, Sum

__all__ = ["KINDS", "LIMIT", "Finish", "Operation", "Raw", "Spec", "shifted"]

_CLASSES: tuple[type[Operation], ...] = (
    Add,
    Amax,
    AvgPool,
    Cat,
    Clamp,
    Conv,
    Cumsum,
    Div,
    Expand,
    Gather,
    Interpolate,
    Linear,
    Lookup,
    Matmul,
    MaxPool,
    Maximum,
    Mean,
    Minimum,
    Mul,
    Normalise,
    Pad,
    Permute,
    Reshape,
    Slice,
    Softmax,
    Sub,
    Sum,
)

KINDS: Mapping[str, type[Operation]] = {cls.name: cls for cls in _CLASSES}
"""By the name that files use."""

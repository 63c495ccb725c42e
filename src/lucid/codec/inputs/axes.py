"""Which axis is which in what the user gave, and the same axes again on the way out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from lucid.codec.inputs.grid import protocol_of
from lucid.codec.layout import DataLayout
from lucid.data.layout import arrange, restore

__all__ = ["Axes", "axes_of", "fits", "stored_shape", "to_model_axes", "to_stored_axes"]

Axes = str | None
"""A layout of `lucid.data.load`, such as "NHWC"; "flat" where each example was flattened; None as the model has it."""


_LAYOUTS = ("NHW", "NHWC", "NCHW", "NT", "NCT", "NTC")


def axes_of(shape: Sequence[int], data: DataLayout, what: str) -> Axes:
    """How an array of this shape is to be read as examples of the model.

    Args:
        shape: Of the array, examples first.
        data: What the model codes.
        what: What the array is called in an error.

    Raises:
        ValueError: If it cannot be.
    """
    own, shape = tuple(data.shape), tuple(shape)
    protocol = protocol_of(data)
    layout = None if protocol is None else protocol.reading.get("layout")
    if isinstance(layout, str) and len(layout) == len(shape) and _arranged(shape, layout) == own:
        return layout
    if shape[1:] == own:
        return None
    for other in _LAYOUTS:
        if len(other) == len(shape) and _arranged(shape, other) == own:
            return other
    if len(shape) > 2 and fits(shape[1:], "flat", data):
        return "flat"
    single = f". A single example is given as {what}[None]" if shape == own else ""
    raise ValueError(
        f"{what} has the shape {shape}, and the model codes examples of shape {own}: the first dimension counts the "
        f"examples, the others are one example's{single}"
    )


def fits(shape: tuple[int, ...], axes: Axes, data: DataLayout) -> bool:
    """Whether examples of this shape, read like this, are examples of the model."""
    own = tuple(data.shape)
    if axes == "flat":
        return len(own) == 1 and math.prod(shape) == own[0]
    if axes is None:
        return shape == own
    return axes in _LAYOUTS and len(axes) == len(shape) + 1 and _arranged((1, *shape), axes) == own


def stored_shape(axes: object, data: DataLayout) -> tuple[int, ...] | None:
    """The shape of one example in a layout; None if the model's examples have no such layout."""
    own = tuple(data.shape)
    if axes is None or not isinstance(axes, str) or axes not in _LAYOUTS:
        return own if axes is None else None
    if "C" not in axes:
        return own[1:]
    rest = list(own[1:])
    rest.insert(axes.index("C") - 1, own[0])
    return tuple(rest)


def _arranged(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    """The shape of one example, channels first."""
    if "C" not in layout:
        return (1, *shape[1:])
    channels = layout.index("C")
    return (shape[channels], *(n for i, n in enumerate(shape) if i not in (0, channels)))


def to_model_axes(x: Tensor, axes: Axes) -> Tensor:
    """Examples as the model has them."""
    if axes is None or not len(x):
        return x
    return x.flatten(1) if axes == "flat" else arrange(x, None, axes)[0]


def to_stored_axes(x: Tensor, axes: Axes, shape: Sequence[int]) -> Tensor:
    """The inverse; `shape` is that of one example as it was given."""
    if axes is None:
        return x
    return x.reshape(len(x), *shape) if axes == "flat" else restore(x, axes, x.shape[1:])

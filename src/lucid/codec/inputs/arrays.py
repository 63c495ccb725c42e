"""Arrays in memory: levels and back, of the same kind, type and shape, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lucid.codec.errors import CodecError
from lucid.codec.inputs.axes import Axes, axes_of, fits, stored_shape, to_model_axes, to_stored_axes
from lucid.codec.inputs.grid import Scale, from_levels, scale_of, to_levels
from lucid.codec.inputs.source import field
from lucid.codec.layout import DataLayout
from lucid.data.values import as_tensor

__all__ = ["ArrayForm", "form_from_json", "form_of", "form_to_json", "levels_of", "plain", "restored", "torch_type"]

Array = Tensor | np.ndarray[Any, Any]


@dataclass(frozen=True)
class ArrayForm:
    """What an array was beside its levels.

    Attributes:
        dtype: As NumPy writes it, such as "|u1" or "<f4"; of a tensor as PyTorch names it, such as "uint8".
        axes: Which axis was which.
        shape: Of one example as it was given.
        scale: Where its levels lay.
    """

    dtype: str
    axes: Axes
    shape: tuple[int, ...]
    scale: Scale


def torch_type(dtype: str) -> torch.dtype:
    """The type of the tensor in which an array of a dtype is computed.

    Raises:
        ValueError: If it is none of numbers.
    """
    named = getattr(torch, dtype, None)
    if isinstance(named, torch.dtype):
        return named
    try:
        return as_tensor(np.empty(0, dtype=np.dtype(dtype)), "an array").dtype
    except TypeError as error:
        raise ValueError(f"{dtype!r} is no type of numbers") from error


def plain(x: Array, what: str) -> Array:
    """An array, known to be one with a value in every place.

    Raises:
        TypeError: If it is none.
    """
    if not isinstance(x, Tensor | np.ndarray):
        raise TypeError(f"a codec takes NumPy arrays and PyTorch tensors; received {type(x).__name__}")
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(
            f"{what} is a masked array, whose mask would be lost: give {what}.filled(…), of a table {what}.filled("
            "np.nan) of floating point"
        )
    return x


def levels_of(x: Array, data: DataLayout) -> tuple[Tensor, ArrayForm]:
    """The levels of an array, and what it takes to make it again.

    Integers and booleans are their own levels. Floating-point numbers are, all of them, k / (L − 1) as a model sees
    them, or whole numbers 0 … L − 1; of counts and tables they are whole numbers, of tables NaN where missing.

    Args:
        x: (N, *shape), in the layout the model's data had or channels first.
        data: What the model codes.

    Returns:
        Levels, int64 (N, *data.shape), −1 where missing; and the form.

    Raises:
        TypeError: If x is no array of numbers.
        ValueError: If it does not fit the model, with the rule, the value and the remedy.

    Example:
        >>> import numpy as np
        >>> from lucid.codec.inputs.arrays import levels_of, restored
        >>> from lucid.codec.layout import DataLayout
        >>> data = DataLayout(shape=(3,), levels=256)
        >>> x = np.array([[0, 51, 255]], dtype=np.float32) / 255
        >>> levels, form = levels_of(x, data)
        >>> levels
        tensor([[  0,  51, 255]])
        >>> np.array_equal(restored(levels, form, data), x)
        True
    """
    values = as_tensor(plain(x, "x"), "x")
    low, high = (float(values.min()), float(values.max())) if values.numel() else (0.0, 0.0)
    dtype = str(x.dtype).removeprefix("torch.") if isinstance(x, Tensor) else x.dtype.str
    form = form_of(tuple(values.shape), dtype, values.dtype, (low, high), data, "x")
    return to_levels(to_model_axes(values, form.axes).contiguous(), form.scale, data, "x"), form


def form_of(
    shape: tuple[int, ...],
    dtype: str,
    computed: torch.dtype,
    extremes: tuple[float, float],
    data: DataLayout,
    what: str,
) -> ArrayForm:
    """The form of an array of which these facts are known.

    Args:
        shape: Of the array, examples first.
        dtype: Its type, by name.
        computed: That of the tensor it is read into.
        extremes: Least and greatest value, where that is floating point.
        data: What the model codes.
        what: What the array is called in an error.

    Raises:
        ValueError: If its examples have not the shape of the model's.
    """
    axes = axes_of(shape, data, what)
    return ArrayForm(dtype, axes, tuple(shape[1:]), scale_of(*extremes, computed, data))


def form_to_json(form: ArrayForm) -> dict[str, Any]:
    """A form as plain JSON values; what goes without saying is left out."""
    said: dict[str, Any] = {"dtype": form.dtype}
    if form.axes is not None:
        said["axes"] = form.axes
    if form.axes == "flat":
        said["shape"] = list(form.shape)
    return said if form.scale == "whole" else said | {"scale": form.scale}


def form_from_json(said: Mapping[str, Any], data: DataLayout) -> ArrayForm:
    """The inverse, of what a file says.

    Raises:
        CodecError: If no array can have it.
    """
    dtype, axes, scale = field(said, "dtype", str), said.get("axes"), said.get("scale", "whole")
    is_unit = {"whole": False, "unit": True}.get(scale if isinstance(scale, str) else "")
    shape = tuple(field(said, "shape", list)) if axes == "flat" else stored_shape(axes, data)
    sizes = shape is not None and all(type(n) is int and n > 0 for n in shape)
    try:
        computed = torch_type(dtype)
    except (ValueError, TypeError):
        computed = None
    if shape is None or not sizes or not fits(shape, axes, data) or is_unit is None or computed is None:
        raise CodecError(f"the description of the inputs is damaged: no array is {str(dict(said))[:200]}")
    if is_unit and (data.levels is None or not computed.is_floating_point):
        raise CodecError(f"the description of the inputs is damaged: {dtype[:20]!r} on a grid in 0 … 1")
    return ArrayForm(dtype, axes, shape, scale)


def restored(levels: Tensor, form: ArrayForm, data: DataLayout) -> Array:
    """The array that had these levels: a tensor if the form's type is PyTorch's, else a NumPy array."""
    x = to_stored_axes(from_levels(levels, form.scale, torch_type(form.dtype), data), form.axes, form.shape)
    if isinstance(getattr(torch, form.dtype, None), torch.dtype):
        return x.contiguous()
    return np.ascontiguousarray(x.numpy(), dtype=np.dtype(form.dtype))

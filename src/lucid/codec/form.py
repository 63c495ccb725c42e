"""What array some levels were, in two bytes of a file's header where it is an ordinary one, else in its meta."""

from __future__ import annotations

from typing import Any

from lucid.codec.errors import CodecError
from lucid.codec.inputs.arrays import ArrayForm

__all__ = ["form_from_file", "form_to_file"]

# Both lists are part of the format: they may grow at the end, and nothing in them may change.
_DTYPES = (
    *("|u1", "|i1", "|b1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8"),
    *("uint8", "int8", "bool", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "bfloat16", "float32", "float64"),
)
_AXES = (None, "NHW", "NHWC", "NCHW", "NT", "NTC")
_SCALES = ("whole", "unit")
_KEY = "array"


def form_to_file(form: ArrayForm) -> tuple[bytes, Any]:
    """Two bytes and, where they are not enough, meta."""
    if form.dtype in _DTYPES and form.axes in _AXES:
        first = 1 + 2 * _DTYPES.index(form.dtype) + _SCALES.index(form.scale)
        return bytes([first, _AXES.index(form.axes)]), None
    said = {"dtype": form.dtype, "axes": form.axes, "shape": list(form.shape), "scale": form.scale}
    return bytes(2), {_KEY: said}


def form_from_file(code: bytes, meta: Any) -> ArrayForm | None:
    """The inverse; None where a file is not that of an array.

    Raises:
        CodecError: It is none of ours.
    """
    if code[0]:
        dtype, scale = divmod(code[0] - 1, 2)
        if dtype >= len(_DTYPES) or code[1] >= len(_AXES):
            raise CodecError(f"the header is damaged: no array has the form {code.hex()}")
        return ArrayForm(_DTYPES[dtype], _AXES[code[1]], (), _SCALES[scale])
    if not isinstance(meta, dict) or _KEY not in meta:
        return None
    match meta[_KEY]:
        case {"dtype": str(dtype), "axes": str() | None as axes, "shape": [*shape], "scale": "whole" | "unit" as scale}:
            return ArrayForm(dtype, axes, tuple(shape), scale)
        case _:
            raise CodecError("the header is damaged: it describes no array")

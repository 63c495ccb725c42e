"""From the bytes of one example to its array; all examples of a source must be alike."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lucid.data.found import Options
from lucid.data.images import decode_image

__all__ = ["Decoder", "array_decoder", "image_decoder", "is_array", "is_image", "is_pickle"]

Array = np.ndarray[Any, Any]
_PICKLES = ("pyd", "pickle", "pkl", "pth", "pt", "joblib")


def is_array(ending: str) -> bool:
    """Whether members with this ending are .npy arrays."""
    return ending.rpartition(".")[2] == "npy"


def is_image(ending: str) -> bool:
    """Whether members with this ending are images that Pillow reads."""
    from PIL import Image

    Image.init()
    return f".{ending.rpartition('.')[2]}" in Image.registered_extensions()


def is_pickle(ending: str) -> bool:
    """Whether members with this ending are pickled, and so never read."""
    return ending.rpartition(".")[2] in _PICKLES


class Decoder:
    """Reads examples that are all like the first one.

    Args:
        decode: From bytes, and an object whose `str` names them in an error, to an array.
        content: Bytes of the first example.
        what: Names it.
        remedy: What to do where examples differ.

    Raises:
        ValueError: If it cannot be read.
    """

    def __init__(
        self, decode: Callable[[bytes, object], Array], content: bytes, what: object, remedy: str = ""
    ) -> None:
        self._decode = decode
        self._remedy = remedy
        first = decode(content, what)
        self.shape: tuple[int, ...] = first.shape
        self.dtype: np.dtype[Any] = first.dtype

    def __call__(self, content: bytes, what: object) -> Array:
        """The array of an example.

        Raises:
            ValueError: If it cannot be read, or its shape or type is not that of the first.
        """
        x = self._decode(content, what)
        if x.shape != self.shape or x.dtype != self.dtype:
            raise ValueError(
                f"{what} has the shape {x.shape} and type {x.dtype}, and the first example {self.shape} and "
                f"{self.dtype}. All must be alike{self._remedy}"
            )
        return x


def image_decoder(options: Options, content: bytes, what: object) -> Decoder:
    """A decoder of image files, by `resize`, `crop` and `channels` of the options."""

    def decode(content: bytes, what: object) -> Array:
        return decode_image(content, what, options.channels, options)

    return Decoder(decode, content, what, ": give resize=(height, width), or channels='grey', 'rgb' or 'rgba'")


def array_decoder(content: bytes, what: object) -> Decoder:
    """A decoder of .npy files."""
    return Decoder(_Npy(), content, what)


class _Header(NamedTuple):
    content: bytes
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    by_columns: bool


class _Npy:
    """Reads .npy files; a header equal to the one before is not parsed again."""

    def __init__(self) -> None:
        self._last: _Header | None = None

    def __call__(self, content: bytes, what: object) -> Array:
        header = self._last
        if header is None or not content.startswith(header.content):
            self._last = header = _parsed(content, what)
        start = len(header.content)
        if len(content) - start != math.prod(header.shape) * header.dtype.itemsize:
            raise ValueError(
                f"{what} announces an array of shape {header.shape} and type {header.dtype} and holds "
                f"{len(content) - start} bytes: it is damaged"
            )
        values = np.frombuffer(content, header.dtype, offset=start)
        return values.reshape(header.shape, order="F" if header.by_columns else "C")


def _parsed(content: bytes, what: object) -> _Header:
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = read(file)
    except (ValueError, SyntaxError, EOFError, TypeError, MemoryError, RecursionError) as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{what} is damaged or not a .npy array: {first}") from error
    if dtype.hasobject:
        raise ValueError(f"{what} holds pickled Python objects, which are never loaded: save it with a numeric dtype")
    if dtype.itemsize == 0 or dtype.kind not in "biuf" or any(n < 0 for n in shape):
        raise ValueError(f"{what} holds no numbers: its type is {dtype} and its shape {shape}")
    return _Header(content[: file.tell()], dtype, shape, by_columns)

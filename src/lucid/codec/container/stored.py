"""Blocks without the model: packed bits, or what deflate, LZMA or bzip2 make of them, whichever is shortest.

Data that the model does not know can cost more under it than as it is. Such a block is stored::

    method (1)  lowest value + 1 (varint)  bits (1)  body

The lowest value is taken off every value, and what remains fits into 0 … 8, 16, 32 or 64 bits: rows of bits, first bit
first, or little-endian words.
"""

from __future__ import annotations

import bz2
import lzma
import math
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lucid.codec.container.numbers import Cursor, varint
from lucid.codec.errors import CodecError

__all__ = ["likely_shorter", "pack", "unpack"]

_WIDTHS = (*range(9), 16, 32, 64)
_SAMPLE_VALUES = 1 << 15
_LZMA: list[dict[str, Any]] = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 23}]
_PLAIN, _DEFLATE, _LZMA_METHOD, _BZIP2 = range(4)


def pack(levels: Tensor) -> bytes:
    """Values as a stored block.

    Args:
        levels: Integers, any shape, −1 or more.

    Returns:
        At most 11 bytes more than the values' own bits.
    """
    values = levels.numpy().reshape(-1).astype(np.int64, copy=False)
    lowest, bits = _range_of(values)
    body = _to_body(values, lowest, bits)
    found = {
        _PLAIN: body,
        _DEFLATE: _deflate(body),
        _LZMA_METHOD: lzma.compress(body, format=lzma.FORMAT_RAW, filters=_LZMA),
        _BZIP2: bz2.compress(body),
    }
    method = min(found, key=lambda name: len(found[name]))
    return bytes([method]) + varint(lowest + 1) + bytes([bits]) + found[method]


def likely_shorter(levels: Tensor, coded: int) -> bool:
    """Whether `pack` has a chance against so many bytes: from a part of the values, at little cost."""
    values = levels.numpy().reshape(len(levels), -1)
    if not values.size:
        return True
    every = max(1, math.ceil(values.size / _SAMPLE_VALUES))
    some = values[::every].reshape(-1).astype(np.int64, copy=False)
    lowest, bits = _range_of(some)
    body = _to_body(some, lowest, bits)
    # deflate at its default comes within a fifth or so of what the better methods reach.
    return coded > 0.75 * min(len(body), len(_deflate(body))) * values.size / some.size


def unpack(payload: bytes, shape: tuple[int, ...]) -> Tensor:
    """The values of a stored block.

    Args:
        payload: What `pack` gave, or anything.
        shape: Of the values.

    Returns:
        int64, of that shape.

    Raises:
        CodecError: It is damaged, or does not hold exactly so many values.
    """
    cursor = Cursor(payload, "a stored block")
    method = cursor.take(1)[0]
    lowest = cursor.number() - 1
    bits = cursor.take(1)[0]
    if bits not in _WIDTHS or method not in _OPEN:
        raise CodecError(f"a stored block is damaged: it names method {method} and {bits} bits")
    count = math.prod(shape)
    size = _body_bytes(count, bits)
    body = _OPEN[method](cursor.take(cursor.left), size)
    if len(body) != size:
        raise CodecError(f"a stored block is damaged: {count} values of {bits} bits are {size} bytes, not {len(body)}")
    return torch.from_numpy(_from_body(body, count, lowest, bits)).reshape(shape)


def _range_of(values: npt.NDArray[np.int64]) -> tuple[int, int]:
    if not values.size:
        return 0, 0
    lowest, highest = int(values.min()), int(values.max())
    needed = (highest - lowest).bit_length()
    return lowest, next(width for width in _WIDTHS if width >= needed)


def _body_bytes(count: int, bits: int) -> int:
    return (count * bits + 7) // 8


def _to_body(values: npt.NDArray[np.int64], lowest: int, bits: int) -> bytes:
    # Differences of 64 bits wrap round, here and on the way back.
    above = values.view(np.uint64) - np.uint64(lowest % 2**64)
    if bits in (8, 16, 32, 64):
        return above.astype(f"<u{bits // 8}").tobytes()
    places = np.arange(bits, dtype=np.uint8)
    return np.packbits(above.astype(np.uint8)[:, None] >> places & 1, bitorder="little").tobytes()


def _from_body(body: bytes, count: int, lowest: int, bits: int) -> npt.NDArray[np.int64]:
    if bits in (8, 16, 32, 64):
        above = np.frombuffer(body, dtype=f"<u{bits // 8}").astype(np.uint64)
    else:
        flat = np.unpackbits(np.frombuffer(body, dtype=np.uint8), bitorder="little")
        if flat[count * bits :].any():
            raise CodecError("a stored block is damaged: bits are set after its last value")
        above = np.zeros(count, dtype=np.uint64)
        for place, column in enumerate(flat[: count * bits].reshape(count, bits).T):
            above |= column.astype(np.uint64) << np.uint64(place)
    return (above + np.uint64(lowest % 2**64)).view(np.int64)


def _deflate(body: bytes) -> bytes:
    return zlib.compress(body, 6, wbits=-15)


def _inflated(body: bytes, size: int) -> bytes:
    opener = zlib.decompressobj(wbits=-15)
    return _all_of(lambda: opener.decompress(body, size + 1), lambda: opener.eof, lambda: opener.unused_data, size)


def _from_lzma(body: bytes, size: int) -> bytes:
    opener = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_LZMA)
    return _all_of(lambda: opener.decompress(body, size + 1), lambda: opener.eof, lambda: opener.unused_data, size)


def _from_bzip2(body: bytes, size: int) -> bytes:
    opener = bz2.BZ2Decompressor()
    return _all_of(lambda: opener.decompress(body, size + 1), lambda: opener.eof, lambda: opener.unused_data, size)


def _all_of(opened: Callable[[], bytes], whole: Callable[[], bool], unused: Callable[[], bytes], size: int) -> bytes:
    """What a decompressor gives, never more than a byte beyond `size`, if its input was one whole stream."""
    try:
        body = opened()
    except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
        raise CodecError(f"a stored block is damaged: {error}") from error
    if len(body) > size or not whole() or unused():
        raise CodecError(f"a stored block is damaged: it does not hold exactly {size} bytes")
    return body


_OPEN: dict[int, Callable[[bytes, int], bytes]] = {
    _PLAIN: lambda body, _: body,
    _DEFLATE: _inflated,
    _LZMA_METHOD: _from_lzma,
    _BZIP2: _from_bzip2,
}

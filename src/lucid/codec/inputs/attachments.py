"""What the model does not know, kept as the bytes it was, deflated."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import IO

from lucid.codec.errors import CodecError

__all__ = ["attachment_name", "deflated", "inflated"]

_PIECE = 1 << 20


def attachment_name(within: str, name: str) -> str:
    """What an attachment is called; names that are no UTF-8 are written with backslashes."""
    return f"{within}/{name}".encode(errors="backslashreplace").decode()


def deflated(file: IO[bytes]) -> Iterator[bytes]:
    """The content of a file, a piece at a time."""
    packer = zlib.compressobj(6, wbits=-15)
    while content := file.read(_PIECE):
        yield packer.compress(content)
    yield packer.flush()


def inflated(chunks: Iterable[bytes], most: int | None = None) -> Iterator[bytes]:
    """The inverse of `deflated`.

    Args:
        chunks: What it gave.
        most: Bytes that make sense; None for any number.

    Raises:
        CodecError: If they are damaged, or open to more.
    """
    opener, size = zlib.decompressobj(wbits=-15), 0
    try:
        for chunk in chunks:
            left = chunk
            while left and not opener.eof:
                content = opener.decompress(left, _PIECE)
                left = opener.unconsumed_tail
                size += len(content)
                if most is not None and size > most:
                    raise CodecError(f"an attachment opens to more than {most:,} bytes: it is damaged")
                yield content
        yield opener.flush()
    except zlib.error as error:
        raise CodecError(f"an attachment is damaged: {error}") from error
    if not opener.eof or opener.unused_data:
        raise CodecError("an attachment is damaged: it does not end where it should")

"""How a .lucid file begins: which version it is, which codec it needs, what it says of what it holds.

::

    magic (4)  version and flags (1)  codec (4)  form (2)
    [embedded codec: size opened (varint)  size (varint)  SHA-256 (8)  deflated codec]
    [meta:           size opened (varint)  size (varint)  deflated JSON]

The low four bits of the fifth byte are the version; above them are the flags: indexed, embedded, meta. A file that is
not indexed is one block, which follows the header to the end of the file.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from typing import Any

from lucid.codec.container.numbers import Cursor, varint
from lucid.codec.container.source import Source
from lucid.codec.errors import CodecError
from lucid.io.files import json_text, parse_json

__all__ = ["Header", "deflated", "inflated", "read_header"]

MAGIC = b"\x89Luc"  # the first byte is no text, so that nobody takes the file for one
VERSION = 1
_INDEXED, _EMBEDDED, _META = 0x10, 0x20, 0x40
_FLAGS = _INDEXED | _EMBEDDED | _META
_ID_BYTES = 4
_CHECK_BYTES = 8
_MAX_META = 1 << 26
_MAX_CODEC = 1 << 31
_FORM_BYTES = 2
_START = len(MAGIC) + 1 + _ID_BYTES + _FORM_BYTES
_MOST_BY_DEFLATE = 1040  # deflate makes at most 1032 bytes of one


@dataclass(frozen=True)
class Header:
    """What a file says before its blocks.

    Attributes:
        codec_id: The first 4 bytes of the identity of the codec.
        form: What array the levels were, as `codec/form.py` writes it; zeros where the meta says it.
        meta: Plain JSON; None if there is none.
        embedded: The codec itself, deflated; None if it does not travel with the file.
        opened_bytes: Of the codec once it is inflated.
        indexed: Whether blocks and an index follow, or one block.
        meta_bytes: The meta as it lies in the file.
    """

    codec_id: bytes
    form: bytes = bytes(2)
    meta: Any = None
    embedded: bytes | None = None
    opened_bytes: int = 0
    indexed: bool = False
    meta_bytes: bytes = b""

    @classmethod
    def of(cls, identity: str, form: bytes, meta: Any, codec: bytes | None) -> Header:
        """The header of a new file.

        Raises:
            ValueError: The meta is not plain JSON, or too large.
        """
        text = b"" if meta is None else json_text(meta).encode()
        if len(text) > _MAX_META:
            raise ValueError(f"meta= may be {_MAX_META} bytes of JSON; received {len(text)}. Attach it instead")
        return cls(
            codec_id=bytes.fromhex(identity)[:_ID_BYTES],
            form=form,
            meta=meta,
            embedded=None if codec is None else deflated(codec),
            opened_bytes=0 if codec is None else len(codec),
            meta_bytes=varint(len(text)) + deflated(text) if text else b"",
        )

    def to_bytes(self, *, indexed: bool) -> bytes:
        """The header as it lies in the file."""
        flags = (_INDEXED if indexed else 0) | (_META if self.meta_bytes else 0)
        flags |= 0 if self.embedded is None else _EMBEDDED
        parts = [MAGIC, bytes([VERSION | flags]), self.codec_id, self.form]
        if self.embedded is not None:
            parts += [varint(self.opened_bytes), varint(len(self.embedded)), _check(self.embedded), self.embedded]
        if self.meta_bytes:
            opened, deflated_meta = _split(self.meta_bytes)
            parts += [varint(opened), varint(len(deflated_meta)), deflated_meta]
        return b"".join(parts)

    def codec_bytes(self) -> bytes:
        """The codec that travels with the file.

        Raises:
            CodecError: It is damaged.
        """
        assert self.embedded is not None, "no codec is embedded"
        return inflated(self.embedded, self.opened_bytes, "the embedded codec")


def read_header(source: Source) -> tuple[Header, int]:
    """The header of a file and where it ends.

    Raises:
        CodecError: It is no .lucid file, of a later version, or damaged.
    """
    start = source.read(0, min(_START, source.size))
    if start[:4] != MAGIC:
        raise CodecError(f"{source.name} is not a .lucid file: it begins with {start[:4]!r}, not {MAGIC!r}")
    if len(start) < _START:
        raise CodecError(f"{source.name} was cut short: it holds {source.size} bytes")
    version, flags = start[4] & 0x0F, start[4] & 0xF0
    if version != VERSION:
        raise CodecError(
            f"{source.name} is a .lucid file of version {version}; this lucid reads version {VERSION}. Open it with a "
            "newer lucid"
        )
    if flags & ~_FLAGS:
        raise CodecError(f"{source.name} is damaged: unknown flags {flags:#04x}")
    end, embedded, opened, meta, meta_bytes = _START, None, 0, None, b""
    if flags & _EMBEDDED:
        opened, size, end = _sizes(source, end, _MAX_CODEC)
        check = source.read(end, _CHECK_BYTES)
        embedded = source.read(end + _CHECK_BYTES, size)
        if check != _check(embedded):
            raise CodecError(f"the codec embedded in {source.name} is damaged: its SHA-256 is another")
        end += _CHECK_BYTES + size
    if flags & _META:
        meta_opened, size, end = _sizes(source, end, _MAX_META)
        deflated_meta = source.read(end, size)
        meta_bytes = varint(meta_opened) + deflated_meta
        meta = _json(inflated(deflated_meta, meta_opened, f"the meta of {source.name}"), source.name)
        end += size
    codec_id = start[5 : 5 + _ID_BYTES]
    return Header(codec_id, start[-_FORM_BYTES:], meta, embedded, opened, bool(flags & _INDEXED), meta_bytes), end


def _sizes(source: Source, position: int, most: int) -> tuple[int, int, int]:
    """Two numbers: the size once opened and the size in the file; and where they end."""
    cursor = Cursor(source.read(position, min(18, source.size - position)), f"the header of {source.name}")
    opened, size = cursor.number(most), cursor.number(most)
    position += cursor.position
    if size > source.size - position or opened > size * _MOST_BY_DEFLATE:
        raise CodecError(f"the header of {source.name} is damaged: {size} bytes that open to {opened} do not fit it")
    return opened, size, position


def _split(meta_bytes: bytes) -> tuple[int, bytes]:
    cursor = Cursor(meta_bytes, "meta")
    return cursor.number(), cursor.take(cursor.left)


def _json(text: bytes, name: str) -> Any:
    try:
        return parse_json(text, f"the meta of {name}")
    except ValueError as error:
        raise CodecError(str(error)) from error


def _check(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:_CHECK_BYTES]


def deflated(data: bytes) -> bytes:
    """The bytes as short as deflate makes them."""
    return zlib.compress(data, 9, wbits=-15)


def inflated(data: bytes, size: int, what: str) -> bytes:
    """Exactly `size` bytes of one whole deflated stream.

    Raises:
        CodecError: It is something else.
    """
    opener = zlib.decompressobj(wbits=-15)
    try:
        opened = opener.decompress(data, size + 1)
    except zlib.error as error:
        raise CodecError(f"{what} is damaged: {error}") from error
    if len(opened) != size or not opener.eof or opener.unused_data:
        raise CodecError(f"{what} is damaged: it does not open to {size} bytes")
    return opened

"""How an indexed .lucid file ends: where each block and each attachment lies, so that each can be read by itself.

::

    examples of a block (varint)  number of members (varint)
    for each: 4 · size + kind (varint)
              of a block: SHA-256 (4)
              of an attachment: SHA-256 (16)  bytes of its name (varint)  its name
    examples of the last block (varint)
    SHA-256 of header and index (8)  size of the index (4, little-endian)

Members lie in the file in this order, right after the header.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lucid.codec.container.blocks import CODED, MAX_EXAMPLES, STORED
from lucid.codec.container.numbers import Cursor, varint
from lucid.codec.container.source import Source
from lucid.codec.errors import CodecError

__all__ = ["Member", "block_check", "index_bytes", "read_index"]

ATTACHMENT = 2
BLOCK_CHECK, ATTACHMENT_CHECK, INDEX_CHECK = 4, 16, 8
_TAIL = INDEX_CHECK + 4
MAX_NAME = 1 << 12


@dataclass(frozen=True)
class Member:
    """A block or an attachment.

    Attributes:
        kind: `CODED`, `STORED` or `ATTACHMENT`.
        size: Its bytes in the file.
        check: The first bytes of their SHA-256.
        examples: In a block.
        name: Of an attachment.
        position: Of its first byte in the file.
        first: The number of a block's first example.
        number: Of a block.
    """

    kind: int
    size: int
    check: bytes
    examples: int = 0
    name: str = ""
    position: int = 0
    first: int = 0
    number: int = 0


def block_check(payload: bytes) -> bytes:
    """What the index keeps of a block."""
    return hashlib.sha256(payload).digest()[:BLOCK_CHECK]


def index_bytes(header: bytes, members: Sequence[Member], block_examples: int) -> bytes:
    """The end of a file."""
    parts = [varint(block_examples), varint(len(members))]
    for member in members:
        parts += [varint(4 * member.size + member.kind), member.check]
        if member.kind == ATTACHMENT:
            name = member.name.encode()
            parts += [varint(len(name)), name]
    examples = [member.examples for member in members if member.kind != ATTACHMENT]
    parts.append(varint(examples[-1] if examples else 0))
    index = b"".join(parts)
    return index + _check(header, index) + len(index).to_bytes(4, "little")


def read_index(source: Source, header_end: int) -> list[Member]:
    """The members of a file.

    Raises:
        CodecError: The index is damaged, or does not fit the file.
    """
    if source.size < header_end + _TAIL:
        raise CodecError(f"{source.name} was cut short: it has no index")
    tail = source.read(source.size - _TAIL, _TAIL)
    size = int.from_bytes(tail[INDEX_CHECK:], "little")
    start = source.size - _TAIL - size
    if start < header_end:
        raise CodecError(f"{source.name} was cut short or is damaged: no index ends it")
    index = source.read(start, size)
    if _check(source.read(0, header_end), index) != tail[:INDEX_CHECK]:
        raise CodecError(f"{source.name} was cut short or is damaged: the SHA-256 of its index is another")
    members = _members(Cursor(index, f"the index of {source.name}"), header_end)
    end = members[-1].position + members[-1].size if members else header_end
    if end != start:
        raise CodecError(
            f"the index of {source.name} is damaged: its members end at byte {end}, and it begins at {start}"
        )
    return members


def _members(cursor: Cursor, position: int) -> list[Member]:
    block_examples = cursor.number(MAX_EXAMPLES)
    found: list[Member] = []
    blocks = 0
    # A member takes five bytes of the index or more, so a hostile count cannot make many of them.
    for _ in range(cursor.number(cursor.left // (1 + BLOCK_CHECK))):
        size, kind = divmod(cursor.number(), 4)
        if kind in (CODED, STORED):
            check, first = cursor.take(BLOCK_CHECK), blocks * block_examples
            found.append(Member(kind, size, check, block_examples, "", position, first, blocks))
            blocks += 1
        elif kind == ATTACHMENT:
            check = cursor.take(ATTACHMENT_CHECK)
            found.append(Member(kind, size, check, name=_name(cursor), position=position))
        else:
            raise CodecError(f"{cursor.what} is damaged: a member of kind {kind}")
        position += size
    last = cursor.number(block_examples)
    cursor.end()
    if (last == 0) != (blocks == 0):
        raise CodecError(f"{cursor.what} is damaged: {blocks} blocks, of which the last holds {last} examples")
    for place, member in reversed(list(enumerate(found))):
        if member.kind != ATTACHMENT:
            found[place] = replace(member, examples=last)
            break
    return found


def _name(cursor: Cursor) -> str:
    try:
        return cursor.take(cursor.number(MAX_NAME)).decode()
    except UnicodeDecodeError as error:
        raise CodecError(f"{cursor.what} is damaged: the name of an attachment is no text") from error


def _check(header: bytes, index: bytes) -> bytes:
    return hashlib.sha256(header + index).digest()[:INDEX_CHECK]

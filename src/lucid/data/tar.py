"""Tar shards: where each member lies, found by reading headers alone. Nothing is ever extracted to disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

__all__ = ["Index", "Member", "members", "name_at", "read_index", "read_member"]

_BLOCK = 512
_END = bytes(_BLOCK)
_WINDOW = 1 << 20  # bytes read at a time while members are small
_LARGE = 1 << 16  # payloads from this size on are passed over, not read
_LONGEST = 1 << 20  # bytes of an extended header, a name and its like
_FOLDER, _EXTENDED, _GLOBAL, _LONG_NAME, _LONG_LINK = 0x35, 0x78, 0x67, 0x4C, 0x4B
_PLAIN = (0, 0x30, 0x37)


class Member(NamedTuple):
    """One file of an archive: its name, and where its bytes are."""

    name: str
    offset: int
    size: int

    @property
    def example(self) -> str:
        """What the members of an example share, by WebDataset's convention: all up to the first dot of the name."""
        folder, line, last = self.name.rpartition("/")
        return folder + line + last.partition(".")[0]

    @property
    def ending(self) -> str:
        """What follows that dot, in lower case."""
        return self.name.rpartition("/")[2].partition(".")[2].lower()


class Index(NamedTuple):
    """Of every example of a shard, where the bytes of x are."""

    offsets: np.ndarray[Any, np.dtype[np.int64]]
    sizes: np.ndarray[Any, np.dtype[np.int64]]


def read_index(path: Path, endings: frozenset[str]) -> Index:
    """Where x of every example lies: the one member of it that has one of the endings.

    Raises:
        ValueError: If the shard is damaged or cut short, or an example has none or several such members.
    """
    where: list[tuple[int, int]] = []
    wanted = " or ".join(f".{ending}" for ending in sorted(endings))
    example, found = "", 1
    for member in members(path):
        if member.example != example:
            _check_one(path, example, wanted, found)
            example, found = member.example, 0
        if member.ending in endings:
            found += 1
            where.append((member.offset, member.size))
    _check_one(path, example, wanted, found)
    offsets, sizes = np.array(where, np.int64).reshape(-1, 2).T
    return Index(offsets, sizes)


def _check_one(path: Path, example: str, wanted: str, found: int) -> None:
    if found != 1:
        raise ValueError(
            f"example {example!r} of the shard {str(path)!r} has {found or 'no'} {wanted} members: each must have one, "
            "beside its other members"
        )


def read_member(file: BinaryIO, path: Path, offset: int, size: int) -> bytes:
    """The bytes of a member.

    Raises:
        ValueError: If the file has become shorter since it was indexed.
    """
    file.seek(offset)
    content = file.read(size)
    if len(content) != size:
        raise ValueError(f"{name_at(path, offset)} was cut short after its header was read")
    return content


def name_at(path: Path, offset: int) -> str:
    """What to call the member whose bytes begin at `offset`, in a message."""
    with path.open("rb") as file:
        file.seek(offset - _BLOCK)
        header = file.read(_BLOCK)
    return f"{_name(header)!r} of the shard {str(path)!r}" if len(header) == _BLOCK else f"the shard {str(path)!r}"


def members(path: Path) -> Iterator[Member]:
    """The files of an archive, in their order. Names that begin with a dot, or with two lines, are passed over.

    Raises:
        ValueError: If a header is damaged, the archive was cut short, or holds something else than files and folders.
    """
    named: str | None = None
    for header, member in _entries(path):
        kind = header[156]
        if kind == _LONG_NAME:
            named = _text(_content(path, member))
        elif kind == _EXTENDED:
            named = _records(path, member).get("path", named)
        elif kind not in (_GLOBAL, _LONG_LINK):
            known = member if named is None else member._replace(name=named)
            named = None
            if kind in _PLAIN and not _is_hidden(known.name):
                yield known
            elif kind not in (*_PLAIN, _FOLDER):
                raise ValueError(
                    f"{known.name!r} of the shard {str(path)!r} is a link or a special file: a shard holds plain files"
                )


def _is_hidden(name: str) -> bool:
    # "._x" is what macOS adds, "__x__" what WebDataset keeps for itself.
    return name.rpartition("/")[2].startswith((".", "__")) or name.endswith("/")


def _entries(path: Path) -> Iterator[tuple[bytes, Member]]:
    """Every header and what it announces. The headers of a window of the file are checked together."""
    with path.open("rb", buffering=0) as file:
        length = os.fstat(file.fileno()).st_size
        window, start, position, amount = b"", 0, 0, _WINDOW
        size_to_come: int | None = None
        found: list[tuple[bytes, Member]] = []
        while True:
            here = position - start
            if here + _BLOCK > len(window):
                yield from _checked(path, found)
                found = []
                file.seek(position)
                window, start, here = file.read(amount), position, 0
            header = window[here : here + _BLOCK]
            if header == _END:
                break
            member = _member(path, header, position, length, found)
            if size_to_come is not None:
                member, size_to_come = member._replace(size=size_to_come), None
            found.append((header, member))
            position = _next(path, member, length, found)
            if header[156] == _EXTENDED:
                size = _records(path, member).get("size")
                size_to_come = None if size is None else int(size)
            amount = _BLOCK if member.size >= _LARGE else _WINDOW
        yield from _checked(path, found)


def _member(path: Path, header: bytes, position: int, length: int, before: list[tuple[bytes, Member]]) -> Member:
    if len(header) < _BLOCK:
        _checked(path, before)
        raise ValueError(
            f"the shard {str(path)!r} was cut short: after {length} bytes it ends without the mark that ends an archive"
        )
    try:
        return Member(_name(header), position + _BLOCK, _number(header[124:136]))
    except ValueError:
        _checked(path, before)
        raise _damaged(path, position) from None


def _next(path: Path, member: Member, length: int, found: list[tuple[bytes, Member]]) -> int:
    """Where the header after a member is."""
    if member.size < 0 or member.offset + member.size > length:
        _checked(path, found)
        raise ValueError(
            f"the shard {str(path)!r} was cut short: {member.name!r} has {member.size} bytes from byte {member.offset} "
            f"on, and the file ends at {length}"
        )
    return member.offset + -(-member.size // _BLOCK) * _BLOCK


def _checked(path: Path, found: list[tuple[bytes, Member]]) -> list[tuple[bytes, Member]]:
    """The same, if every header has the sum of bytes that it announces (its own field counts as eight spaces)."""
    if found:
        numbers = np.frombuffer(b"".join(header for header, _ in found), np.uint8).reshape(-1, _BLOCK)
        sums = numbers.sum(1, dtype=np.int64) - numbers[:, 148:156].sum(1, dtype=np.int64) + 8 * 32
        for (header, member), total in zip(found, sums.tolist(), strict=True):
            try:
                announced = _number(header[148:156])
            except ValueError:
                announced = -1
            if announced != total:
                raise _damaged(path, member.offset - _BLOCK)
    return found


def _damaged(path: Path, position: int) -> ValueError:
    if position == 0:
        return ValueError(f"{str(path)!r} is not an uncompressed tar archive; unpack a compressed one once")
    return ValueError(f"the shard {str(path)!r} is damaged: there is no sound header at byte {position}")


def _number(field: bytes) -> int:
    """Octal digits, or big-endian bytes where the first bit is set."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    return int(field.strip(b" \0") or b"0", 8)


def _name(header: bytes) -> str:
    name = _text(header[:100])
    if header[257:263] == b"ustar\0" and header[345]:
        return f"{_text(header[345:500])}/{name}"
    return name


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")


def _content(path: Path, member: Member) -> bytes:
    if member.size > _LONGEST:
        raise ValueError(f"the shard {str(path)!r} is damaged: a name at byte {member.offset} has {member.size} bytes")
    with path.open("rb") as file:
        return read_member(file, path, member.offset, member.size)


def _records(path: Path, member: Member) -> dict[str, str]:
    """The records of a POSIX extended header: "length key=value" and a line break, one after another."""
    content = _content(path, member)
    records: dict[str, str] = {}
    while content:
        digits, _, _ = content.partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        # One of no length has no line either: it would be read for ever.
        name, line, value = content[len(digits) + 1 : max(0, length - 1)].partition(b"=")
        if not line or (name == b"size" and not value.isdigit()):
            raise ValueError(f"the shard {str(path)!r} is damaged: its extended header at byte {member.offset}")
        records[_text(name)] = _text(value)
        content = content[length:]
    return records

"""What a .lucid file says of its inputs: in its meta, or attached where that is known only at the end."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lucid.codec.container.reader import Reader
from lucid.codec.errors import CodecError
from lucid.codec.inputs.array_files import ArrayEntry
from lucid.codec.inputs.attachments import inflated
from lucid.codec.inputs.images import ImagesEntry
from lucid.codec.inputs.names import check_name
from lucid.codec.inputs.npz import NpzEntry
from lucid.codec.inputs.source import Entry, Source
from lucid.codec.inputs.tables import TableEntry
from lucid.codec.layout import DataLayout
from lucid.io.files import parse_json

__all__ = ["ATTACHED", "entries_of", "listed", "manifest_bytes", "manifest_meta"]

ATTACHED = "inputs"
"""The name of the attachment; those of inputs hold a "/"."""

_LEAST_MOST, _MOST_OF_ONE = 1 << 20, 1 << 13  # bytes of JSON in all, and more for each example and attachment
_KINDS: Mapping[str, Callable[[Mapping[str, Any], DataLayout], Entry]] = {
    "array": ArrayEntry.from_json,
    "images": ImagesEntry.from_json,
    "npz": NpzEntry.from_json,
    "table": TableEntry.from_json,
}


def manifest_meta(sources: Sequence[Source]) -> dict[str, Any]:
    """The meta of a file: `inputs` says all, or is None where an attachment will."""
    # The header holds UTF-8 alone, and the name of a file may be none.
    plain = all(source.name.encode(errors="replace") == source.name.encode(errors="ignore") for source in sources)
    settled = plain and all(source.settled for source in sources)
    return {"inputs": [source.entry().to_json() for source in sources] if settled else None}


def manifest_bytes(entries: Sequence[Entry]) -> bytes:
    """The same as an attachment."""
    text = json.dumps([entry.to_json() for entry in entries], separators=(",", ":"))  # ASCII, whatever the names are
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(text.encode()) + packer.flush()


def entries_of(reader: Reader) -> list[Entry]:
    """The inputs of a file; none if it was not made of any.

    Raises:
        CodecError: If what it says of them cannot be.
    """
    said = _said(reader)
    if not said:
        return []
    data = reader.codec.layout.data
    entries = [_entry(one, data) for one in said]
    if sum(entry.count for entry in entries) != len(reader):
        raise CodecError("the description of the inputs is damaged: it counts other examples than the file holds")
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names):
        raise CodecError("the description of the inputs is damaged: two have one name")
    return entries


def listed(reader: Reader) -> list[str]:
    """The inputs of a file as it names them, for which no codec is needed, and nothing is proven.

    Raises:
        CodecError: If the file is damaged.
    """
    lines: list[str] = []
    for one in _said(reader):
        said: Mapping[str, Any] = one if isinstance(one, dict) else {}
        kind = next((kind for kind in _KINDS if kind in said), "input")
        names, apart = said.get("names"), said.get("apart")
        parts = [str(said.get(kind) or kind)]
        if isinstance(names, list):
            parts.append(f"{len(names):,} images")
        elif isinstance(said.get("count"), int):
            parts.append(f"{said['count']:,} {'rows' if kind == 'table' else 'examples'}")
        if isinstance(apart, list):
            parts.append(f"{len(apart):,} other file{'s' if len(apart) > 1 else ''}")
        # Names are the file's own words: none of them may move a terminal's cursor.
        lines.append("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in ", ".join(parts)))
    return lines


def _said(reader: Reader) -> list[Any]:
    """What the file says of its inputs, as it stands there."""
    said = reader.meta.get("inputs", False) if isinstance(reader.meta, dict) else False
    if said is False:
        return []
    if said is None:
        found = [attachment for attachment in reader.attachments if attachment.name == ATTACHED]
        if not found:
            raise CodecError("the file does not say what its inputs were: it is damaged")
        most = _LEAST_MOST + _MOST_OF_ONE * (len(reader) + len(reader.attachments))
        text = b"".join(inflated(found[0].chunks(), most))
        try:
            said = parse_json(text, "the description of the inputs")
        except ValueError as error:
            raise CodecError(str(error)) from error
    if not isinstance(said, list) or not said:
        raise CodecError("the description of the inputs is damaged: it lists none")
    return said


def _entry(said: object, data: DataLayout) -> Entry:
    kinds = [kind for kind in _KINDS if isinstance(said, dict) and kind in said]
    if not isinstance(said, dict) or len(kinds) != 1:
        raise CodecError(f"the description of the inputs is damaged: an input is {str(said)[:80]!r}")
    entry = _KINDS[kinds[0]](said, data)
    if entry.name or kinds[0] != "images":
        check_name(entry.name)
        if "/" in entry.name:
            raise CodecError(f"the description of the inputs is damaged: the name {entry.name[:80]!r}")
    return entry

"""The header of a safetensors file, checked in every detail before a tensor of it is touched."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor

from lucid.io.files import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["ALIASES", "CHECKSUM", "DTYPES", "MAX_HEADER_BYTES", "Checksum", "Header", "read_header"]

MAX_HEADER_BYTES = 64 * 1024 * 1024
ALIASES = "lucid.aliases"
CHECKSUM = "lucid.sha256"
_DTYPE_NAMES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "C64": "complex64",
    "BOOL": "bool",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
}
DTYPES: dict[str, torch.dtype] = {code: getattr(torch, name) for code, name in _DTYPE_NAMES.items()}
_CODES = {dtype: code for code, dtype in DTYPES.items()}


class Header(NamedTuple):
    """What a file says: its tensors by name, which other names they have, and every text of its header."""

    stored: dict[str, tuple[torch.dtype, torch.Size]]
    aliases: dict[str, str]
    texts: dict[str, str]

    @property
    def checksum(self) -> str | None:
        return self.texts.get(CHECKSUM)

    @property
    def metadata(self) -> dict[str, str]:
        """The texts of whoever wrote the file, without those that `write_tensors` adds."""
        ours = (("format", "pt"), (CHECKSUM, self.checksum))
        return {key: text for key, text in self.texts.items() if key != ALIASES and (key, text) not in ours}


def read_header(path: Path) -> Header:
    """The header of a file.

    Raises:
        ValueError: It is damaged, or the file is not as long as it says.
        OSError: The file cannot be read.
    """
    entries, data_bytes = _header_json(path)
    name = repr(str(path))
    texts: object = entries.pop("__metadata__", None) or {}
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in cast("dict[str, Any]", texts).values()):
        raise ValueError(f"the metadata of {name} is damaged: it should map names to texts")
    found = cast("dict[str, str]", texts)
    stored = _checked_entries(entries, data_bytes, name)
    return Header(stored, _aliases(found.get(ALIASES), stored, name), found)


def _checked_entries(entries: dict[str, Any], data_bytes: int, file: str) -> dict[str, tuple[torch.dtype, torch.Size]]:
    """Dtypes and shapes, once every tensor is known to have its own bytes and every byte to belong to a tensor."""
    stored: dict[str, tuple[torch.dtype, torch.Size]] = {}
    spans: list[tuple[int, int]] = []
    for name, entry in entries.items():
        match entry:
            case {"dtype": str(code), "shape": [*shape], "data_offsets": [int(begin), int(end)]} if (
                code in DTYPES and all(type(length) is int and 0 <= length < 2**63 for length in shape)
            ):
                size = math.prod(shape) * DTYPES[code].itemsize
            case _:
                raise ValueError(f"the header of {file} is damaged: its entry {name[:80]!r} does not describe a tensor")
        if end - begin != size:
            raise ValueError(f"the header of {file} is damaged: {name[:80]!r} needs {size} bytes, not {end - begin}")
        stored[name] = DTYPES[code], torch.Size(shape)
        spans.append((begin, end))
    position = 0
    for begin, end in sorted(spans):
        if begin != position:
            raise ValueError(f"the header of {file} is damaged: its tensors overlap or leave a gap at byte {position}")
        position = end
    if position != data_bytes:
        raise ValueError(
            f"{file} holds {data_bytes} bytes of tensors where its header says {position}: it was cut short or damaged"
        )
    return stored


def _header_json(path: Path) -> tuple[dict[str, Any], int]:
    """The header (8 bytes of little-endian length, then that many of JSON) and the number of bytes after it."""
    name = repr(str(path))
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            raise ValueError(f"{name} holds {size} bytes: it was cut short, or is not a safetensors file")
        length: int = struct.unpack("<Q", start)[0]
        if length > size - 8:
            raise ValueError(
                f"{name} announces a header of {length} bytes and holds {size} in all: it was cut short, or is not a "
                "safetensors file"
            )
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"{name} has a header of {length} bytes; at most {MAX_HEADER_BYTES} are read")
        text = file.read(length)
    if not text.startswith(b"{"):
        raise ValueError(f"{name} is not a safetensors file: its header is not a JSON object")
    found = parse_json(text, f"the header of {name}")
    if not text.rstrip(b" ").endswith(b"}"):
        raise ValueError(f"the header of {name} is damaged: only spaces may follow its JSON")
    return found, size - 8 - length


def _aliases(text: str | None, stored: Mapping[str, object], file: str) -> dict[str, str]:
    if text is None:
        return {}
    name = f"the alias map of {file}"
    found: object = parse_json(text.encode(), name)
    if not isinstance(found, dict):
        raise ValueError(f"{name} must be a JSON object")
    for alias, first in cast("dict[str, object]", found).items():
        if alias in stored or not isinstance(first, str) or first not in stored:
            raise ValueError(f"{name} is damaged: {alias[:80]!r} cannot stand for {str(first)[:80]!r}")
    return cast("dict[str, str]", found)


class Checksum:
    """SHA-256 over what a file says, then the bytes of its tensors in the order of their names.

    What it says is canonical JSON of every stored tensor's dtype and shape and every text of the header but this one.
    Where in the file a tensor lies is left out: whatever lies there must have the right bytes.
    """

    def __init__(self, stored: Mapping[str, tuple[torch.dtype, torch.Size]], texts: Mapping[str, str]) -> None:
        tensors = {name: [_CODES[dtype], list(shape)] for name, (dtype, shape) in stored.items()}
        said = {"tensors": tensors, "texts": {key: text for key, text in texts.items() if key != CHECKSUM}}
        self._hash = hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode())

    def add(self, tensor: Tensor) -> None:
        """Count the bytes of a contiguous tensor in ordinary memory."""
        # A view, not a copy; hashlib lets other threads run meanwhile. A contiguous tensor of one element may have any
        # stride, which a view as bytes would refuse.
        row = tensor.as_strided((tensor.numel(),), (1,))
        self._hash.update(row.view(torch.uint8).numpy().data)

    def digits(self) -> str:
        """The checksum, hexadecimal."""
        return self._hash.hexdigest()

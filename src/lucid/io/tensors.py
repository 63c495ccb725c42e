"""Named tensors in a safetensors file: written whole, checked before anything is allocated, never unpickled."""

from __future__ import annotations

import json
import math
import os
import re
import struct
from typing import TYPE_CHECKING, Any, cast

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from lucid.io.files import parse_json, require_file, whole_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = ["read_metadata", "read_tensors", "tensor_shapes", "write_tensors"]

MAX_HEADER_BYTES = 64 * 1024 * 1024
_ALIASES = "lucid.aliases"
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
_DTYPES: dict[str, torch.dtype] = {code: getattr(torch, name) for code, name in _DTYPE_NAMES.items()}


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named tensors to a safetensors file, whole or not at all.

    Names that stand for the same memory (the same view of one storage: tied weights) are stored once, and
    `read_tensors` gives one tensor back for all of them. Tensors that overlap in any other way are stored apart.
    Values, shapes and dtypes are kept exactly; memory layout (strides) is not.

    Args:
        path: The file; its folder must exist.
        tensors: Dense tensors on any device.
        metadata: Texts to keep in the header; `read_metadata` gives them back.

    Raises:
        TypeError: Something that is not a tensor, or a name or metadata that is not a str.
        ValueError: A tensor the format cannot hold (sparse, quantised, on the meta device, complex128), by name.
        OSError: The file cannot be written.

    Example:
        >>> import os, tempfile, torch
        >>> from lucid.io import read_tensors, write_tensors
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_tensors(os.path.join(folder, "a.safetensors"), {"x": torch.arange(3)})
        ...     read_tensors(os.path.join(folder, "a.safetensors"))
        {'x': tensor([0, 1, 2])}
    """
    for name, tensor in tensors.items():
        _check_storable(name, tensor)
    stored, aliases = _once_each(tensors)
    header = _header_texts(metadata, aliases)
    with whole_file(path) as temporary:
        try:
            safetensors.torch.save_file(stored, temporary, metadata=header)
        except safetensors.SafetensorError as error:
            raise _os_error(error) or ValueError(f"{str(path)!r} could not be written: {error}") from error
        _read_header(temporary)  # what we would refuse to read must not be written either


def _check_storable(name: object, tensor: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"the names of tensors are str; received {name!r}")
    if name == "__metadata__":
        raise ValueError("'__metadata__' is reserved by the safetensors format; give the tensor another name")
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name!r} must be a tensor; received {type(tensor).__name__}")
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise ValueError(f"{name!r} is a sparse or quantised tensor; make it dense before it is written")
    if tensor.is_meta:
        raise ValueError(f"{name!r} is on the meta device, so it has no values to write")
    if tensor.dtype not in _DTYPES.values():
        raise ValueError(
            f"{name!r} has dtype {tensor.dtype}, which the safetensors format cannot hold; convert it first"
        )


def _once_each(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Contiguous tensors in ordinary memory, each view once, and for every further name of a view the first one."""
    stored: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first_names: dict[object, str] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        key = _view_key(tensor) if tensor.numel() else object()
        if key in first_names:
            aliases[name] = first_names[key]
            continue
        first_names[key] = name
        plain = tensor.detach().resolve_conj().resolve_neg().to("cpu").contiguous()
        # The library refuses overlapping tensors; another view of a storage already seen is written as a copy.
        stored[name] = plain.clone() if plain.untyped_storage().data_ptr() in storages else plain
        storages.add(plain.untyped_storage().data_ptr())
    return stored, aliases


def _view_key(tensor: Tensor) -> tuple[object, ...]:
    return (
        *(tensor.device, tensor.dtype, tensor.data_ptr(), tensor.shape, tensor.stride()),
        *(tensor.is_conj(), tensor.is_neg()),
    )


def _header_texts(metadata: Mapping[str, str] | None, aliases: dict[str, str]) -> dict[str, str]:
    texts = {"format": "pt"}  # the mark by which other readers of safetensors know PyTorch's tensors
    for key, text in cast("Mapping[object, object]", metadata or {}).items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"metadata maps str to str; received {key!r}: {text!r}")
        if key == _ALIASES:
            raise ValueError(f"the metadata key {_ALIASES!r} is reserved")
        texts[key] = text
    if aliases:
        texts[_ALIASES] = json.dumps(aliases)
    return texts


def _os_error(error: safetensors.SafetensorError) -> OSError | None:
    """The library reports a full disk as its own kind of error; callers expect an `OSError`."""
    found = re.search(r"os error (\d+)", str(error))
    return OSError(int(found.group(1)), os.strerror(int(found.group(1)))) if found else None


def read_tensors(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> dict[str, Tensor]:
    """Read the tensors of a safetensors file.

    Args:
        path: The file.
        device: Where the tensors go.

    Returns:
        Each name with its tensor, in memory of its own; names written for one tensor get one tensor.

    Raises:
        FileNotFoundError: Nothing is there.
        ValueError: The file is cut short, damaged, too large in its header, or not a safetensors file.
        OSError: The file cannot be read.
    """
    header = _read_header(require_file(path))
    tensors: dict[str, Tensor] = {}
    for name, mapped in _tensors(path, header.shapes):
        # A mapped tensor would change, or kill the process, when the file is overwritten in place.
        moved = mapped.to(device)
        tensors[name] = moved.clone() if moved is mapped else moved
    for name, first in header.aliases.items():
        tensors[name] = tensors[first]
    return tensors


def tensor_shapes(path: str | os.PathLike[str]) -> dict[str, torch.Size]:
    """The shape of every tensor of a safetensors file, from its header alone: no tensor is read or allocated.

    Raises:
        FileNotFoundError, ValueError, OSError: As `read_tensors`.
    """
    header = _read_header(require_file(path))
    return {**header.shapes, **{name: header.shapes[first] for name, first in header.aliases.items()}}


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The texts given to `write_tensors` as `metadata` (and those of another writer), from the header alone.

    Raises:
        FileNotFoundError, ValueError, OSError: As `read_tensors`.
    """
    return _read_header(require_file(path)).metadata


class _Header:
    def __init__(self, shapes: dict[str, torch.Size], aliases: dict[str, str], metadata: dict[str, str]) -> None:
        self.shapes = shapes
        self.aliases = aliases
        self.metadata = metadata


def _read_header(path: Path) -> _Header:
    entries, data_bytes = _header_json(path)
    name = repr(str(path))
    texts: object = entries.pop("__metadata__", None) or {}
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in cast("dict[str, Any]", texts).values()):
        raise ValueError(f"the metadata of {name} is damaged: it should map names to texts")
    metadata = cast("dict[str, str]", texts)
    shapes = _checked_shapes(entries, data_bytes, name)
    aliases = _aliases(metadata.pop(_ALIASES, None), shapes, name)
    return _Header(shapes, aliases, {key: text for key, text in metadata.items() if (key, text) != ("format", "pt")})


def _checked_shapes(entries: dict[str, Any], data_bytes: int, file: str) -> dict[str, torch.Size]:
    """The shapes, once every tensor is known to have its own bytes and every byte to belong to a tensor."""
    shapes: dict[str, torch.Size] = {}
    spans: list[tuple[int, int]] = []
    for name, entry in entries.items():
        match entry:
            case {"dtype": str(code), "shape": [*shape], "data_offsets": [int(begin), int(end)]} if (
                code in _DTYPES and all(type(length) is int and 0 <= length < 2**63 for length in shape)
            ):
                size = math.prod(shape) * _DTYPES[code].itemsize
            case _:
                raise ValueError(f"the header of {file} is damaged: its entry {name[:80]!r} does not describe a tensor")
        if end - begin != size:
            raise ValueError(f"the header of {file} is damaged: {name[:80]!r} needs {size} bytes, not {end - begin}")
        shapes[name] = torch.Size(shape)
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
    return shapes


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
    return parse_json(text, f"the header of {name}"), size - 8 - length


def _tensors(path: str | os.PathLike[str], names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
    try:
        with safetensors.safe_open(str(path), framework="pt", device="cpu") as file:
            for name in names:
                yield name, file.get_tensor(name)
    except (safetensors.SafetensorError, RuntimeError, TypeError) as error:  # what our own checks did not foresee
        raise ValueError(f"{str(path)!r} is damaged or cannot be mapped: {error}") from error


def _aliases(text: str | None, shapes: Mapping[str, torch.Size], file: str) -> dict[str, str]:
    if text is None:
        return {}
    name = f"the alias map of {file}"
    found: object = parse_json(text.encode(), name)
    if not isinstance(found, dict):
        raise ValueError(f"{name} must be a JSON object")
    for alias, first in cast("dict[str, object]", found).items():
        if alias in shapes or not isinstance(first, str) or first not in shapes:
            raise ValueError(f"{name} is damaged: {alias[:80]!r} cannot stand for {str(first)[:80]!r}")
    return cast("dict[str, str]", found)

"""Named tensors in a safetensors file: written whole, checked before anything is allocated, never unpickled."""

from __future__ import annotations

import json
import os
import re
import struct
from typing import TYPE_CHECKING, cast

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from lucid.io.files import require_file, whole_file
from lucid.io.header import ALIASES, CHECKSUM, DTYPES, Checksum, Header, read_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = [
    "UncheckedError",
    "copied",
    "read_metadata",
    "read_tensors",
    "read_verified",
    "tensor_shapes",
    "write_tensors",
]


class UncheckedError(ValueError):
    """A file that carries no checksum, where one is needed."""


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named tensors to a safetensors file, whole or not at all.

    Names that stand for the same memory (the same view of one storage: tied weights) are stored once, and
    `read_tensors` gives one tensor back for all of them. Tensors that overlap in any other way are stored apart.
    Values, shapes and dtypes are kept exactly; memory layout (strides) is not. The header holds a SHA-256 of all that
    the file says (names, dtypes, shapes, metadata, bytes), which every reader here checks; other programs ignore it.

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
    checksum = Checksum({name: (tensor.dtype, tensor.shape) for name, tensor in stored.items()}, header)
    for name in sorted(stored):
        checksum.add(stored[name])
    header[CHECKSUM] = checksum.digits()
    with whole_file(path) as temporary:
        try:
            safetensors.torch.save_file(stored, temporary, metadata=header)
        except safetensors.SafetensorError as error:
            raise _os_error(error) or ValueError(f"{str(path)!r} could not be written: {error}") from error
        _put_in_order(temporary)
        read_header(temporary)  # what we would refuse to read must not be written either


def _put_in_order(file: Path) -> None:
    """The library writes the texts of a header in no order: sorted, the same tensors make the same file."""
    with file.open("r+b") as opened:
        (size,) = struct.unpack("<Q", opened.read(8))
        header = json.loads(opened.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= size:  # else it was escaped in another way, and stays as it is
            opened.seek(8)
            opened.write(text.ljust(size))


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
    if tensor.dtype not in DTYPES.values():
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
        if key in (ALIASES, CHECKSUM):
            raise ValueError(f"the metadata key {key!r} is reserved")
        texts[key] = text
    if aliases:
        texts[ALIASES] = json.dumps(aliases)
    return texts


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy of each tensor in ordinary memory: a snapshot, to be written while the originals change.

    Names that stand for the same memory get one copy, as `write_tensors` would store them.

    Raises:
        TypeError, ValueError: As `write_tensors`.
    """
    copies: dict[object, Tensor] = {}
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        _check_storable(name, tensor)
        key = _view_key(tensor) if tensor.numel() else object()
        if key not in copies:
            plain = tensor.detach().resolve_conj().resolve_neg()
            copies[key] = torch.empty(plain.shape, dtype=plain.dtype, device="cpu").copy_(plain)
        found[name] = copies[key]
    return found


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
        ValueError: The file is cut short, damaged, too large in its header, or not a safetensors file. A file of
            `write_tensors` is checked against its SHA-256; one of another program, or of an older lucid, has none.
        OSError: The file cannot be read.
    """
    return _read(path, device, read_header(require_file(path)))


def read_verified(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file, in memory, and its metadata, known to be what `write_tensors` was given.

    Raises:
        FileNotFoundError, OSError: As `read_tensors`.
        ValueError: As `read_tensors`.
        UncheckedError: The file carries no checksum; it is a `ValueError` too.
    """
    header = read_header(require_file(path))
    if header.checksum is None:
        raise UncheckedError(
            f"{str(path)!r} carries no checksum ({CHECKSUM}): it is damaged, or another program wrote it"
        )
    return _read(path, "cpu", header), header.metadata


def _read(path: str | os.PathLike[str], device: str | torch.device, header: Header) -> dict[str, Tensor]:
    checksum = Checksum(header.stored, header.texts)
    tensors: dict[str, Tensor] = {}
    for name, mapped in _tensors(path, sorted(header.stored)):
        # A mapped tensor would change, or kill the process, when the file is overwritten in place; and what is checked
        # must be what is given.
        plain = mapped.clone()
        if header.checksum is not None:
            checksum.add(plain)
        tensors[name] = plain.to(device)
    if header.checksum not in (None, checksum.digits()):
        raise ValueError(
            f"{str(path)!r} does not have the SHA-256 that it was written with: it is damaged; use another copy of it"
        )
    in_order = {name: tensors[name] for name in header.stored}
    return in_order | {name: tensors[first] for name, first in header.aliases.items()}


def tensor_shapes(path: str | os.PathLike[str]) -> dict[str, torch.Size]:
    """The shape of every tensor of a safetensors file, from its header alone: no tensor is read or allocated.

    Raises:
        FileNotFoundError, ValueError, OSError: As `read_tensors`.
    """
    header = read_header(require_file(path))
    shapes = {name: shape for name, (_, shape) in header.stored.items()}
    return shapes | {name: shapes[first] for name, first in header.aliases.items()}


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The texts given to `write_tensors` as `metadata` (and those of another writer), from the header alone.

    Raises:
        FileNotFoundError, ValueError, OSError: As `read_tensors`.
    """
    return read_header(require_file(path)).metadata


def _tensors(path: str | os.PathLike[str], names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
    try:
        with safetensors.safe_open(str(path), framework="pt", device="cpu") as file:
            for name in names:
                yield name, file.get_tensor(name)
    except (safetensors.SafetensorError, RuntimeError, TypeError) as error:  # what our own checks did not foresee
        raise ValueError(f"{str(path)!r} is damaged or cannot be mapped: {error}") from error

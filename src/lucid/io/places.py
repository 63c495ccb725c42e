"""Where the tensors of a safetensors file lie in it, for data that is read from the file as it is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lucid.io.tensors import tensor_shapes

if TYPE_CHECKING:
    import os

__all__ = ["TensorPlace", "tensor_places"]


class TensorPlace(NamedTuple):
    """One tensor's place.

    Attributes:
        offset: Of its first byte in the file.
        dtype: The format's own code: "F32", "U8", "BF16", ….
        shape: Its sizes; the values lie in C order, little-endian.
    """

    offset: int
    dtype: str
    shape: tuple[int, ...]


def tensor_places(path: str | os.PathLike[str]) -> dict[str, TensorPlace]:
    """Where every tensor of a safetensors file lies, from its header alone. Its checksum, if any, is not checked.

    Raises:
        FileNotFoundError, ValueError, OSError: As `read_tensors`.
    """
    shapes = tensor_shapes(path)  # which checks the header, so that it need only be read here
    with Path(path).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entries: dict[str, Any] = json.loads(file.read(length))
    texts = entries.pop("__metadata__", None) or {}
    aliases: dict[str, str] = json.loads(texts.get("lucid.aliases", "{}"))
    places: dict[str, TensorPlace] = {}
    for name, shape in shapes.items():
        entry = entries[aliases.get(name, name)]
        places[name] = TensorPlace(8 + length + entry["data_offsets"][0], entry["dtype"], tuple(shape))
    return places

"""What a codec is, and what a .lucid file holds, in words."""

from __future__ import annotations

import math
from pathlib import Path

from lucid import codec
from lucid.cli.errors import UsageError
from lucid.codec import Codec, Reader
from lucid.codec.inputs import listed, protocol_of

__all__ = ["described_codec", "described_file", "open_codec", "require_lucid_file"]

_BEGINNINGS = ((b"\x89Luc", "a .lucid file"), (b"\x93NUMPY", "a .npy file"), (b"PK", "a .npz or .zip file"))

_MOST_LISTED = 10


def open_codec(path: str | Path) -> Codec:
    """A codec, by its path.

    Raises:
        UsageError: Another kind of file was given in its place.
        FileNotFoundError, ValueError: As `codec.load`.
    """
    kind = _kind(path)
    if kind is not None and kind != "a codec":
        raise UsageError(f"{path} is {kind}, not a codec: give the .codec file that `lucid freeze` wrote")
    return codec.load(path)


def require_lucid_file(path: str | Path) -> None:
    """Refuse another kind of file by its name.

    Raises:
        UsageError: If it is a codec or an array.
    """
    kind = _kind(path)
    if kind is not None and kind != "a .lucid file":
        raise UsageError(f"{path} is {kind}, not a .lucid file: give the file that `lucid compress` wrote")


def _kind(path: str | Path) -> str | None:
    """What a file is, by how it begins; None where that says nothing, or nothing is there."""
    if not Path(path).is_file():
        return None
    with Path(path).open("rb") as file:
        start = file.read(9)
    if start[8:] == b"{":  # the size of the header, then the header
        return "a codec"
    return next((kind for beginning, kind in _BEGINNINGS if start.startswith(beginning)), None)


def described_codec(frozen: Codec) -> dict[str, str]:
    """What a codec codes, under what, and how it is known to be exact."""
    layout = frozen.layout
    protocol = protocol_of(layout.data)
    levels = f", {layout.data.levels} levels" if layout.data.levels else ""
    shape = "×".join(str(n) for n in layout.data.shape)
    numbers = sum(math.prod(latent.shape) for latent in layout.latents)
    depth, bits = len(layout.latents), math.ceil(max(frozen.network.proof().values()))
    return {
        "identity": frozen.identity,
        "codes": f"examples of {shape}{levels}, under a {layout.likelihood.kind} likelihood",
        "data": "not declared" if protocol is None else protocol.describe(),
        "latents": f"{numbers:,} in {depth} level{'s' if depth > 1 else ''}",
        "exactness": f"no sum exceeds 2^{bits}, proven; up to 2^53 each is exact",
    }


def described_file(path: Path) -> dict[str, str]:
    """What a .lucid file holds, or what a codec is.

    Raises:
        CodecError: If it is neither, or damaged.
    """
    is_codec = _kind(path) != "a .lucid file"
    size = f"{path.stat().st_size:,} bytes"
    if is_codec:
        return {"codec": f"{path}, {size}"} | described_codec(open_codec(path))
    with Reader(path) as reader:
        indexed = reader.check()
        info = reader.info()
        blocks = info.coded_blocks + info.stored_blocks
        stored = f", {info.stored_blocks} of them stored, shorter without the model" if info.stored_blocks else ""
        where = f"in the file, {info.codec_bytes:,} bytes" if info.codec_bytes else "not in the file: keep it"
        lines = {
            "file": f"{path}, {size}",
            "codec": f"{info.codec_id}…, {where}",
            "examples": f"{info.num_examples:,}",
            "blocks": f"{blocks:,}, {info.block_bytes:,} bytes{stored}",
            "checked": "every block has its SHA-256" if indexed else "its one block is checked when it is decompressed",
        }
        inputs = listed(reader)
        if inputs:
            lines["inputs"] = "; ".join(inputs[:_MOST_LISTED])
            lines["inputs"] += f"; and {len(inputs) - _MOST_LISTED} more" if len(inputs) > _MOST_LISTED else ""
    return lines

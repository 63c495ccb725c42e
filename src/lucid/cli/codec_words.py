"""What a codec is, and what a .lucid file holds, in words."""

from __future__ import annotations

import math
from pathlib import Path

from lucid import codec
from lucid.codec import Codec, Reader
from lucid.codec.inputs import listed, protocol_of

__all__ = ["described_codec", "described_file"]

_MOST_LISTED = 10


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
    with path.open("rb") as file:
        is_codec = file.read(1) != b"\x89"
    size = f"{path.stat().st_size:,} bytes"
    if is_codec:
        return {"codec": f"{path}, {size}"} | described_codec(codec.load(path))
    with Reader(path) as reader:
        info = reader.info()
        blocks = info.coded_blocks + info.stored_blocks
        stored = f", {info.stored_blocks} of them stored, shorter without the model" if info.stored_blocks else ""
        where = f"in the file, {info.codec_bytes:,} bytes" if info.codec_bytes else "not in the file: keep it"
        lines = {
            "file": f"{path}, {size}",
            "codec": f"{info.codec_id}…, {where}",
            "examples": f"{info.num_examples:,}",
            "blocks": f"{blocks:,}, {info.block_bytes:,} bytes{stored}",
        }
        inputs = listed(reader)
        if inputs:
            lines["inputs"] = "; ".join(inputs[:_MOST_LISTED])
            lines["inputs"] += f"; and {len(inputs) - _MOST_LISTED} more" if len(inputs) > _MOST_LISTED else ""
    return lines

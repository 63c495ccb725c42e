"""Inputs of any kind into one .lucid file, a few examples at a time."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lucid.codec.container.blocks import BlockCodec
from lucid.codec.container.reader import Reader
from lucid.codec.container.writer import Writer
from lucid.codec.inputs.manifest import ATTACHED, manifest_bytes, manifest_meta
from lucid.codec.inputs.opening import open_inputs

__all__ = ["Packed", "pack"]


@dataclass(frozen=True)
class Packed:
    """What became of the inputs.

    Attributes:
        num_examples: That were coded.
        num_features: Numbers in one example.
        input_bytes: Of the inputs where they lie.
        file_bytes: Of the file.
        block_bytes: Of its blocks alone.
        codec_bytes: Of the codec that travels with it.
        coded_blocks: Blocks that the model coded.
        stored_blocks: Blocks that were shorter without it.
        attached: Files and arrays that came along as they were.
        inputs: Each in one line.
        notes: What a person should know.
    """

    num_examples: int
    num_features: int
    input_bytes: int
    file_bytes: int
    block_bytes: int
    codec_bytes: int
    coded_blocks: int
    stored_blocks: int
    attached: int
    inputs: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def bits_per_dim(self) -> float | None:
        """Bits of the blocks for each number; None if there are none."""
        numbers = self.num_examples * self.num_features
        return 8 * self.block_bytes / numbers if numbers else None


def pack(
    codec: BlockCodec,
    inputs: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    block_examples: int | None = None,
    workers: int = 1,
    embed: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> Packed:
    """Compress files, folders and data sets into one file, which `unpack` opens again.

    What comes back: of arrays the same values, types and shapes; of folders of images the same pixels, names and
    modes, as PNG, and every other file as it was; of tables the same columns, types and values, in .csv the very cells.

    Args:
        codec: Codes them.
        inputs: .npy, .npz, idx, .csv and .parquet files, folders of images, images; or data sets by name, such as
            "mnist:test". They must have different names.
        out: The file to write; nothing may be there.
        block_examples: Examples in a block; None lets the codec decide.
        workers: Processes that code blocks.
        embed: Whether the codec travels with the file.
        progress: Called as `progress(examples done, examples at most)`.

    Raises:
        FileExistsError: If something is there already.
        FileNotFoundError: If an input, or the folder above `out`, is not there.
        ValueError: If an input does not fit the model, with the rule, the value and the remedy.
        OSError: If the file cannot be written.
    """
    target = Path(out)
    if target.exists():
        raise FileExistsError(f"{str(target)!r} is there already: name a new file, or remove it")
    if not target.absolute().parent.is_dir():
        raise FileNotFoundError(f"cannot write {str(target)!r}: there is no folder {str(target.absolute().parent)!r}")
    if not inputs:
        raise ValueError("there is nothing to compress: name a file, a folder or a data set")
    data = codec.layout.data
    sources = open_inputs([os.fspath(name) for name in inputs], data)
    total = sum(source.total for source in sources)

    def tell(done: int, _: int | None) -> None:
        if progress is not None:
            progress(done, total)

    meta = manifest_meta(sources)
    with Writer(
        target, codec, meta=meta, block_examples=block_examples, workers=workers, embed=embed, progress=tell
    ) as writer:
        for source in sources:
            for levels in source.chunks():
                writer.add(levels)
        for source in sources:
            for name, content in source.attachments():
                writer.attach(name, content)
        entries = [source.entry() for source in sources]
        if meta["inputs"] is None:
            writer.attach(ATTACHED, _once(manifest_bytes(entries)))
    with Reader(target, codec) as reader:
        info = reader.info()
    return Packed(
        num_examples=info.num_examples,
        num_features=math.prod(data.shape),
        input_bytes=sum(source.num_bytes for source in sources),
        file_bytes=info.file_bytes,
        block_bytes=info.block_bytes,
        codec_bytes=info.codec_bytes,
        coded_blocks=info.coded_blocks,
        stored_blocks=info.stored_blocks,
        attached=sum(entry.num_attached for entry in entries),
        inputs=tuple(entry.describe() for entry in entries),
        notes=tuple(source.note for source in sources if source.note),
    )


def _once(content: bytes) -> Iterator[bytes]:
    yield content

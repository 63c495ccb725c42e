"""`lucid compress`."""

from __future__ import annotations

import argparse

from lucid.cli.codec_words import open_codec
from lucid.cli.errors import UsageError
from lucid.cli.shown import Shown
from lucid.codec.inputs import Packed, pack

__all__ = ["compress"]


def compress(args: argparse.Namespace) -> int:
    """Compress files, folders and data sets into one file."""
    for option, value in (("--workers", args.workers), ("--block-size", args.block_size)):
        if value is not None and value < 1:
            raise UsageError(f"{option} must be at least 1; received {value}")
    frozen = open_codec(args.codec)
    with Shown("compressing") as bar:
        packed = pack(
            frozen,
            args.inputs,
            args.out,
            block_examples=args.block_size,
            workers=args.workers,
            embed=args.embed,
            progress=bar.update,
        )
    for line in (*packed.notes, *packed.inputs):
        print(line)
    print(f"{args.out}: {_summary(packed)}")
    return 0


def _summary(packed: Packed) -> str:
    ratio = packed.input_bytes / packed.file_bytes
    told = f"{ratio:.2f} times smaller" if ratio >= 1 else f"{1 / ratio:.2f} times larger"
    codec_bytes = f", {packed.codec_bytes:,} of them the codec" if packed.codec_bytes else ""
    parts = [f"{packed.file_bytes:,} bytes from {packed.input_bytes:,}, {told}{codec_bytes}"]
    if packed.bits_per_dim is not None:
        parts.append(f"{packed.bits_per_dim:.3f} bits/dim")
    if packed.stored_blocks and packed.num_examples:  # of no examples, the one block says that there are none
        blocks = packed.coded_blocks + packed.stored_blocks
        parts.append(f"{packed.stored_blocks} of {blocks} blocks stored, shorter without the model")
    if packed.attached:
        parts.append(f"kept as they were: {packed.attached:,}")
    return "; ".join(parts)

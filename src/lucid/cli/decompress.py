"""`lucid decompress`."""

from __future__ import annotations

import argparse

from lucid import codec
from lucid.cli.codec_words import open_codec, require_lucid_file
from lucid.cli.errors import UsageError
from lucid.cli.shown import Shown
from lucid.codec.inputs import unpack

__all__ = ["decompress"]


def decompress(args: argparse.Namespace) -> int:
    """Write again what was compressed, exactly, or nothing."""
    if args.workers < 1:
        raise UsageError(f"--workers must be at least 1; received {args.workers}")
    examples = None if args.examples is None else _span(args.examples)
    require_lucid_file(args.file)
    with codec.Reader(args.file) as reader:
        info = reader.info()
    if examples is not None and examples[1] > info.num_examples:
        raise UsageError(f"--examples {args.examples}: {args.file} holds the examples 0:{info.num_examples}")
    if args.codec is None and not info.codec_bytes:
        raise UsageError(
            f"{args.file} was made by the codec {info.codec_id}… and does not carry it: give it, --codec CODEC"
        )
    frozen = None if args.codec is None else open_codec(args.codec)
    with Shown("decompressing") as bar:
        unpacked = unpack(
            args.file, args.out, codec=frozen, examples=examples, workers=args.workers, progress=bar.update
        )
    for line in unpacked.inputs:
        print(line)
    print(f"{unpacked.num_examples:,} examples, each as it was: {unpacked.target}")
    return 0


def _span(said: str) -> tuple[int, int]:
    """What --examples says: A:B, the first and the one after the last."""
    first, colon, last = said.partition(":")
    if not (colon and first.isdecimal() and last.isdecimal() and int(first) < int(last)):
        raise UsageError(f"--examples takes A:B, the examples A … B − 1, for instance 0:100; received {said!r}")
    return int(first), int(last)

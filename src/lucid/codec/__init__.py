"""Lossless compression with a trained model: what a bound promises in nats, a file holds in bytes."""

from __future__ import annotations

from lucid.codec.codec import Codec, decompress, load
from lucid.codec.container.reader import Attachment, FileInfo, Reader
from lucid.codec.container.writer import Writer
from lucid.codec.errors import CodecError
from lucid.codec.freeze import freeze
from lucid.codec.rate import Bound, Rate

__all__ = [
    "Attachment",
    "Bound",
    "Codec",
    "CodecError",
    "FileInfo",
    "Rate",
    "Reader",
    "Writer",
    "decompress",
    "freeze",
    "load",
]

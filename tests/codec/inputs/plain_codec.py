"""Codecs without a model, of data prepared in this way or that: inputs go in and out, and nothing is trained."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import pandas as pd
from tests.codec.standin import Deflate

from lucid import data, io
from lucid.codec.layout import DataLayout, Described, Layout
from lucid.models import DataProtocol


@dataclass(frozen=True)
class PlainCodec:
    """What the container needs, around deflate."""

    data: DataLayout

    @property
    def identity(self) -> str:
        return hashlib.sha256(repr(self.data).encode()).hexdigest()

    @property
    def layout(self) -> Layout:
        return Layout((), (), (), Described("none"), self.data)

    @property
    def coder(self) -> Deflate:
        return Deflate(self.data)

    def to_bytes(self) -> bytes:
        raise AssertionError("nothing here is embedded")


def prepared(protocol: DataProtocol) -> PlainCodec:
    """A codec of data prepared like this, described as `lucid.codec.freeze` does it."""
    return PlainCodec(DataLayout(protocol.shape, protocol.model_levels, io.describe(protocol)))


def images(levels: int | None = 256, channels: int = 1, size: tuple[int, int] = (8, 6), **more: Any) -> PlainCodec:
    """Of images."""
    return prepared(DataProtocol("pictures", "image", (channels, *size), levels=levels, **more))


def table(frame: pd.DataFrame, **options: Any) -> PlainCodec:
    """Of tables like this one."""
    return prepared(data.load(frame, **options).protocol)

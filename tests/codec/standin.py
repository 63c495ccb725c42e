"""A codec without a model, for the tests of the container: deflate in the place of bits back."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass

import torch
from torch import Tensor

from lucid.codec.container.blocks import content, from_content
from lucid.codec.errors import CodecError
from lucid.codec.layout import DataLayout, Described, Layout

_SEED = 12


@dataclass
class Deflate:
    """Payloads of a seed and deflated levels; `waste` makes it as bad as a model of other data."""

    data: DataLayout
    waste: int = 0

    def encode(self, levels: Tensor, digest: bytes) -> bytes:
        return digest[:_SEED] + bytes(self.waste) + zlib.compress(content(levels, self.data))

    def decode(self, payload: bytes, n: int) -> tuple[Tensor, bytes]:
        size = n * torch.Size(self.data.shape).numel() * (1 if (self.data.levels or 257) <= 256 else 8)
        opener = zlib.decompressobj()
        try:
            body = opener.decompress(payload[_SEED + self.waste :], size + 1)
        except zlib.error as error:
            raise CodecError(f"a block is damaged: {error}") from error
        if len(body) != size or not opener.eof or opener.unused_data:
            raise CodecError("a block is damaged: another number of values")
        levels = from_content(body, self.data)
        if self.encode(levels, payload) != payload:
            raise CodecError("a block is damaged: the same levels in other bytes")
        return levels, payload[:_SEED]


@dataclass
class StandIn:
    """What the container asks of a codec."""

    shape: tuple[int, ...] = (3, 4)
    levels: int | None = 17
    name: str = "stand-in"
    waste: int = 0

    @property
    def layout(self) -> Layout:
        return Layout((), (), (), Described("none"), DataLayout(self.shape, self.levels))

    @property
    def coder(self) -> Deflate:
        return Deflate(self.layout.data, self.waste)

    @property
    def identity(self) -> str:
        return hashlib.sha256(f"{self.name} {self.shape} {self.levels}".encode()).hexdigest()

    def to_bytes(self) -> bytes:
        return self.name.encode()

    def examples(self, n: int, seed: int = 0) -> Tensor:
        """Examples that deflate to less than their bits."""
        noise = torch.rand(n, *self.shape, generator=torch.Generator().manual_seed(seed))
        return ((noise**6) * (self.levels or 1000)).long()

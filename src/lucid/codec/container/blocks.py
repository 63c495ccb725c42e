"""One block: examples to bytes and back, proven by the hash of what they say.

The hash covers the codec, what the file says of itself, the number of the block and the examples. Bits back needs some
bits to begin with, and the entropy coder begins on those of the hash: a block that decodes to anything else than what
was written gives back other bits. So the check costs nothing.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lucid.codec.coding.stack import seed_bytes
from lucid.codec.container import stored
from lucid.codec.errors import CodecError
from lucid.codec.layout import DataLayout, Layout

__all__ = [
    "CODED",
    "MAX_EXAMPLES",
    "STORED",
    "BlockCodec",
    "Coder",
    "content",
    "decode",
    "encode",
    "from_content",
    "is_small",
    "most_examples",
    "salt_of",
]

CODED, STORED = 0, 1
MAX_EXAMPLES = 1 << 20
_MAX_NUMBERS = 1 << 24
_CHECK_BYTES = 8
_LEAST_SEED = 12


class Coder(Protocol):
    """What a block needs of an entropy coder under a model."""

    def encode(self, levels: Tensor, digest: bytes) -> bytes:
        """Examples, integers (n, *shape), n ≥ 1, as a payload that begins on bytes made of the digest."""
        ...

    def decode(self, payload: bytes, n: int) -> tuple[Tensor, bytes]:
        """The examples of a payload, and the bytes it began on.

        Raises:
            CodecError: It holds no n examples.
        """
        ...


class BlockCodec(Protocol):
    """What the container needs of a codec."""

    @property
    def identity(self) -> str:
        """SHA-256 of all it is, hexadecimal."""
        ...

    @property
    def layout(self) -> Layout:
        """What it codes."""
        ...

    @property
    def coder(self) -> Coder:
        """It codes."""
        ...

    def to_bytes(self) -> bytes:
        """The codec as a file."""
        ...


def encode(codec: BlockCodec, salt: bytes, number: int, levels: Tensor) -> tuple[int, bytes]:
    """A block of a file, coded, or stored where that is shorter.

    Args:
        codec: Codes it.
        salt: Of the file: what `salt_of` says.
        number: Of the block.
        levels: (n, *shape), int64, or uint8 where `is_small`.

    Returns:
        `CODED` or `STORED`, and its bytes.
    """
    digest = _digest(salt, number, levels, codec.layout.data)
    coded = codec.coder.encode(levels, digest) if len(levels) else None
    if coded is not None and not stored.likely_shorter(levels, len(coded)):
        return CODED, coded
    plain = stored.pack(levels)
    plain += _stored_check(digest, plain)
    return (CODED, coded) if coded is not None and len(coded) <= len(plain) else (STORED, plain)


def decode(codec: BlockCodec, salt: bytes, number: int, kind: int, payload: bytes, num_examples: int) -> Tensor:
    """The examples of a block, int64 (n, *shape), known to be those that were written.

    Raises:
        CodecError: They are not.
    """
    data = codec.layout.data
    shape = (num_examples, *data.shape)
    if num_examples > most_examples(data):
        raise CodecError(f"block {number} is damaged: it says that it holds {num_examples:,} examples")
    if kind == STORED:
        levels = stored.unpack(payload[:-_CHECK_BYTES], shape)
        check = _stored_check(_digest(salt, number, levels, data), payload[:-_CHECK_BYTES])
        sound = check == payload[-_CHECK_BYTES:]
    else:
        if not num_examples:
            raise CodecError(f"block {number} is damaged: it is coded and holds no examples")
        levels, seed = codec.coder.decode(payload, num_examples)
        sound = len(seed) >= _LEAST_SEED and seed_bytes(_digest(salt, number, levels, data), len(seed)) == seed
    if not sound:
        raise CodecError(
            f"block {number} is damaged, or was made by another codec: what it decodes to does not have the SHA-256 "
            "that it was written with"
        )
    return levels


def most_examples(data: DataLayout) -> int:
    """The most examples that a block may hold, which bounds what a hostile one can ask for."""
    return max(1, min(MAX_EXAMPLES, _MAX_NUMBERS // max(1, torch.Size(data.shape).numel())))


def content(levels: Tensor, data: DataLayout) -> bytes:
    """Examples as bytes, as they are hashed: one byte for each value where that is enough, else eight."""
    values = levels.numpy()
    return values.astype(np.uint8 if is_small(data) else "<i8", copy=False).tobytes()


def from_content(body: bytes, data: DataLayout) -> Tensor:
    """The inverse of `content`, int64 (n, *shape)."""
    values = np.frombuffer(body, dtype=np.uint8 if is_small(data) else "<i8").astype(np.int64)
    return torch.from_numpy(values).reshape(-1, *data.shape)


def salt_of(identity: str, form: bytes, meta: bytes) -> bytes:
    """What the hash of every block of a file begins with."""
    return hashlib.sha256(b"lucid file 1" + bytes.fromhex(identity) + form + hashlib.sha256(meta).digest()).digest()


def _digest(salt: bytes, number: int, levels: Tensor, data: DataLayout) -> bytes:
    start = salt + number.to_bytes(8, "little") + len(levels).to_bytes(8, "little")
    hashed = hashlib.sha256(start)
    hashed.update(content(levels, data))
    return hashed.digest()


def _stored_check(digest: bytes, payload: bytes) -> bytes:
    return hashlib.sha256(digest + payload).digest()[:_CHECK_BYTES]


def is_small(data: DataLayout) -> bool:
    """Whether a byte holds every level."""
    return data.levels is not None and data.levels <= 256

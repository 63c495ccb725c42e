"""Reading a .lucid file: what it says of itself, any of its examples, all of them block by block."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from lucid.codec.container.blocks import CODED, MAX_EXAMPLES, STORED, BlockCodec, salt_of
from lucid.codec.container.header import Header, read_header
from lucid.codec.container.index import ATTACHMENT, Member, block_check, read_index
from lucid.codec.container.numbers import Cursor
from lucid.codec.container.pool import Pool
from lucid.codec.container.source import Source
from lucid.codec.errors import CodecError

__all__ = ["Attachment", "FileInfo", "Reader"]

_PIECE = 1 << 20


@dataclass(frozen=True)
class FileInfo:
    """What a file says of itself, without a codec.

    Attributes:
        num_examples: In all blocks.
        file_bytes: Its size.
        coded_blocks: Blocks that the model coded.
        stored_blocks: Blocks that were shorter without it.
        block_bytes: Of all blocks.
        attachment_bytes: Of all attachments.
        codec_bytes: Of the codec that travels with the file; 0 if none does.
        codec_id: The first 8 digits of the identity of the codec that it needs.
        attachments: Their names.
    """

    num_examples: int
    file_bytes: int
    coded_blocks: int
    stored_blocks: int
    block_bytes: int
    attachment_bytes: int
    codec_bytes: int
    codec_id: str
    attachments: tuple[str, ...]


class Attachment:
    """Bytes that were kept as they were.

    Attributes:
        name: What they are called.
        size: How many they are.
    """

    def __init__(self, source: Source, member: Member) -> None:
        self._source, self._member = source, member
        self.name, self.size = member.name, member.size

    def chunks(self) -> Iterator[bytes]:
        """The bytes, in pieces. They are known to be whole only once the last has come.

        Raises:
            CodecError: They are damaged.
        """
        hashed = hashlib.sha256()
        for start in range(0, self.size, _PIECE):
            piece = self._source.read(self._member.position + start, min(_PIECE, self.size - start))
            hashed.update(piece)
            yield piece
        if not hashed.digest().startswith(self._member.check):
            raise CodecError(f"the attachment {self.name!r} is damaged: its SHA-256 is another")

    def read(self) -> bytes:
        """All of the bytes.

        Raises:
            CodecError: They are damaged.
        """
        return b"".join(self.chunks())


class Reader:
    r"""A .lucid file.

    Whatever it gives is what was written, proven by SHA-256; anything else is a `CodecError`.

    Args:
        origin: Its path or its bytes.
        codec: The codec that made it. None takes the one that travels with the file, if one does; what the file says
            of itself can be read without.

    Raises:
        FileNotFoundError: Nothing is there.
        CodecError: It is no .lucid file, damaged, or was made by another codec.

    Attributes:
        meta: What `Writer` was given.
        form: What array the examples were; of use to `Codec`.
        attachments: The attachments, in order.

    Example:
        >>> from lucid.codec import Reader
        >>> Reader(b"something else")
        Traceback (most recent call last):
        ...
        lucid.codec.errors.CodecError: the input is not a .lucid file: it begins with b'some', not b'\x89Luc'
    """

    def __init__(
        self, origin: str | os.PathLike[str] | bytes | bytearray | memoryview, codec: BlockCodec | None = None
    ) -> None:
        self._source = Source(origin)
        try:
            self._header, end = read_header(self._source)
            members = read_index(self._source, end) if self._header.indexed else [_only_block(self._source, end)]
            self._codec = codec
            if codec is not None:
                _check_codec(self._header, codec, self._source.name)
        except BaseException:
            self._source.close()
            raise
        self._blocks = [member for member in members if member.kind != ATTACHMENT]
        self.meta: Any = self._header.meta
        self.form = self._header.form
        self.attachments: Sequence[Attachment] = tuple(
            Attachment(self._source, member) for member in members if member.kind == ATTACHMENT
        )
        self._num_examples = self._blocks[-1].first + self._blocks[-1].examples if self._blocks else 0

    def __len__(self) -> int:
        return self._num_examples

    @property
    def codec(self) -> BlockCodec:
        """The codec: the one given, or the one that travels with the file.

        Raises:
            CodecError: There is none, or it is damaged or another than the file was made with.
        """
        if self._codec is None:
            if self._header.embedded is None:
                raise CodecError(
                    f"{self._source.name} can be opened by the codec {self._header.codec_id.hex()}… alone, and carries "
                    "none: give the one that it was made with"
                )
            from lucid.codec.codec import Codec  # which itself reads and writes files

            codec = Codec.from_bytes(self._header.codec_bytes())
            _check_codec(self._header, codec, self._source.name)
            self._codec = codec
        return self._codec

    def info(self) -> FileInfo:
        """What the file says of itself; no codec is needed."""
        return FileInfo(
            num_examples=len(self),
            file_bytes=self._source.size,
            coded_blocks=sum(block.kind == CODED for block in self._blocks),
            stored_blocks=sum(block.kind == STORED for block in self._blocks),
            block_bytes=sum(block.size for block in self._blocks),
            attachment_bytes=sum(attachment.size for attachment in self.attachments),
            codec_bytes=len(self._header.embedded or b""),
            codec_id=self._header.codec_id.hex(),
            attachments=tuple(attachment.name for attachment in self.attachments),
        )

    def check(self) -> bool:
        """Hold every block and attachment against its SHA-256 in the index; no codec is needed.

        Returns:
            Whether the file has an index. One of a single block has none: only its codec can tell that it is whole.

        Raises:
            CodecError: One is damaged.
        """
        for block in self._blocks:
            self._payload(block)
        for attachment in self.attachments:
            for _ in attachment.chunks():
                pass
        return self._header.indexed

    def examples(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Some of the examples, all in memory at once; `blocks` gives them block by block.

        Args:
            start: The first.
            stop: The one after the last; None means to the end.

        Returns:
            Levels, int64 (stop − start, ...).

        Raises:
            ValueError: The file does not hold them.
            CodecError: A block is damaged.
        """
        blocks = self.blocks(start, stop)
        return torch.cat([torch.empty(0, *self.codec.layout.data.shape, dtype=torch.int64), *blocks])

    def blocks(
        self,
        start: int = 0,
        stop: int | None = None,
        *,
        workers: int = 1,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> Iterator[Tensor]:
        """The examples, or some of them, block by block, in order; only the blocks that hold them are decoded.

        Args:
            start: The first.
            stop: The one after the last; None means to the end.
            workers: Processes that decode.
            progress: Called as `progress(examples done, examples wanted)` after each block.

        Returns:
            Levels, int64 (n, ...), each block once it is known to be what was written.

        Raises:
            ValueError: The file does not hold them.
            CodecError: A block is damaged; raised when its turn comes.
        """
        stop = len(self) if stop is None else stop
        if not 0 <= start <= stop <= len(self):
            raise ValueError(f"examples must be within 0 … {len(self)}, in order; received {start} … {stop}")
        return self._range(start, stop, workers, progress)

    def _range(
        self, start: int, stop: int, workers: int, progress: Callable[[int, int | None], None] | None
    ) -> Iterator[Tensor]:
        # Of a file of no examples, the block that says so.
        wanted = [b for b in self._blocks if (b.first < stop and b.first + b.examples > start) or not len(self)]
        done = 0
        for block, levels in zip(wanted, self._decoded(wanted, workers), strict=True):
            inside = levels[max(0, start - block.first) : stop - block.first]
            yield inside
            done += len(inside)
            if progress is not None:
                progress(done, stop - start)

    def _decoded(self, blocks: Sequence[Member], workers: int) -> Iterator[Tensor]:
        codec = self.codec
        salt = salt_of(codec.identity, self._header.form, self._header.meta_bytes)
        with Pool(codec, salt, max(1, min(workers, len(blocks))) if workers > 1 else workers) as pool:
            under_way: deque[Future[Tensor]] = deque()
            for block in blocks:
                under_way.append(pool.decode(block.number, block.kind, self._payload(block), block.examples))
                if pool.workers == 1 or len(under_way) > pool.workers:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()

    def _payload(self, block: Member) -> bytes:
        payload = self._source.read(block.position, block.size)
        if block.check and block_check(payload) != block.check:
            raise CodecError(f"block {block.number} of {self._source.name} is damaged: its SHA-256 is another")
        return payload

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _only_block(source: Source, position: int) -> Member:
    """The block of a file without an index."""
    cursor = Cursor(source.read(position, min(9, source.size - position)), f"the header of {source.name}")
    examples, kind = divmod(cursor.number(), 2)
    if examples > MAX_EXAMPLES:
        raise CodecError(f"the header of {source.name} is damaged: it says {examples} examples")
    position += cursor.position
    return Member(kind, source.size - position, b"", examples, position=position)


def _check_codec(header: Header, codec: BlockCodec, name: str) -> None:
    if not bytes.fromhex(codec.identity).startswith(header.codec_id):
        raise CodecError(
            f"{name} was made by the codec {header.codec_id.hex()}…; received the codec {codec.identity[:8]}…. Each "
            "opens its own files alone"
        )

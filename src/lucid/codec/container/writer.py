"""Writing a .lucid file: examples come in pieces of any size, blocks go out; nothing is kept but the block in work."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import ExitStack
from types import TracebackType
from typing import Any, BinaryIO, Self

import torch
from torch import Tensor

from lucid.codec.container.blocks import BlockCodec, is_small, most_examples, salt_of
from lucid.codec.container.header import Header
from lucid.codec.container.index import ATTACHMENT, ATTACHMENT_CHECK, MAX_NAME, Member, block_check, index_bytes
from lucid.codec.container.numbers import varint
from lucid.codec.container.pool import Coded, Pool
from lucid.codec.layout import MOST_COUNT, DataLayout
from lucid.io.files import whole_file

__all__ = ["Writer"]

_BLOCK_NUMBERS = 1 << 22
_MOST_BLOCK_EXAMPLES = 1 << 14


class Writer:
    """A .lucid file in the making.

    A file at a path appears under its name when the block of `with` ends well, whole; until then, and for ever if it
    ends otherwise, whatever was there before stays. One block without attachments is written without an index.

    Args:
        target: A path, or a binary stream to write to.
        codec: Codes the examples.
        meta: Plain JSON to keep with them.
        form: What array the examples were; of use to `Codec`.
        block_examples: Examples in a block. More cost fewer bytes, fewer can be read without the others. None means
            four million numbers, and at most 16,384 examples.
        workers: Processes that code blocks; the bytes are the same for any number of them.
        embed: Whether the codec travels with the file, which then opens by itself.
        progress: Called as `progress(examples written, None)` after each block.

    Raises:
        ValueError: A setting is out of range, or the meta is not plain JSON.

    Attributes:
        num_examples: Added so far.
        blocks: How many blocks have been written, coded and stored.
        file_bytes: Written so far; all of them once it is closed.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | BinaryIO,
        codec: BlockCodec,
        *,
        meta: Any = None,
        form: bytes = bytes(2),
        block_examples: int | None = None,
        workers: int = 1,
        embed: bool = False,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> None:
        self._data = codec.layout.data
        self._block = _block_examples(block_examples, self._data)
        self._dtype = torch.uint8 if is_small(self._data) else torch.int64
        self._header = Header.of(codec.identity, form, meta, codec.to_bytes() if embed else None)
        self._pool = Pool(codec, salt_of(codec.identity, form, self._header.meta_bytes), workers)
        self._target = target
        self._progress = progress
        self._out: BinaryIO | None = None
        self._open = ExitStack()
        self._pieces: deque[Tensor] = deque()
        self._buffered = 0
        self._submitted = 0
        self._under_way: deque[tuple[int, Future[Coded]]] = deque()
        self._first: tuple[int, Coded] | None = None  # held back while it may be the only one
        self._indexed = False
        self._members: list[Member] = []
        self._done = 0
        self.num_examples = 0
        self.blocks = {"coded": 0, "stored": 0}
        self.file_bytes = 0

    def add(self, levels: Tensor) -> None:
        """Add examples.

        Args:
            levels: int64 (n, ...), 0 … L − 1; −1 where a value is missing from a table.

        Raises:
            ValueError: They do not fit what the codec codes.
        """
        assert self._out is not None, "a Writer is used as `with Writer(…) as writer:`"
        _check(levels, self._data)
        # A copy, for the caller may fill the same tensor again while the block waits; a small one where that is enough.
        self._pieces.append(levels.detach().cpu().to(self._dtype, copy=True))
        self._buffered += len(levels)
        self.num_examples += len(levels)
        while self._buffered >= self._block:
            self._submit(self._block)

    def attach(self, name: str, chunks: Iterable[bytes]) -> None:
        """Keep bytes as they are beside the examples.

        Args:
            name: What to call them; not twice the same.
            chunks: The bytes, in pieces.

        Raises:
            ValueError: The name is taken, empty or longer than 4,096 bytes.
        """
        out = self._out
        assert out is not None, "a Writer is used as `with Writer(…) as writer:`"
        if not 0 < len(name.encode()) <= MAX_NAME:
            raise ValueError(f"the name of an attachment has 1 to {MAX_NAME} bytes; received {name[:80]!r}")
        if any(member.kind == ATTACHMENT and member.name == name for member in self._members):
            raise ValueError(f"an attachment is already called {name!r}; give each a name of its own")
        self._write_all(0)
        self._begin_index()
        size, hashed = 0, hashlib.sha256()
        for chunk in chunks:
            self._write(chunk)
            size += len(chunk)
            hashed.update(chunk)
        self._members.append(Member(ATTACHMENT, size, hashed.digest()[:ATTACHMENT_CHECK], name=name))

    def _submit(self, count: int) -> None:
        """Send a block to be coded; write those that are done."""
        taken: list[Tensor] = []
        missing = count
        while missing:
            piece = self._pieces.popleft()
            taken.append(piece[:missing])
            if len(piece) > missing:
                self._pieces.appendleft(piece[missing:])
            missing -= len(taken[-1])
        self._buffered -= count
        levels = (
            taken[0] if len(taken) == 1 else torch.cat([*taken, torch.empty(0, *self._data.shape, dtype=self._dtype)])
        )
        self._under_way.append((count, self._pool.encode(self._submitted, levels)))
        self._submitted += 1
        self._write_all(self._pool.workers if self._pool.workers > 1 else 0)

    def _write_all(self, but: int) -> None:
        """Write blocks in order until no more than `but` are under way."""
        while len(self._under_way) > but:
            count, future = self._under_way.popleft()
            coded = future.result()
            self.blocks["stored" if coded[0] else "coded"] += 1
            if self._first is None and not self._indexed:
                self._first = count, coded
            else:
                self._begin_index()
                self._write_block(count, coded)
            self._done += count
            if self._progress is not None:
                self._progress(self._done, None)

    def _begin_index(self) -> None:
        """Write the header of a file of several members, and the block that was held back."""
        if self._indexed:
            return
        self._indexed = True
        self._write(self._header.to_bytes(indexed=True))
        if self._first is not None:
            self._write_block(*self._first)
            self._first = None

    def _write_block(self, count: int, coded: Coded) -> None:
        kind, payload = coded
        self._write(payload)
        self._members.append(Member(kind, len(payload), block_check(payload), count))

    def _write(self, data: bytes) -> None:
        assert self._out is not None
        self._out.write(data)
        self.file_bytes += len(data)

    def _finish(self) -> None:
        if self._buffered:
            self._submit(self._buffered)
        self._write_all(0)
        if not self._submitted and not self._indexed:
            self._submit(0)  # a file of no examples is one empty block
            self._write_all(0)
        if self._indexed:
            header = self._header.to_bytes(indexed=True)
            self._write(index_bytes(header, self._members, self._block))
        else:
            assert self._first is not None
            count, (kind, payload) = self._first
            self._write(self._header.to_bytes(indexed=False) + varint(2 * count + kind) + payload)

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            opening.enter_context(self._pool)
            if isinstance(self._target, str | os.PathLike):
                self._out = opening.enter_context(opening.enter_context(whole_file(self._target)).open("wb"))
            else:
                self._out = self._target
            self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._open.__exit__(kind, error, trace)
            return
        with self._open:
            self._finish()


def _block_examples(given: int | None, data: DataLayout) -> int:
    if given is None:
        return max(1, min(_MOST_BLOCK_EXAMPLES, _BLOCK_NUMBERS // max(1, torch.Size(data.shape).numel())))
    most = most_examples(data)
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= most:
        raise ValueError(
            f"block_examples must be a whole number, 1 … {most:,} for examples of shape {tuple(data.shape)}; received "
            f"{given!r}"
        )
    return given


def _check(levels: Tensor, data: DataLayout) -> None:
    if levels.dtype != torch.int64 or tuple(levels.shape[1:]) != tuple(data.shape):
        raise ValueError(
            f"levels must be int64 (n, {', '.join(map(str, data.shape))}); received {levels.dtype} "
            f"{tuple(levels.shape)}"
        )
    if not levels.numel():
        return
    low, high = (int(value) for value in torch.aminmax(levels))
    least, most = (0, data.levels - 1) if data.levels is not None else (-1, MOST_COUNT)
    if low < least or high > most:
        raise ValueError(f"levels must be {least} … {most}; received values from {low} to {high}")

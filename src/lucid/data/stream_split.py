"""Streams: datasets that can only be read from their start, shuffled among the next few thousand items if wanted."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lucid.data.found import Options
from lucid.data.hub import HubStream
from lucid.data.item_seeds import OwnStreams, SeededWorker
from lucid.data.portions import Pass, Visit
from lucid.data.seeds import generator
from lucid.data.shards import DEFAULT_BUFFER
from lucid.data.split import Part, Split
from lucid.data.torch_datasets import Collate, LoadedSplit, is_stream, value_of
from lucid.models import DataProtocol

__all__ = ["StreamSplit", "loaded"]

_CHUNK = 64  # items taken at once, so that the global generators are exchanged once for all of them


class StreamSplit(Split):
    """Items of an iterable dataset, batch by batch.

    Its generators (PyTorch's on the CPU, Python's and NumPy's global ones) are seeded at the start of a pass by (seed,
    epoch), in a worker process also by its number; the caller's stay as they were. With a `shuffle_buffer`, a training
    pass permutes each block of so many consecutive items, by (seed, epoch, number of the block): a resumed pass reads
    and passes over what came before the block it goes on in, and permutes that block as before. Every process reads the
    whole stream, and keeps its rows.

    Args:
        protocol: How raw values become model values.
        part: Which part it is.
        source: The dataset.
        shuffle_buffer: Items in a block; None to keep the dataset's order.
        workers: Processes that read ahead; 0 reads in this one. What several give is put together in turns, 64 items
            each, and it is up to the dataset to give each of them other items.
    """

    def __init__(
        self, protocol: DataProtocol, part: Part, source: Any, shuffle_buffer: int | None = None, workers: int = 0
    ) -> None:
        super().__init__(protocol, part, None)
        self._source = source
        self._buffer = shuffle_buffer
        self._workers = workers
        self._collate = Collate(protocol)

    @property
    def raw(self) -> Tensor:
        """Never held whole.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a stream is read batch by batch and never held whole; use batches() and protocol.to_data")

    def _visits(self, run: Pass) -> Iterator[Visit]:
        size, number = run.batch_size, run.start
        items = self._ordered(run, run.start * size)
        while batch := list(islice(items, size)):
            if run.drop_last and len(batch) < size:
                break
            first, end = run.share.rows(len(batch))
            own = batch[first:end]
            x = self._values([item for _, item in own])
            yield Visit(number, x, first, len(batch), rows=[row for row, _ in own])
            number += 1
        if number == 0:
            raise ValueError(f"the iterable dataset of the {self.part} part gave no batch of {size}")

    def _values(self, items: list[Any]) -> Tensor:
        if not items:
            return torch.empty((0, *self.protocol.shape))
        # Images stay encoded until a process knows which of them are its own.
        values = self._source.values if isinstance(self._source, HubStream) else None
        return self._collate(items if values is None else [values(item) for item in items])

    def _ordered(self, run: Pass, start: int) -> Iterator[tuple[int, Any]]:
        """The items from position `start` of the pass on, and which of the stream's they are."""
        if self._buffer is None or run.seed is None:
            yield from enumerate(self._read(run, start), start)
            return
        number, offset = divmod(start, self._buffer)
        items = self._read(run, number * self._buffer)
        while block := list(islice(items, self._buffer)):
            order = torch.randperm(len(block), generator=generator(run.seed, "block", run.epoch, number)).tolist()
            for i in order[offset:]:
                yield number * self._buffer + i, block[i]
            number, offset = number + 1, 0

    def _read(self, run: Pass, start: int) -> Iterator[Any]:
        """The items in the stream's own order, from number `start` on."""
        source = self._source.encoded(run.epoch) if isinstance(self._source, HubStream) else self._source
        streams = OwnStreams(run.seed, "stream", run.epoch)
        with streams:
            chunks = iter(self._loader(source, run))
        position = 0
        while True:
            with streams:
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield from chunk[max(0, start - position) :]
            position += len(chunk)

    def _loader(self, source: Any, run: Pass) -> DataLoader[Any]:
        # Rows of the hub become x in this process, where they are known to be its own.
        as_they_are = not self._workers or isinstance(self._source, HubStream)
        return DataLoader(
            source,
            batch_size=_CHUNK,
            collate_fn=_same if as_they_are else _plain,
            num_workers=self._workers,
            worker_init_fn=SeededWorker(run.seed, run.epoch) if self._workers else None,
            # Without one of its own the loader would draw from, and so advance, PyTorch's global generator.
            generator=generator(0 if run.seed is None else run.seed, "loader", run.epoch),
        )


def loaded(
    protocol: DataProtocol, part: Part, source: Any, options: Options, rows: Tensor | None = None
) -> LoadedSplit | StreamSplit:
    """A dataset that is read batch by batch, as a part."""
    if not is_stream(source):
        return LoadedSplit(protocol, part, source, rows, options.workers or 0)
    habit = DEFAULT_BUFFER if isinstance(source, HubStream) else None
    return StreamSplit(protocol, part, source, options.shuffle_buffer or habit, options.workers or 0)


def _same(items: list[Any]) -> list[Any]:
    return items


def _plain(items: list[Any]) -> list[Any]:
    """x of the items as arrays: every tensor that a worker process sends would hold a file open while it waits."""
    found = [value_of(item) for item in items]
    return [x.detach().cpu().numpy() if isinstance(x, Tensor) and x.dtype != torch.bfloat16 else x for x in found]

"""PyTorch datasets: map-style and iterable, read batch by batch, or once into memory where the user says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from lucid.data.fingerprint import fingerprint
from lucid.data.found import Found, Kind, Options, check_memory
from lucid.data.item_seeds import OwnStreams, SeededItems, outlive_signals
from lucid.data.labels import as_labels
from lucid.data.layout import arrange
from lucid.data.portions import Pass, Visit
from lucid.data.seeds import generator
from lucid.data.split import Part, Split
from lucid.data.values import as_tensor, conform
from lucid.models import DataProtocol

__all__ = [
    "Collate",
    "LoadedSplit",
    "first_item",
    "is_dataset",
    "is_stream",
    "read_into_memory",
    "value_of",
    "whole_tensor",
]

_LOOKED_AT = 8  # items that a fingerprint reads


def is_dataset(source: object) -> bool:
    """Whether an object is a PyTorch dataset, or behaves as a map-style one."""
    return isinstance(source, Dataset) or (
        hasattr(source, "__getitem__")
        and hasattr(source, "__len__")
        and not isinstance(source, list | tuple | str | bytes)
    )


def is_stream(source: object) -> bool:
    """Whether a dataset can only be read from its start."""
    return isinstance(source, IterableDataset)


def value_of(item: Any) -> Any:
    """x of an item, which is x or (x, label, …).

    Raises:
        TypeError: If it is a dict.
    """
    if isinstance(item, Mapping):
        raise TypeError(
            f"the dataset's items are dicts with the keys {', '.join(str(key) for key in item)}: lucid reads items "
            "that are x, or (x, label); wrap the dataset to give these"
        )
    return item[0] if isinstance(item, tuple | list) else item


def first_item(source: Any) -> Tensor:
    """x of the first item, as a batch of one."""
    if is_stream(source):
        with OwnStreams("first item"):
            item = next(iter(source), None)
        if item is None:
            raise ValueError("the iterable dataset gave no items")
    elif len(source) == 0:
        raise ValueError("the dataset is empty: its length is 0")
    else:
        item = SeededItems(source, None, 0)[0]
    return _stack([item])


def _stack(items: list[Any]) -> Tensor:
    tensors = [as_tensor(value_of(item), "an item of the dataset") for item in items]
    shapes = sorted({tuple(t.shape) for t in tensors})
    if len(shapes) > 1:
        raise ValueError(f"the items of the dataset must have one shape; among them are {shapes[0]} and {shapes[1]}")
    return torch.stack(tensors)


def read_into_memory(source: Any, options: Options) -> Found:
    """Every item of a map-style dataset, read once.

    Raises:
        ValueError: If it is a stream, does not fit, or gives another x when asked twice (a random transform).
    """
    if is_stream(source):
        raise ValueError("in_memory=True needs a map-style dataset: an iterable one has no known end")
    first = first_item(source)
    check_memory(len(source) * first.numel() * first.element_size(), f"in_memory=True: {len(source)} items")
    for i in range(min(len(source), 16)):
        if not torch.equal(_stack([source[i]]), _stack([source[i]])):
            raise ValueError(
                f"item {i} of the dataset differs each time it is read, as with a random transform: in_memory=True "
                "would freeze it. Leave in_memory out, so that every visit draws anew"
            )
    items = [source[i] for i in range(len(source))]
    labels = options.labels
    if labels is None and all(isinstance(item, tuple | list) and len(item) > 1 for item in items):
        labels = [int(item[1]) if isinstance(item[1], Tensor) else item[1] for item in items]
    labels = None if labels is None else as_labels(labels, len(items))
    return Found("dataset", _stack(items), labels)


def whole_tensor(source: Any, options: Options) -> Found | None:
    """What a `TensorDataset` holds: it has no transform, so its tensors stand for it. None for any other dataset."""
    if type(source) is not TensorDataset:
        return None
    x, *rest = source.tensors
    labels = options.labels if options.labels is not None else (rest[0] if rest else None)
    return Found("dataset", as_tensor(x, "the dataset"), None if labels is None else as_labels(labels, len(x)))


@dataclass(frozen=True)
class Collate:
    """Items to one compact batch that fits the protocol; a class, so that worker processes can be given it.

    Args:
        protocol: What it must fit.
    """

    protocol: DataProtocol

    def __call__(self, items: list[Any]) -> Tensor:
        kind: Kind = self.protocol.kind
        x, _, _ = arrange(_stack(items), kind, self.protocol.reading.get("layout"))
        return conform(x, self.protocol, "the dataset")


class LoadedSplit(Split):
    """Examples read from a map-style PyTorch dataset batch by batch.

    The order of a map-style dataset is a pure function of (seed, epoch), and each item of (seed, epoch, row): the
    global generators of PyTorch (on the CPU), Python and NumPy are seeded before it is read, here or in a worker
    process, so that a random transform draws anew in each epoch and a resumed run sees what the unbroken one would have
    seen. Transforms that keep generators of their own are theirs to repeat. The caller's generators stay as they were.

    Args:
        protocol: How raw values become model values.
        part: Which part it is.
        source: The dataset.
        rows: Which items are this part's; None for all.
        workers: Processes that read ahead; 0 reads in this one.
    """

    def __init__(
        self, protocol: DataProtocol, part: Part, source: Any, rows: Tensor | None = None, workers: int = 0
    ) -> None:
        super().__init__(protocol, part, len(source) if rows is None else len(rows), rows=rows)
        self._source = source
        self._workers = workers

    @property
    def raw(self) -> Tensor:
        """Never held whole.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            "this part is read batch by batch and never held whole; load it with in_memory=True, or use batches() and "
            "protocol.to_data"
        )

    def fingerprint(self) -> str:
        """A short hash: of the size, the rows, and the values of a few items.

        An item that is another each time it is read, with the generators seeded, counts with its shape alone.
        """
        if self.size == 0:
            return fingerprint(self._facts(), [])
        once, again = self._look(), self._look()
        alike = all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
        return fingerprint(
            self._facts(self.rows, self._places()), once if alike else [torch.empty_like(x[:0]) for x in once]
        )

    def _places(self) -> Tensor:
        return torch.linspace(0, len(self) - 1, min(len(self), _LOOKED_AT), dtype=torch.float64).round().long()

    def _look(self) -> list[Tensor]:
        """A few items as they are stored, each a batch of one."""
        collate = Collate(self.protocol)
        items = SeededItems(self._source, None, 0)
        return [collate([items[row]]) for row in self.rows[self._places()].tolist()]

    def _visits(self, run: Pass) -> Iterator[Visit]:
        own: dict[str, Any] = {
            "num_workers": self._workers,
            # Without one of its own the loader would draw from, and so advance, PyTorch's global generator.
            "generator": generator(0 if run.seed is None else run.seed, "loader", run.epoch),
        }
        order = self._order(run)
        mine = [rows for _, rows, _, _ in order if rows]
        items = SeededItems(self._source, run.seed, run.epoch)
        own |= {"batch_sampler": mine, "collate_fn": Collate(self.protocol)}
        loaded = iter(DataLoader(items, worker_init_fn=outlive_signals if self._workers else None, **own))
        for number, rows, first, whole in order:
            x = next(loaded) if rows else torch.empty((0, *self.protocol.shape))
            yield Visit(number, x, first, whole, rows=rows)

    def _order(self, run: Pass) -> list[tuple[int, list[int], int, int]]:
        """Of every batch: its number, this process's rows, where they begin in it, and its size."""
        rows = self.rows
        if run.seed is not None:
            rows = rows[torch.randperm(len(rows), generator=generator(run.seed, "order", run.epoch))]
        order: list[tuple[int, list[int], int, int]] = []
        for number in range(run.start, self.num_batches(run.batch_size, drop_last=run.drop_last)):
            begin, end, first, whole = run.rows(number, len(rows))
            order.append((number, rows[begin:end].tolist(), first, whole))
        return order

"""One part of a dataset whose examples stay in their file, and the one place that chooses between the two kinds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import torch
from torch import Tensor

from lucid.data.ahead import ahead
from lucid.data.fingerprint import fingerprint, sampled_rows
from lucid.data.found import memory_share
from lucid.data.on_disk import DiskArray
from lucid.data.portions import Pass, Visit
from lucid.data.seeds import generator
from lucid.data.split import Part, ResidentSplit, Split
from lucid.data.store import Store
from lucid.models import DataProtocol

__all__ = ["DiskSplit", "part_of"]


class DiskSplit(Split):
    """Examples read from a file as they are needed, some batches ahead in a thread.

    Its batches are, bit for bit, those of the same array in memory.

    Args:
        protocol: How raw values became model values.
        part: Which part it is.
        store: All examples.
        labels: Of all examples, (M,), or None.
        rows: Which examples are this part's, ascending; None for all.
    """

    def __init__(
        self, protocol: DataProtocol, part: Part, store: DiskArray, labels: Tensor | None, rows: Tensor | None = None
    ) -> None:
        own = labels if labels is None or rows is None else labels[rows]
        super().__init__(protocol, part, len(store) if rows is None else len(rows), own, rows)
        self._store = store

    @property
    def raw(self) -> Tensor:
        """Every example in raw space and a compact type, `(N, *shape)`, read now.

        Raises:
            TypeError: If they are more than a quarter of the memory.
        """
        share = memory_share()
        if share is not None and len(self) * self._store.example_bytes > share:
            raise TypeError(
                f"the {self.part} part is too large to be held whole ({len(self) * self._store.example_bytes} bytes): "
                "use batches() and protocol.to_data, or tensor(limit)"
            )
        return self._store.read(self.rows)

    def _visits(self, run: Pass) -> Iterator[Visit]:
        return ahead(self._jobs(run))

    def _jobs(self, run: Pass) -> Iterable[partial[Visit]]:
        order, labels = self.rows, self.labels if run.condition else None
        if run.seed is not None:
            places = torch.randperm(len(self), generator=generator(run.seed, "order", run.epoch))
            order, labels = order[places], None if labels is None else labels[places]
        once = self.protocol.binarisation != "none" and not (self.draws_anew and run.seed is not None)
        for number in range(run.start, self.num_batches(run.batch_size, drop_last=run.drop_last)):
            begin, end, first, whole = run.rows(number, len(self))
            own = None if labels is None else labels[begin:end]
            yield partial(self._visit, order[begin:end], own, number, first, whole, once)

    def _visit(self, rows: Tensor, labels: Tensor | None, number: int, first: int, whole: int, once: bool) -> Visit:
        values = self._store.read(rows)
        if once:
            values = self._drawn(self.protocol.to_model(values).float(), rows).to(torch.uint8)
        return Visit(number, values, first, whole, drawn=once, labels=labels)

    def fingerprint(self) -> str:
        """As `Split.fingerprint`; equal to that of the same array in memory."""
        places, values = sampled_rows(
            len(self), self._store.example_bytes, lambda places: self._store.read(self.rows[places])
        )
        return fingerprint(self._facts(self.rows, places), values)


def part_of(
    protocol: DataProtocol,
    part: Part,
    x: Store | DiskArray,
    labels: Tensor | None,
    rows: Tensor | None = None,
) -> ResidentSplit | DiskSplit:
    """One part of examples, in memory or not.

    Args:
        protocol: How raw values became model values.
        part: Which part it is.
        x: All examples.
        labels: Of all examples, (M,), or None.
        rows: Which examples are this part's, ascending; None for all.
    """
    if isinstance(x, DiskArray):
        return DiskSplit(protocol, part, x, labels, rows)
    return ResidentSplit(protocol, part, x, labels, rows)

"""One part of a dataset (training, validation, test), and the batches drawn from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from lucid.data.draws import uniform
from lucid.data.fingerprint import fingerprint, sampled_rows
from lucid.data.portions import Pass, Portion, Share, Visit
from lucid.data.seeds import generator
from lucid.data.store import Store
from lucid.models import DataProtocol

__all__ = ["Part", "ResidentSplit", "Split"]

Part = Literal["train", "validation", "test", "further"]

_BLOCK = 1 << 18  # features binarised at a time: as many as a processor's cache holds
_FIRST = 4  # examples of a stream that stand for it


class Split(ABC):
    """One part of a dataset: how many examples, and batches of them as a model sees them.

    Binarised data: the training part under "dynamic" is drawn anew at each visit, a pure function of (seed, epoch,
    batch); everything else is drawn once, a pure function of `protocol.seed`, the part and the example's row, whatever
    the batch size, the device, or whether the data is in memory.

    Attributes:
        protocol: How raw values became model values.
        part: "train", "validation", "test", or "further" for data read by `load_like`.
        size: Number of examples; None for a stream.
        labels: int64, (N,), or None where there are none or they are not known without reading everything.
    """

    def __init__(
        self,
        protocol: DataProtocol,
        part: Part,
        size: int | None,
        labels: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> None:
        self.protocol = protocol
        self.part: Part = part
        self.size = size
        self.labels = labels
        self._rows = rows

    def __len__(self) -> int:
        if self.size is None:
            raise TypeError("a stream does not know its length; ask `split.size`, which is None here")
        return self.size

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.part!r}, size={self.size}, {self.protocol.describe()!r})"

    @property
    def rows(self) -> Tensor:
        """Which examples of the source are this part's, int64, ascending.

        Raises:
            TypeError: For a stream.
        """
        return torch.arange(len(self)) if self._rows is None else self._rows

    @property
    @abstractmethod
    def raw(self) -> Tensor:
        """Every example in raw space and a compact type, `(N, *shape)`; a copy where the part is scattered.

        Raises:
            TypeError: For data that is read batch by batch and never held whole.
        """

    @abstractmethod
    def _visits(self, run: Pass) -> Iterator[Visit]:
        """This process's rows of every batch from number `run.start` on."""

    def batches(
        self,
        batch_size: int,
        *,
        device: str | torch.device = "cpu",
        seed: int | None = None,
        epoch: int = 0,
        start: int = 0,
        drop_last: bool = False,
    ) -> Iterator[Tensor]:
        """One pass over the examples, in float32 batches of model-space x.

        Args:
            batch_size: Examples in a batch; the last may hold fewer.
            device: Where the batches go. What is stored compactly crosses compactly and becomes float there.
            seed: None for the stored order (evaluation); else each epoch has an order of its own, a pure function of
                (seed, epoch).
            epoch: Number of the pass.
            start: Number of the first batch: a resumed pass sees what the unbroken one would have seen from there.
            drop_last: Whether to leave out a last batch that is not full.

        Returns:
            An iterator over tensors `(batch, *shape)`.

        Raises:
            TypeError, ValueError: If an argument is not what is said above; told here, not at the first batch.
        """
        portions = self.portions(
            batch_size, device=device, seed=seed, epoch=epoch, start=start, drop_last=drop_last, share=Share()
        )
        return (portion.x for portion in portions)

    def portions(
        self,
        batch_size: int,
        *,
        device: str | torch.device = "cpu",
        seed: int | None = None,
        epoch: int = 0,
        start: int = 0,
        drop_last: bool = False,
        share: Share,
        condition: bool = False,
    ) -> Iterator[Portion]:
        """The same pass as `batches`, divided among processes: each gets its rows of every batch.

        Put together, the portions of all processes are the batches of one, bit for bit, in the same order; every
        process gets as many portions as the others, and a portion may be empty.

        Args:
            batch_size: Examples in a batch, over all processes.
            device: As for `batches`.
            seed: As for `batches`.
            epoch: As for `batches`.
            start: As for `batches`.
            drop_last: As for `batches`.
            share: Which process this is.
            condition: Whether each portion is to hold the labels of its rows, for a model that is told them.

        Raises:
            TypeError, ValueError: As for `batches`; and where labels are asked for and there are none.
        """
        _check_count("batch_size", batch_size, 1)
        _check_count("epoch", epoch, 0)
        _check_count("start", start, 0)
        if seed is not None:
            _check_count("seed", seed, 0)
        if self.size is not None:
            total = self.num_batches(batch_size, drop_last=drop_last)
            if total == 0 and self.size:
                raise ValueError(
                    f"drop_last leaves no batch: batch_size is {batch_size} and the {self.part} part has {self.size} "
                    "examples"
                )
            if start > total:
                raise ValueError(f"start must be at most {total}, the number of batches; received {start}")
        if condition and self.size != 0:
            self.required_labels()
        return self._portions(Pass(batch_size, torch.device(device), seed, epoch, start, drop_last, share, condition))

    @property
    def called(self) -> str:
        """What it is called in a message."""
        return "the data" if self.part == "further" else f"the {self.part} part"

    def required_labels(self) -> Tensor:
        """The labels, int64 (N,), where they are needed.

        Raises:
            ValueError: If there are none.
        """
        if self.labels is None:
            raise ValueError(
                f"a conditional model is told the label of each example, and {self.called} has none: name them "
                "(labels=, or --label), or sort images into folders; of data that is read batch by batch they are "
                "known only with in_memory=True"
            )
        return self.labels

    def num_batches(self, batch_size: int, *, drop_last: bool = False) -> int:
        """Batches in a pass.

        Raises:
            TypeError: For a stream.
        """
        _check_count("batch_size", batch_size, 1)
        return len(self) // batch_size if drop_last else -(-len(self) // batch_size)

    def _portions(self, run: Pass) -> Iterator[Portion]:
        protocol = self.protocol
        for visit in self._visits(run):
            moved = _move(visit.values, run.device)
            x = moved.float() if visit.drawn else protocol.to_model(moved).float()
            if not visit.drawn and protocol.binarisation != "none":
                x = self._binarised(x, visit, run)
            labels = None if visit.labels is None else visit.labels.to(run.device)
            yield Portion(x, visit.first, visit.whole, labels)

    def _binarised(self, x: Tensor, visit: Visit, run: Pass) -> Tensor:
        if len(x) == 0:
            return x
        if not self.draws_anew or run.seed is None:
            return self._drawn(x, visit.rows)
        # Numbers are drawn for the whole batch, so that the bits do not depend on the number of processes.
        source = generator(run.seed, "binarise", run.epoch, visit.number, device=run.device)
        return self.protocol.binarise(x, source, first=visit.first, whole=visit.whole)

    def _drawn(self, x: Tensor, rows: Sequence[int] | Tensor) -> Tensor:
        """The one draw of the examples `rows`, which `x` holds."""
        numbers = uniform((self.protocol.seed, "binarise", self.part), rows, self.protocol.num_features)
        return (numbers.reshape(x.shape).to(x.device) < x).to(x.dtype)

    def fingerprint(self) -> str:
        """A short hash of the raw values, as hexadecimal digits; the base knows the first few of a stream alone."""
        return fingerprint(self._facts(), [self.tensor(_FIRST)])

    def _facts(self, *rows: Tensor) -> list[object]:
        """What a fingerprint says beside the values: sizes, and, where `rows` are known, a sample of them.

        Args:
            rows: Nothing, or all rows of the part and the places among them that are looked at.
        """
        facts: list[object] = [self.part, self.size, self.protocol.shape]
        if rows:
            all_rows, places = rows
            facts += [int(all_rows.sum()), all_rows[places].tolist()]
        return facts

    @property
    def draws_anew(self) -> bool:
        """Whether a training pass binarises each example anew."""
        return self.protocol.binarisation == "dynamic" and self.part == "train"

    def tensor(self, limit: int | None = None, device: str | torch.device = "cpu") -> Tensor:
        """The first `limit` examples in model space, float32; binarised data in the draw that evaluation uses.

        Args:
            limit: None for all.
            device: Where it goes.
        """
        if limit is not None:
            _check_count("limit", limit, 1)
        if self.size == 0:
            return torch.empty((0, *self.protocol.shape), device=device)
        wanted = limit if limit is not None else self.size
        found: list[Tensor] = []
        rows = 0
        for x in self.batches(1024 if wanted is None else min(wanted, 1024), device=device):
            found.append(x if wanted is None else x[: wanted - rows])
            rows += len(found[-1])
            if rows == wanted:
                break
        return torch.cat(found)


class ResidentSplit(Split):
    """Examples held whole in memory, as one compact tensor that the parts of a dataset share.

    Args:
        protocol: How raw values became model values.
        part: Which part it is.
        store: Raw values of all examples, `(M, *shape)`; a `Store` where several parts share them.
        labels: Of all examples, (M,), or None.
        rows: Which examples are this part's, ascending; None for all.
    """

    def __init__(
        self,
        protocol: DataProtocol,
        part: Part,
        store: Tensor | Store,
        labels: Tensor | None,
        rows: Tensor | None = None,
    ) -> None:
        self._store = store if isinstance(store, Store) else Store(store)
        own = labels if labels is None or rows is None else labels[rows]
        super().__init__(protocol, part, len(self._store.values) if rows is None else len(rows), own, rows)
        self._bits: Store | None = None

    @property
    def raw(self) -> Tensor:
        """Every example in raw space and a compact type, `(N, *shape)`; a copy where the part is scattered."""
        values = self._store.values
        return values if self._rows is None else values.index_select(0, self._rows)

    def _visits(self, run: Pass) -> Iterator[Visit]:
        drawn = self.protocol.binarisation != "none" and not (self.draws_anew and run.seed is not None)
        store, rows = (self._drawn_once(), None) if drawn else (self._store, self._rows)
        labels = self.labels if run.condition else None
        if run.seed is not None:
            order = torch.randperm(len(self), generator=generator(run.seed, "order", run.epoch))
            rows = order if rows is None else rows[order]
            labels = None if labels is None else labels[order]
        values = store.on(run.device)
        rows = None if rows is None else rows.to(values.device)
        labels = None if labels is None else labels.to(run.device)  # once for the pass
        for number in range(run.start, self.num_batches(run.batch_size, drop_last=run.drop_last)):
            begin, end, first, whole = run.rows(number, len(self))
            here = values[begin:end] if rows is None else values.index_select(0, rows[begin:end])
            yield Visit(number, here, first, whole, drawn, labels=None if labels is None else labels[begin:end])

    def _drawn_once(self) -> Store:
        """The draw that evaluation uses, one byte a feature, made when it is first asked for."""
        if self._bits is None:
            store, all_rows = self._store.values, self.rows
            bits = torch.empty((len(self), *store.shape[1:]), dtype=torch.uint8)
            step = max(1, _BLOCK // self.protocol.num_features)
            for first in range(0, len(self), step):
                rows = all_rows[first : first + step]
                x = self.protocol.to_model(store.index_select(0, rows)).float()
                bits[first : first + step] = self._drawn(x, rows).to(torch.uint8)
            self._bits = Store(bits)
        return self._bits

    def fingerprint(self) -> str:
        """A short hash: of all raw values up to 32 MiB, else of up to 4,096 examples, evenly spaced."""
        store, rows = self._store.values, self.rows
        example_bytes = store[:1].numel() * store.element_size()
        places, values = sampled_rows(len(self), example_bytes, lambda places: store.index_select(0, rows[places]))
        return fingerprint(self._facts(rows, places), values)


def _move(values: Tensor, device: torch.device) -> Tensor:
    if device.type != "cuda" or values.is_cuda:
        return values.to(device)
    # From pinned memory the copy runs beside the computation; PyTorch keeps the block until the copy is done.
    return values.pin_memory().to(device, non_blocking=True)


def _check_count(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int; received {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}; received {value}")

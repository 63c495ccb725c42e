"""The global random streams that a user's dataset draws from: seeded for each item, and put back afterwards."""

from __future__ import annotations

import hashlib
import random
import signal
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

__all__ = ["OwnStreams", "SeededItems", "SeededWorker", "outlive_signals"]


def _seed(*purpose: int | str | None) -> None:
    """Seed PyTorch's (on the CPU), Python's and NumPy's global generators by a hash of a purpose."""
    digest = hashlib.blake2b(repr(purpose).encode(), digest_size=24).digest()
    words = [int.from_bytes(digest[i : i + 8], "little") for i in (0, 8, 16)]
    torch.default_generator.manual_seed(words[0] >> 1)
    random.seed(words[1])
    np.random.seed([words[2] >> 32, words[2] & 0xFFFFFFFF])  # noqa: NPY002 (what users' transforms draw from)


def _states() -> tuple[Any, ...]:
    return torch.default_generator.get_state(), random.getstate(), np.random.get_state()  # noqa: NPY002


def _set(states: tuple[Any, ...]) -> None:
    torch.default_generator.set_state(states[0])
    random.setstate(states[1])
    np.random.set_state(states[2])  # noqa: NPY002


class OwnStreams:
    """Global random streams of their own for a piece of code: inside `with`, they go on from where they were left.

    Outside, the global streams are the caller's, as if that code had drawn nothing.

    Args:
        purpose: What the streams are seeded by.
    """

    def __init__(self, *purpose: int | str | None) -> None:
        self._purpose = purpose
        self._own: tuple[Any, ...] | None = None
        self._callers: tuple[Any, ...] = ()

    def __enter__(self) -> None:
        self._callers = _states()
        if self._own is None:
            _seed(*self._purpose)
        else:
            _set(self._own)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._own = _states()
        _set(self._callers)


class SeededItems(Dataset[Any]):
    """A map-style dataset whose every reading of an item is seeded by (seed, epoch, row).

    Items are read one by one, also where the dataset could give several at once: what they draw must not depend on
    which others are in the batch.

    Args:
        source: The dataset.
        seed: Of the pass; None for evaluation.
        epoch: Number of the pass.
    """

    def __init__(self, source: Any, seed: int | None, epoch: int) -> None:
        self._source = source
        self._seed = seed
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, row: int) -> Any:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: list[int]) -> list[Any]:
        """Several items, which a DataLoader asks for at once."""
        if get_worker_info() is not None:  # nothing else draws from the streams of a worker process
            return [self._item(row) for row in rows]
        with OwnStreams():
            return [self._item(row) for row in rows]

    def _item(self, row: int) -> Any:
        _seed(self._seed, "item", self._epoch, row)
        return self._source[row]


def outlive_signals(_worker: int) -> None:
    """Have a worker process leave Ctrl-C and SIGTERM to the one that started it, and end when that one does.

    They come to all processes of a job; one that is saving its work still wants its batches.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class SeededWorker:
    """Seeds a worker process that reads a stream; a class, so that it can be sent there.

    Args:
        seed: Of the pass; None for evaluation.
        epoch: Number of the pass.
    """

    def __init__(self, seed: int | None, epoch: int) -> None:
        self._seed = seed
        self._epoch = epoch

    def __call__(self, worker: int) -> None:
        outlive_signals(worker)
        _seed(self._seed, "stream", self._epoch, worker)

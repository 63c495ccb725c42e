"""One evaluation by several processes: each measures its chunks of the examples, and all merge them in one order.

What a chunk adds depends on the chunk alone, which has its own stream of random numbers; so the figures are those of
one process, to the last bit wherever a chunk computes alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, TypeVar

import torch
from torch import Tensor

from lucid.data import Share
from lucid.evaluation.found import Found, Packed

__all__ = ["Chunks", "Sent", "Team", "added", "all_chunks", "check_processes", "exchanged", "sent", "with_workers"]

Result = TypeVar("Result")

Chunks = Iterator[tuple[int, Found]]
"""Number and contents of each chunk that is one process's."""

Sent = list[tuple[int, list[int], Any]]
"""The same as plain numbers: what a worker gives back."""


@dataclass(frozen=True)
class Team:
    """Processes that evaluate together, as torchrun starts them; each calls `evaluate` with its own.

    Attributes:
        share: Which of the processes this is.
        total: Sums a float64 tensor of the CPU over the processes, element by element, and gives every one the sum.
    """

    share: Share
    total: Callable[[Tensor], Tensor]


def check_processes(workers: int, team: Team | None, device: torch.device) -> None:
    """Refuse a number of processes that cannot be, or cannot be there.

    Raises:
        TypeError: If it is not an int.
        ValueError: If it is not positive, a team is given too, or the model is not on the CPU.
    """
    if isinstance(workers, bool) or not isinstance(workers, int):
        raise TypeError(f"workers must be an int; received {workers!r}")
    if workers < 1:
        raise ValueError(f"workers must be at least 1; received {workers}")
    if workers > 1 and team is not None:
        raise ValueError("workers= starts processes of its own: leave it at 1 where a team measures together")
    if workers > 1 and device.type != "cpu":
        raise ValueError(
            f"workers= computes on the CPU, and the model is on {device}: leave workers at 1, or start one process per "
            "device with torchrun"
        )


def all_chunks(chunks: Chunks, found: Found) -> Found:
    """Merge chunks into `found` as they come, in their order."""
    for _, chunk in chunks:
        found.merge(chunk)
    return found


def exchanged(chunks: Chunks, found: Found, team: Team) -> Found:
    """Merge the chunks of all processes of a team into `found`, in their order; every process has them all then.

    Args:
        chunks: Those of this process.
        found: What they are added to; empty.
        team: The processes.
    """
    own = {number: chunk.packed() for number, chunk in chunks}
    sizes = next(iter(own.values())).sizes if own and team.share.rank == 0 else [0] * len(found.moments())
    # The first process has a chunk wherever there is one: it says how wide a row is.
    said = team.total(torch.tensor([len(own), *sizes], dtype=torch.float64)).long().tolist()
    num_chunks, sizes = said[0], said[1:]
    rows = torch.zeros(num_chunks, sum(1 + 2 * max(1, size) for size in sizes), dtype=torch.float64)
    for number, packed in own.items():
        rows[number] = packed.numbers
    for row in team.total(rows) if num_chunks else ():
        found.merge_packed(Packed(sizes, row))
    return found


def with_workers(
    own: Callable[[Share], Chunks], work: Callable[..., Sent], arguments: Sequence[Any], workers: int, found: Found
) -> Found:
    """Merge the chunks of this process and of `workers` − 1 new ones into `found`, in their order.

    Args:
        own: This process's chunks, given its share.
        work: What a new process calls, with its share and `arguments`. It is found by its name there.
        arguments: Copied to each new process.
        workers: How many processes, this one included.
        found: What they are added to; empty.

    Raises:
        ValueError: If the arguments cannot be copied to another process.
    """
    mine, others = _at_once(lambda share: list(own(share)), work, arguments, workers)
    chunks = {number: chunk.packed() for number, chunk in mine}
    for theirs in others:
        chunks |= {number: Packed(sizes, torch.as_tensor(row)) for number, sizes, row in theirs}
    for number in sorted(chunks):
        found.merge_packed(chunks[number])
    return found


def added(
    own: Callable[[Share], Tensor], work: Callable[..., Any], arguments: Sequence[Any], workers: int, team: Team | None
) -> Tensor:
    """The sum of what each process finds: zeros wherever its share is not.

    Args:
        own: What this process finds, given its share; float64, on the CPU.
        work: What a new process calls, with its share and `arguments`, for the same as an array of NumPy's.
        arguments: Copied to each new process.
        workers: How many processes of this machine, this one included.
        team: The processes that torchrun has started, instead.
    """
    if workers > 1:
        mine, others = _at_once(own, work, arguments, workers)
        for theirs in others:
            mine = mine + torch.as_tensor(theirs)
        return mine
    return own(Share()) if team is None else team.total(own(team.share))


def _at_once(
    own: Callable[[Share], Result], work: Callable[..., Any], arguments: Sequence[Any], workers: int
) -> tuple[Result, list[Any]]:
    """What this process finds, and what each of the new ones does."""
    threads = max(1, torch.get_num_threads() // workers)
    # The arguments go with the start of a process, which is over before `own` begins. Those of a task are copied later,
    # by a thread of the pool's; and to copy a tensor, PyTorch moves it to shared memory: under the hands of `own`.
    with ProcessPoolExecutor(workers - 1, get_context("spawn"), _begin, (threads, arguments)) as pool:
        futures: list[Future[Any]] = []
        try:
            futures += [pool.submit(_continue, work, Share(rank, workers)) for rank in range(1, workers)]
            return own(Share(0, workers)), [future.result() for future in futures]
        except Exception as error:
            for future in futures:
                future.cancel()
            if "pickle" not in str(error):
                raise
            raise ValueError(
                f"workers= copies the model and the data to new processes, which cannot be done with these ({error}): "
                "define their classes and functions at the top of a module that can be imported, or leave workers at 1"
            ) from error


_given: list[Any] = []
"""What a new process works on."""


def _begin(threads: int, arguments: Sequence[Any]) -> None:
    """Start a new process."""
    torch.set_num_threads(threads)
    _given[:] = arguments


def _continue(work: Callable[..., Any], share: Share) -> Any:
    """What a new process does with what it was started with."""
    return work(share, *_given)


def sent(chunks: Chunks) -> Sent:
    """Chunks as plain numbers."""
    return [(number, packed.sizes, packed.numbers.numpy()) for number, packed in ((n, c.packed()) for n, c in chunks)]

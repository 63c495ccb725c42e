"""Work done ahead of its use, in threads of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ahead"]

T = TypeVar("T")

_DEPTH = 3


def ahead(jobs: Iterable[Callable[[], T]], depth: int = _DEPTH, threads: int = 1) -> Generator[T]:
    """The results of jobs in their order, made by other threads while the caller is busy with those before.

    What a job raises is raised here, in its turn. The threads end with the iterator: at its end, at an error, or when
    it is closed or forgotten.

    Args:
        jobs: What to do; taken from the iterable as they are begun, in the caller's thread.
        depth: How many results may wait.
        threads: How many work at once.

    Example:
        >>> from functools import partial
        >>> list(ahead(partial(pow, n, 2) for n in range(4)))
        [0, 1, 4, 9]
    """
    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="lucid-data")
    try:
        for job in jobs:
            waiting.append(pool.submit(job))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

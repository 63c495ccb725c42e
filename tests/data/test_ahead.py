"""Work done ahead: in order, bounded, with its errors, in a thread that ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import pytest

from lucid.data.ahead import ahead


def test_results_come_in_order_and_no_further_ahead_than_asked() -> None:
    begun: list[int] = []

    def jobs() -> Iterator[partial[int]]:
        for n in range(20):
            begun.append(n)
            yield partial(int, n)

    results = ahead(jobs(), depth=3)
    assert begun == []
    for n in range(20):
        assert next(results) == n
        assert len(begun) <= n + 4
    assert list(results) == []


def test_it_is_done_while_the_caller_is_busy() -> None:
    done = threading.Event()
    results = ahead([partial(int, 1), done.set])
    assert next(results) == 1
    assert done.wait(10)


def test_an_error_comes_in_its_turn_and_ends_the_thread() -> None:
    before = threading.active_count()
    results = ahead([partial(int, 1), partial(int, "one"), partial(int, 3)])
    assert next(results) == 1
    with pytest.raises(ValueError, match="invalid literal"):
        next(results)
    assert threading.active_count() == before
    assert list(results) == []


def test_closing_ends_the_thread_and_what_was_not_begun() -> None:
    before = threading.active_count()
    release, begun = threading.Event(), list[int]()

    def job(n: int) -> int:
        begun.append(n)
        assert n == 0 or release.wait(10)
        return n

    results = ahead((partial(job, n) for n in range(10)), depth=3)
    assert next(results) == 0
    later = threading.Timer(0.2, release.set)
    later.start()
    results.close()
    later.join()
    assert threading.active_count() == before
    assert begun in ([0], [0, 1])

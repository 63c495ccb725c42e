"""Ctrl-C and SIGTERM: the first is remembered; a second Ctrl-C is Python's own, a second SIGTERM changes nothing."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from lucid.training.signals import StopSignal

both = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@pytest.fixture(autouse=True)
def handlers_are_put_back() -> Iterator[None]:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@both
def test_the_first_signal_is_remembered_and_a_second_ctrl_c_is_pythons_own(number: signal.Signals) -> None:
    came: list[int] = []
    before = signal.signal(number, lambda which, _frame: came.append(which))
    try:
        with StopSignal() as stop:
            assert (stop.received, stop.number) == (False, 0)
            os.kill(os.getpid(), number)
            assert (stop.received, stop.number, came) == (True, number, [])
            os.kill(os.getpid(), number)
            # Schedulers send SIGTERM more than once, and the run is being saved.
            assert came == ([number] if number == signal.SIGINT else [])
        assert stop.received
    finally:
        signal.signal(number, before)


def test_a_second_ctrl_c_interrupts_at_once() -> None:

    def impatient() -> None:
        with StopSignal():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        impatient()


def test_without_a_signal_the_handlers_come_back_after_an_error_too() -> None:
    with pytest.raises(ValueError, match="x"), StopSignal():
        raise ValueError("x")


def test_a_thread_catches_nothing() -> None:
    """Python lets only the main thread install handlers: training elsewhere must not fail for it."""
    before, found = signal.getsignal(signal.SIGINT), []

    def train() -> None:
        with StopSignal() as stop:
            found.append((stop.received, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert found == [(False, before)]

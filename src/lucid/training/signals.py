"""A way out: Ctrl-C and SIGTERM end training after the current step."""

from __future__ import annotations

import signal
import threading
from types import TracebackType
from typing import Any, Self

__all__ = ["StopSignal"]


class StopSignal:
    """While entered, SIGINT (Ctrl-C) and SIGTERM are remembered; a second Ctrl-C is Python's own.

    Schedulers send SIGTERM some time before they kill, often more than once: it may come again while the run is being
    saved. In a thread other than the main one nothing can be caught, and nothing is.

    Attributes:
        number: The first signal; 0 before one came.
    """

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    @property
    def received(self) -> bool:
        """Whether training should end."""
        return self.number != 0

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._remember)
        return self

    def _remember(self, number: int, _frame: object) -> None:
        self.number = self.number or number
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, self._before.pop(signal.SIGINT))

    def _restore(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

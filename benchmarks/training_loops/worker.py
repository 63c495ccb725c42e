"""Seen from outside: a contestant's process, told when to train."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from typing import Any

from training_loops.turns import Contestant, Report, Setting, work


class Worker:
    """A contestant at work in a process of its own: no allocator, cache, thread or import is shared.

    Args:
        contestant: Its loop.
        workload: Name of the workload.
        setting: Where it runs.

    Attributes:
        notes: What its library told the user so far.
    """

    def __init__(self, contestant: Contestant, workload: str, setting: Setting) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(contestant, workload, setting, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self.notes: list[str] = []

    def imported(self) -> None:
        """Wait until it has imported what it needs.

        Raises:
            LeftOut: If something is not installed.
        """
        self._receive()

    def turn(self) -> Report:
        """Let it train for one turn.

        Raises:
            LeftOut: If it cannot take part in this workload.
            RuntimeError: If it failed.
        """
        self._pipe.send(True)
        report: Report = self._receive()
        self.notes += report.notes
        return report

    def warm_up(self) -> float:
        """Its first turn, with the making of model and data and what is compiled; in seconds."""
        started = time.perf_counter()
        self.turn()
        return time.perf_counter() - started

    def dismiss(self) -> None:
        """Tell it to end, in the middle of its training."""
        with contextlib.suppress(BrokenPipeError):  # it has ended by itself
            self._pipe.send(False)

    def stop(self) -> None:
        """End the process."""
        self.dismiss()
        self._process.join(timeout=10)
        self._process.kill()
        self._process.join()

    def _receive(self) -> Any:
        try:
            received = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"the process ended with exit code {self._process.exitcode}") from None
        if isinstance(received, Exception):
            raise received
        return received

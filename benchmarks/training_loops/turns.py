"""In a contestant's process: train when it is one's turn, and report."""

from __future__ import annotations

import importlib
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from training_loops.workloads import WORKLOADS, images


class LeftOut(Exception):  # noqa: N818  a decision, not an error
    """Says why a contestant does not take part in a workload."""


class Contestant(NamedTuple):
    """A training loop: a function of a module here, and what it is given besides."""

    module: str
    function: str
    options: dict[str, Any] = {}  # noqa: RUF012  never changed


class Setting(NamedTuple):
    """Where a contestant runs."""

    device: str
    threads: int
    """PyTorch's; 0 leaves them as they come."""
    folder: Path
    """To write into, if it writes."""
    run_steps: int
    """How long the run is, for those who must be told."""


class Report(NamedTuple):
    """What a turn came to."""

    seconds: float
    """Of one step."""
    loss: float
    """Of the last batch, in nats per example."""
    peak_mebibytes: float
    """So far: of the process; on a GPU, what PyTorch holds there."""
    notes: list[str]
    """What the library told its user."""


class Turns:
    """Called by a contestant after each of its steps; holds it there while it is another's turn.

    So a library's own `fit` is timed as it runs for a user, and not in calls of a few steps.

    Attributes:
        notes: What the library told its user since the last turn.
        held: Seconds spent waiting between turns so far.
    """

    def __init__(self, pipe: Connection, steps: int, device: str) -> None:
        self._pipe = pipe
        self._steps = steps
        self._device = device
        self.notes: list[str] = []
        self.held = 0.0
        self._wait()

    def __call__(self, loss: Tensor | Callable[[], float]) -> None:
        self._left -= 1
        if self._left == 0:
            self._synchronise()
            seconds = (time.perf_counter() - self._started) / self._steps
            value = loss() if callable(loss) else loss.item()
            self._pipe.send(Report(seconds, value, peak_mebibytes(self._device), self.notes))
            self.notes = []
            self._wait()

    def _wait(self) -> None:
        began = time.perf_counter()
        if not self._pipe.recv():
            raise SystemExit
        self._left = self._steps
        self._synchronise()
        self._started = time.perf_counter()
        self.held += self._started - began

    def _synchronise(self) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()


def peak_mebibytes(device: str) -> float:
    """The most memory held so far."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**10 if sys.platform == "darwin" else 1)
    return kilobytes / 2**10


def work(contestant: Contestant, workload: str, setting: Setting, pipe: Connection) -> None:
    """Import what the contestant needs, say so, and train turn by turn until told to stop.

    Sent are None after the imports, then a `Report` for each turn; or the exception that ended it.
    """
    draw_nowhere()
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(setting.folder / "compiled")  # what is compiled is compiled anew
    if setting.threads:
        torch.set_num_threads(setting.threads)
    try:
        train = getattr(importlib.import_module(f"training_loops.{contestant.module}"), contestant.function)
        pipe.send(None)
        chosen = WORKLOADS[workload]
        turns = Turns(pipe, chosen.steps, setting.device)
        train(chosen, images(chosen), turns, setting, **contestant.options)
    except ModuleNotFoundError as missing:
        pipe.send(LeftOut(f"{missing.name} is not installed"))
    except LeftOut as reason:
        pipe.send(reason)
    except Exception:  # noqa: BLE001  whatever it is, the other process tells
        pipe.send(RuntimeError(traceback.format_exc()))


def draw_nowhere() -> None:
    """Send what a contestant prints nowhere, and let it think that is a terminal, where progress bars are drawn."""
    os.environ["FORCE_COLOR"] = "1"  # what rich goes by, under Lightning's bar and lucid's; pythae's is always drawn
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)

"""Crashes for tests: processes to be killed, and a full disk."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from lucid.training.checkpoints import Checkpoints
from lucid.training.lock import RunLock
from lucid.training.metrics import MetricsWriter
from lucid.training.window import Averages


def start(target: Callable[..., None], *arguments: object) -> tuple[BaseProcess, Any]:
    """A fresh process (a fork of one that has imported this and runs no threads) and the pipe it reports through."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    reports, sending = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(sending, *arguments))
    process.start()
    sending.close()
    return process, reports


def kill(process: BaseProcess) -> None:
    """SIGKILL, and wait for the end."""
    process.kill()
    process.join()


def received(reports: Any) -> list[int]:
    """Everything a process reported before its end."""
    found: list[int] = []
    try:
        while reports.poll():
            found.append(reports.recv())
    except (EOFError, OSError):
        pass
    return found


@contextmanager
def files_up_to(size: int) -> Generator[None]:
    """A disk that is full after so many bytes of a file: EFBIG, which takes the way of ENOSPC."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def state(step: int, size: int) -> dict[str, torch.Tensor]:
    """A state that every part of says which step it belongs to."""
    return {"a": torch.full((size,), float(step)), "b": torch.full((3,), step, dtype=torch.int64)}


def save_for_ever(reports: Connection, folder: Path, first: int, keep: int, size: int) -> None:
    """Save without end; report each step that is certainly on the disk."""
    checkpoints = Checkpoints(folder, keep=keep, tell=lambda _: None)
    reports.send(first - 1)
    step = first
    while True:
        checkpoints.save(step, state(step, size), {"step": step})
        if step > first:
            reports.send(step - 1)  # each save waits for the one before
        step += 1


def save_and_die(_: Connection, folder: Path, step: int, event: int) -> None:
    """Save one step, keeping one, and be killed at the n-th time that Python asks the system for something."""
    checkpoints = Checkpoints(folder, keep=1, tell=lambda _: None)
    tensors = state(step, 1000)
    seen = 0

    def die(name: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if name.startswith(("os.", "open", "shutil.")):
            seen += 1
            if seen == event:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(die)
    checkpoints.save(step, tensors, {}, wait=True)


def hold(reports: Connection, folder: Path, with_child: bool) -> None:
    """Hold the lock of a run for ever; `with_child`: while a child of ours lives on, as a loader's worker would."""
    with RunLock(folder):
        child = os.fork() if with_child else 0
        if with_child and child == 0:
            time.sleep(60)
            os._exit(0)
        reports.send(child)
        time.sleep(60)


def as_nobody(reports: Connection, folder: Path) -> None:
    """Try to lock a folder and to save into it as a user who may not write there; report the messages."""
    if os.getuid() == 0:
        os.setuid(65534)
    told: list[str] = []
    try:
        with RunLock(folder):
            pass
    except OSError as error:
        told.append(f"{type(error).__name__}: {error}")
    checkpoints = Checkpoints(folder / "checkpoints", tell=told.append)
    newest = checkpoints.newest()
    told.append(f"newest: {newest.step if newest else None}")
    checkpoints.save(2, state(2, 10), {})
    checkpoints.save(3, state(3, 10), {})
    checkpoints.close()
    reports.send(told)


def write_lines(reports: Connection, folder: Path, done: int) -> None:
    """Write a line for each step without end; report each that is written."""
    reports.send(done)
    with MetricsWriter(folder, keep_until=done) as writer:
        while True:
            done += 1
            writer.write("train", Averages(1.0, 1.0, 1.0, [1.0] * 50), step=done, beta=1.0)
            reports.send(done)

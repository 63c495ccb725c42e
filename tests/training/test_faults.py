"""A run that is killed at any instant and resumed equals the unbroken run, bit for bit.

`benchmarks/faults.py` does the same a few hundred times, over all cases.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

import pytest
from tests.training.fault_cases import CASES
from tests.training.faults import Blows, Row, campaign, kill, terminate_twice
from tests.training.helpers import Watcher, dataset, same_weights, vae

import lucid
from lucid.training import fit
from lucid.training.checkpoints import Checkpoints

needs_fork = pytest.mark.skipif(sys.platform != "linux", reason="forks processes that have imported PyTorch")

KILLED = (
    "resident, ema, β linear",
    "resident, keep 1, each step",
    "resident, skip, clip",
    "resident, early stopping",
    "resident, fp16-mixed",
    "map-style, random transforms",
    "iterable, shuffle buffer",
    "file, dynamic binarisation",
    "parquet shards",
)


def rows_of(names: Sequence[str], hits: int, folder: str, blows: Blows) -> list[Row]:
    """A campaign over some of the cases."""
    cases = [case for case in CASES if case.name in names]
    return list(campaign(cases, hits, 0, Path(folder), blows))


@pytest.fixture(scope="module")
def process() -> Iterator[Executor]:
    """A new process: this one may have threads, which a fork does not take along."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        yield executor


@needs_fork
def test_runs_killed_twenty_times_and_resumed_equal_the_unbroken_ones(tmp_path: Path, process: Executor) -> None:
    rows = process.submit(rows_of, KILLED, 20, str(tmp_path), kill).result()
    assert {row.case: row.differences for row in rows if row.differences} == {}
    assert [row.case for row in rows] == list(KILLED)
    assert sum(row.kills for row in rows) == 20


@needs_fork
def test_a_second_sigterm_while_the_first_is_answered_does_no_harm(tmp_path: Path, process: Executor) -> None:
    (row,) = process.submit(rows_of, ["resident, keep 1, each step"], 4, str(tmp_path), terminate_twice).result()
    assert row.differences == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_after_its_step_saved(number: signal.Signals, tmp_path: Path) -> None:
    unbroken = fit(vae(), dataset(), out=tmp_path / "unbroken", steps=30, batch_size=20, progress=False)
    at_step_13 = Watcher(lambda step: os.kill(os.getpid(), number) if step == 13 else None)
    broken = fit(vae(), dataset(), out=tmp_path / "broken", steps=30, batch_size=20, progress=at_step_13)
    assert (broken.steps, broken.interrupted, broken.signal) == (13, True, number)
    newest = Checkpoints(tmp_path / "broken" / "checkpoints", tell=at_step_13.messages.append).newest()
    assert newest is not None
    assert newest.step == 13
    resumed = fit(vae(), dataset(), out=tmp_path / "broken", resume=True, steps=30, batch_size=20, progress=False)
    assert same_weights(resumed.model, unbroken.model)
    assert same_weights(lucid.load(tmp_path / "broken" / "model"), lucid.load(tmp_path / "unbroken" / "model"))

"""One process to a run folder, and no stale locks."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest
from tests.training import killed

from lucid.training.lock import RunInUseError, RunLock


def test_a_second_process_is_told_who_holds_the_folder_and_the_lock_dies_with_its_holder(tmp_path: Path) -> None:
    process, reports = killed.start(killed.hold, tmp_path, False)
    reports.recv()
    with pytest.raises(RunInUseError, match=rf"in use: process {process.pid} is training there.*--resume"):
        RunLock(tmp_path).__enter__()
    killed.kill(process)
    with RunLock(tmp_path):
        pass


def test_a_child_that_outlives_the_holder_does_not_hold_the_lock(tmp_path: Path) -> None:
    process, reports = killed.start(killed.hold, tmp_path, True)
    child = reports.recv()
    try:
        killed.kill(process)
        with RunLock(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_the_same_process_cannot_hold_it_twice_and_can_hold_it_again(tmp_path: Path) -> None:
    with RunLock(tmp_path / "run"):
        with pytest.raises(RunInUseError, match="this very process"):
            RunLock(tmp_path / "run").__enter__()
        with RunLock(tmp_path / "other"):
            pass
    with RunLock(tmp_path / "run"):
        pass


def test_it_is_given_back_when_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), RunLock(tmp_path):
        raise ZeroDivisionError
    with RunLock(tmp_path):
        assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "x", "host": 3}', b"\xff"])
def test_a_damaged_note_of_the_holder_changes_the_words_alone(tmp_path: Path, content: bytes) -> None:
    with RunLock(tmp_path):
        (tmp_path / ".lock.json").write_bytes(content)
        with pytest.raises(RunInUseError, match="another process is training there"):
            RunLock(tmp_path).__enter__()


def test_a_holder_on_another_machine_is_named_with_it(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        (tmp_path / ".lock.json").write_text('{"pid": 7, "host": "node-3"}')
        with pytest.raises(RunInUseError, match="process 7 on node-3 is training there"):
            RunLock(tmp_path).__enter__()


def test_a_folder_that_cannot_be_written_to_is_an_error_that_says_what_to_do() -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders are closed to other users
        Path(place).chmod(0o755)
        folder = Path(place) / "run"
        (folder / "checkpoints").mkdir(parents=True)
        folder.chmod(0o555)
        (folder / "checkpoints").chmod(0o555)
        process, reports = killed.start(killed.as_nobody, folder)
        told = reports.recv()
        process.join()
        folder.chmod(0o755)
    assert told[0].startswith("PermissionError: [Errno 13] Permission denied; a run writes into its folder: make it")
    assert "newest: None" in told
    assert len(told) == 3
    assert "checkpoint of step 2 could not be written (Permission denied" in told[2]


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(FileExistsError, match="make it writable, or choose another"):
        RunLock(tmp_path / "run").__enter__()

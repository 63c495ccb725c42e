"""Checkpoints: what is written is what is read, whatever happens in between."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from tests.training import killed

from lucid import io
from lucid.training import checkpoints as module
from lucid.training.checkpoints import Checkpoints


def silent(_: str) -> None: ...


def steps(folder: Path) -> list[int]:
    """The checkpoints in a folder, by name."""
    return sorted(int(path.name[5:-12]) for path in folder.glob("step-*.safetensors"))


def saved(folder: Path, *, upto: int = 3, keep: int = 3) -> Checkpoints:
    """A folder with the checkpoints of steps 1 … `upto`."""
    checkpoints = Checkpoints(folder, keep=keep, tell=silent)
    for step in range(1, upto + 1):
        checkpoints.save(step, killed.state(step, 4), {"step": step})
    checkpoints.close()
    return checkpoints


# What comes back


def test_everything_comes_back_as_it_was_when_save_was_called(tmp_path: Path) -> None:
    weight = torch.randn(300, 300)
    tensors = {"weight": weight, "tied": weight, "half": torch.ones(3, dtype=torch.bfloat16), "n": torch.tensor(7)}
    expected = {name: value.clone() for name, value in tensors.items()}
    said = {"position": {"step": 12, "seconds": 0.1 + 0.2}, "best": None, "name": "größe", "betas": [0.9, 0.999]}
    with Checkpoints(tmp_path / "deep" / "run", tell=silent) as checkpoints:
        checkpoints.save(1200, tensors, said)
        weight.zero_()
        tensors["n"] += 1
    newest = checkpoints.newest()
    assert newest is not None
    assert (newest.path.name, newest.step, newest.said) == ("step-00001200.safetensors", 1200, said)
    assert all(torch.equal(newest.tensors[name], value) for name, value in expected.items())
    assert newest.tensors["weight"] is newest.tensors["tied"]
    assert newest.tensors["half"].dtype == torch.bfloat16


def test_none_before_the_first(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "nowhere", tell=silent).newest() is None
    assert Checkpoints(tmp_path, tell=silent).newest() is None


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_are_kept_by_their_steps_whatever_clocks_say(
    tmp_path: Path, keep: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(10**9, 0, -(10**6)))
    monkeypatch.setattr(time, "time", lambda: next(clock))
    checkpoints = Checkpoints(tmp_path, keep=keep, tell=silent)
    for step in (1, 2, 5, 100_000_000, 100_000_001):
        checkpoints.save(step, killed.state(step, 4), {})
        checkpoints.close()
        for found in tmp_path.iterdir():
            os.utime(found, (step % 7, -step % 11))
    assert steps(tmp_path) == [5, 100_000_000, 100_000_001][-keep:]
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.step == 100_000_001


def test_keeping_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one checkpoint must be kept; received keep=0"):
        Checkpoints(tmp_path, keep=0, tell=silent)


@pytest.mark.parametrize(
    ("tensors", "said", "error"),
    [
        ({"a": 3}, {}, "'a' must be a tensor"),
        ({"a": torch.eye(2).to_sparse()}, {}, "'a' is a sparse or quantised"),
        ({}, {"loss": float("inf")}, "loss is inf, and JSON has no such number"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_thread(
    tmp_path: Path, tensors: dict, said: dict, error: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        Checkpoints(tmp_path, tell=silent).save(1, tensors, said)
    assert list(tmp_path.iterdir()) == []


# The thread


def test_save_returns_before_the_file_is_there_and_the_next_save_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    write = io.write_tensors

    def slow(*arguments: object) -> None:
        assert go.wait(10)
        write(*arguments)

    monkeypatch.setattr(module.io, "write_tensors", slow)
    checkpoints = Checkpoints(tmp_path, tell=silent)
    checkpoints.save(1, killed.state(1, 4), {})
    assert steps(tmp_path) == []
    go.set()
    checkpoints.save(2, killed.state(2, 4), {})
    assert steps(tmp_path)[0] == 1
    newest = checkpoints.newest()  # waits too
    assert newest is not None
    assert newest.step == 2


def test_a_process_that_ends_or_is_interrupted_writes_its_last_checkpoint(tmp_path: Path) -> None:
    script = f"""
import signal, torch
from pathlib import Path
from lucid.training.checkpoints import Checkpoints
Checkpoints(Path({str(tmp_path)!r}), tell=print).save(7, {{"x": torch.ones(5_000_000)}}, {{}})
signal.raise_signal(signal.SIGINT)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "KeyboardInterrupt" in ended.stderr
    newest = Checkpoints(tmp_path, tell=silent).newest()
    assert newest is not None
    assert (newest.step, newest.tensors["x"].sum()) == (7, 5_000_000)


def test_an_error_that_is_not_the_disks_is_raised_where_it_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ArithmeticError("not expected")

    monkeypatch.setattr(module.io, "write_tensors", broken)
    checkpoints = Checkpoints(tmp_path, tell=silent)
    checkpoints.save(1, {}, {})
    with pytest.raises(ArithmeticError, match="not expected"):
        checkpoints.close()
    checkpoints.close()


# Disks


def test_a_full_disk_is_told_once_and_costs_nothing_that_was_saved(tmp_path: Path) -> None:
    told: list[str] = []
    checkpoints = Checkpoints(tmp_path, keep=2, tell=told.append)
    for step in (1, 2):
        checkpoints.save(step, killed.state(step, 4), {})
    checkpoints.close()
    with killed.files_up_to(2000):
        for step in (3, 4):
            checkpoints.save(step, killed.state(step, 4000), {})
        checkpoints.close()
        with pytest.raises(OSError, match="File too large"):
            checkpoints.save(5, killed.state(5, 4000), {}, wait=True)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "step-00000001.safetensors",
        "step-00000002.safetensors",
    ]
    assert len(told) == 1
    assert "checkpoint of step 3 could not be written (File too large" in told[0]
    assert "step-00000002.safetensors is safe" in told[0]
    checkpoints.save(6, killed.state(6, 4000), {})
    checkpoints.close()
    assert steps(tmp_path) == [2, 6]
    assert told[1:] == [f"checkpoints are being written again: {tmp_path / 'step-00000006.safetensors'} is whole"]


def test_the_first_save_fails_and_says_that_nothing_is_safe(tmp_path: Path) -> None:
    told: list[str] = []
    with killed.files_up_to(100), Checkpoints(tmp_path, tell=told.append) as checkpoints:
        checkpoints.save(1, killed.state(1, 4000), {})
    assert "there is none yet" in told[0]
    assert list(tmp_path.iterdir()) == []


def test_an_old_one_that_cannot_be_removed_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = saved(tmp_path, upto=1, keep=1)

    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.name == "step-00000001.safetensors":
            raise PermissionError(errno.EACCES, "Permission denied")
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        checkpoints.save(2, killed.state(2, 4), {})
        checkpoints.close()
    assert steps(tmp_path) == [1, 2]
    checkpoints.save(3, killed.state(3, 4), {})
    checkpoints.close()
    assert steps(tmp_path) == [3]


# Damage


def test_a_damaged_newest_is_told_and_the_one_before_is_used(tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / "step-00000003.safetensors").write_bytes(b"")
    flip(tmp_path / "step-00000002.safetensors", -1)
    told: list[str] = []
    checkpoints = Checkpoints(tmp_path, keep=1, tell=told.append)
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.step == 1
    assert [line.startswith("damaged checkpoint: ") for line in told] == [True, True]
    assert "step-00000003.safetensors' holds 0 bytes: it was cut short" in told[0]
    assert "step-00000002.safetensors' does not have the SHA-256 that it was written with" in told[1]
    assert all(line.endswith("; going on from step-00000001.safetensors") for line in told)
    # The run goes on from step 1, and may save earlier than at step 3: that one counts, the damaged ones do not.
    checkpoints.save(2, killed.state(2, 4), {})
    checkpoints.close()
    assert steps(tmp_path) == [2]
    assert checkpoints.newest() is not None


def test_damaged_ones_are_not_counted_among_those_kept(tmp_path: Path) -> None:
    saved(tmp_path)
    for step in (2, 3):
        flip(tmp_path / f"step-0000000{step}.safetensors", -1)
    checkpoints = Checkpoints(tmp_path, keep=2, tell=silent)
    checkpoints.newest()
    checkpoints.save(4, killed.state(4, 4), {})
    checkpoints.close()
    assert steps(tmp_path) == [1, 4]


def test_a_save_never_removes_a_later_step(tmp_path: Path) -> None:
    saved(tmp_path)
    with Checkpoints(tmp_path, keep=1, tell=silent) as checkpoints:
        checkpoints.save(2, killed.state(2, 4), {})
    assert steps(tmp_path) == [2, 3]


def test_clearing_removes_the_beginning_alone_and_never_training_that_was_done(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, tell=silent)
    checkpoints.clear()
    checkpoints.save(0, killed.state(0, 4), {}, wait=True)
    checkpoints.clear()
    assert steps(tmp_path) == []
    saved(tmp_path, upto=2)
    with pytest.raises(FileExistsError, match="holds checkpoints up to step 2, which a new run would replace"):
        checkpoints.clear()
    assert steps(tmp_path) == [1, 2]


def test_a_damaged_one_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    saved(tmp_path)
    flip(tmp_path / "step-00000003.safetensors", -1)
    checkpoints = Checkpoints(tmp_path, tell=silent)
    checkpoints.newest()
    checkpoints.save(3, killed.state(3, 4), {})
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.step == 3
    assert steps(tmp_path) == [1, 2, 3]


def flip(path: Path, at: int, mask: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= mask
    path.write_bytes(data)


def test_none_whole_is_an_error_that_names_them_all(tmp_path: Path) -> None:
    saved(tmp_path)
    for path in tmp_path.iterdir():
        flip(path, -1)
    with pytest.raises(ValueError, match=r"no checkpoint in .* is whole: .*3\.safe.*2\.safe.*1\.safe.*Put back a copy"):
        Checkpoints(tmp_path, tell=silent).newest()
    assert steps(tmp_path) == [1, 2, 3]


def test_every_flipped_byte_is_refused(tmp_path: Path) -> None:
    """The last bit; the bit between cases; what makes a tab of a space; all bits: at every byte of the file."""
    saved(tmp_path, upto=1)
    path = tmp_path / "step-00000001.safetensors"
    whole = path.read_bytes()
    for at in range(len(whole)):
        for mask in (1, 0x20, 0x29, 0xFF):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ mask]) + whole[at + 1 :])
            with pytest.raises(ValueError, match="is whole"):
                Checkpoints(tmp_path, tell=silent).newest()


def test_every_truncation_and_extension_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, upto=1)
    path = tmp_path / "step-00000001.safetensors"
    whole = path.read_bytes()
    for content in (*(whole[:end] for end in range(len(whole))), whole + b"\0", whole + whole):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is whole"):
            Checkpoints(tmp_path, tell=silent).newest()


def test_a_disk_that_fails_to_read_is_damage_and_a_file_that_may_not_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path)
    read = io.read_verified
    failure = errno.EIO

    def failing(path: Path) -> object:
        if path.name == "step-00000003.safetensors":
            raise OSError(failure, os.strerror(failure), str(path))
        return read(path)

    monkeypatch.setattr(module.io, "read_verified", failing)
    newest = Checkpoints(tmp_path, tell=silent).newest()
    assert newest is not None
    assert newest.step == 2
    failure = errno.EACCES
    with pytest.raises(PermissionError):
        Checkpoints(tmp_path, tell=silent).newest()


def test_what_another_program_or_a_newer_lucid_wrote_is_never_passed_over(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path)
    path = tmp_path / "step-00000004.safetensors"
    io.write_tensors(path, {"x": torch.ones(1)})
    with pytest.raises(ValueError, match=r"4\.safetensors' is whole, but not a checkpoint of this lucid"):
        checkpoints.newest()
    io.write_tensors(path, {}, {"lucid.checkpoint": "2", "step": "4", "said": "{}"})
    with pytest.raises(ValueError, match=r"has schema 2, and this lucid reads up to 1: .*upgrade lucid-vae"):
        checkpoints.newest()


def test_a_folder_with_only_foreign_files_is_not_an_empty_one(tmp_path: Path) -> None:
    io.write_tensors(tmp_path / "last.safetensors", {}, {"schema": "1"})
    with pytest.raises(ValueError, match=r"last\.safetensors' is whole, but not a checkpoint of this lucid"):
        Checkpoints(tmp_path, tell=silent).newest()


def test_a_renamed_checkpoint_is_not_taken_for_another_step(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, upto=2)
    (tmp_path / "step-00000001.safetensors").rename(tmp_path / "step-00000009.safetensors")
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.step == 2


def test_other_names_are_left_alone(tmp_path: Path) -> None:
    names = [".step-00000001.safetensors.0123456789ab.tmp", "step-1.safetensors", "notes.txt", ".x.0123456789ab.tmp"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    checkpoints = saved(tmp_path, upto=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names[1:], "step-00000001.safetensors"])
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.step == 1


# Kills


def test_kills_at_random_instants_lose_nothing_that_was_saved(tmp_path: Path) -> None:
    """24 SIGKILLs of a process that does nothing but save: all that it knew to be on the disk is there and whole."""
    times = random.Random(1)
    keep, inside, done = 2, 0, 0
    for _ in range(24):
        process, reports = killed.start(killed.save_for_ever, tmp_path, done + 1, keep, 200_000)
        certain = max([done, *(reports.recv() for _ in range(times.randint(1, 3)))])
        time.sleep(times.uniform(0, 0.02))
        killed.kill(process)
        certain = max([certain, *killed.received(reports)])
        inside += any(path.suffix == ".tmp" for path in tmp_path.iterdir())
        told: list[str] = []
        newest = Checkpoints(tmp_path, tell=told.append).newest()
        assert told == []
        assert (newest.step if newest else 0) >= certain
        if newest is not None:
            expected = killed.state(newest.step, 200_000)
            assert all(torch.equal(newest.tensors[name], value) for name, value in expected.items())
            assert newest.said == {"step": newest.step}
            done = newest.step
            assert steps(tmp_path)[-keep:] == list(range(max(1, done - keep + 1), done + 1))
            assert len(steps(tmp_path)) <= keep + 1
    assert done >= 10
    assert inside > 0, "the kills were meant to hit writes"
    checkpoints = Checkpoints(tmp_path, keep=keep, tell=silent)
    checkpoints.save(done + 1, {}, {}, wait=True)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_a_kill_at_each_point_of_a_save_leaves_the_old_or_the_new_checkpoint(tmp_path: Path) -> None:
    """With one checkpoint kept: at whichever call of the system the process dies, one whole checkpoint is there."""
    found: list[int] = []
    for event in range(1, 100):
        folder = tmp_path / str(event)
        saved(folder, upto=1)
        (folder / ".step-00000007.safetensors.0123456789ab.tmp").write_bytes(b"x")  # there is something to clear, too
        process, _ = killed.start(killed.save_and_die, folder, 2, event)
        process.join()
        newest = Checkpoints(folder, tell=silent).newest()
        assert newest is not None
        assert torch.equal(newest.tensors["a"], torch.full((4 if newest.step == 1 else 1000,), float(newest.step)))
        found.append(newest.step)
        if process.exitcode == 0:
            assert steps(folder) == [2]
            break
    assert found == sorted(found)
    assert found.count(1) >= 4
    assert found.count(2) >= 3

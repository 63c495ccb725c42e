"""metrics.jsonl: every line whole, none lost, whatever the disk does."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.training import killed

from lucid.training.metrics import MetricsWriter, read_metrics
from lucid.training.window import Averages

AVERAGES = Averages(3.0, -2.5, -2.0, [0.25, 0.25])


def write(writer: MetricsWriter, *steps: int) -> None:
    for step in steps:
        writer.write("train", AVERAGES, step=step, beta=1.0)


def steps(folder: Path) -> list[int]:
    return [line["step"] for line in read_metrics(folder / "metrics.jsonl")]


def test_a_line_holds_what_was_given(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path) as writer:
        writer.write("validation", AVERAGES, step=3, beta=0.5, skipped=2)
        writer.write("train", Averages(float("nan"), 1.0, float("-inf"), [float("nan"), 1.0]), step=4, beta=0.5)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {
        "split": "validation",
        "step": 3,
        "beta": 0.5,
        "skipped": 2,
        "loss": 3.0,
        "elbo": -2.5,
        "reconstruction": -2.0,
        "kl": [0.25, 0.25],
    }
    assert "NaN" not in lines[1]
    assert read_metrics(tmp_path / "metrics.jsonl")[1]["kl"] == [None, 1.0]


def test_no_folder_writes_nothing() -> None:
    with MetricsWriter(None) as writer:
        write(writer, 1)


def test_a_resumed_run_drops_the_lines_it_will_write_again_and_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    kept = b'{"split": "train",  "step": 1}\n{"step": 2, "kl": [1e0]}\n'
    path.write_bytes(kept + b'{"step": 3}\n{"step": 4}\n{"st')
    identity = path.stat().st_ino
    with MetricsWriter(tmp_path, keep_until=2) as writer:
        assert path.read_bytes() == kept
        write(writer, 3)
    assert path.read_bytes().startswith(kept)
    assert path.stat().st_ino == identity
    assert steps(tmp_path) == [1, 2, 3]
    with MetricsWriter(tmp_path, keep_until=10):
        pass
    assert steps(tmp_path) == [1, 2, 3]
    with MetricsWriter(tmp_path):
        pass
    assert path.read_bytes() == b""


def test_a_resume_needs_no_room_on_the_disk(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path) as writer:
        write(writer, *range(1, 11))
    with killed.files_up_to(1), MetricsWriter(tmp_path, keep_until=5):
        assert steps(tmp_path) == [1, 2, 3, 4, 5]


def test_damage_is_told_with_its_line_and_the_file_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for line, why in (b'{"st', "is not JSON"), (b"\xff\xfe", "is not JSON"), (b"[1]", "is not a JSON object"):
        path.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 3}\n')
        before = path.read_bytes()
        with pytest.raises(ValueError, match=rf"line 2 of .*metrics\.jsonl {why}.*Remove that line"):
            MetricsWriter(tmp_path, keep_until=3)
        assert path.read_bytes() == before


def test_a_full_disk_delays_lines_and_loses_none(tmp_path: Path) -> None:
    told: list[str] = []
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(tmp_path, tell=told.append) as writer:
        write(writer, 1, 2)
        whole = path.read_bytes()
        with killed.files_up_to(len(whole) + 50):  # room for half a line
            write(writer, 3)
            assert path.read_bytes() == whole
            write(writer, 4, 5)
            assert path.read_bytes() == whole
        assert len(told) == 1
        assert "metrics.jsonl cannot be written (File too large): training goes on" in told[0]
        write(writer, 6)
        assert steps(tmp_path) == [1, 2, 3, 4, 5, 6]
        write(writer, 7)
    assert told[1:] == [f"{path} can be written again, and nothing is missing from it"]
    assert steps(tmp_path) == [1, 2, 3, 4, 5, 6, 7]
    assert read_metrics(path)[2] == {**read_metrics(path)[0], "step": 3}


def test_lines_that_wait_are_written_at_the_end_or_said_to_be_lost(tmp_path: Path) -> None:
    told: list[str] = []
    with MetricsWriter(tmp_path, tell=told.append) as writer, killed.files_up_to(10):
        write(writer, 1, 2)
    assert steps(tmp_path) == [1, 2]
    with killed.files_up_to(10), MetricsWriter(tmp_path, tell=told.append) as writer:
        write(writer, 1, 2)
    assert steps(tmp_path) == []
    assert told[-1] == f"the last 2 lines of {tmp_path / 'metrics.jsonl'} are lost: File too large"


def test_half_a_line_that_cannot_be_cut_off_at_once_is_cut_off_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that becomes read-only in the middle of a line: nothing works until it is mounted anew."""
    writer = MetricsWriter(tmp_path)
    write(writer, 1)
    lines = writer._lines
    assert lines is not None

    class Broken:
        def __init__(self, file: object) -> None:
            self.file, self.calls = file, 0

        def write(self, data: bytes) -> int:
            self.calls += 1
            if self.calls == 1:
                return self.file.write(bytes(data)[:20])  # type: ignore[attr-defined]
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        def truncate(self, size: int) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        def close(self) -> None:
            self.file.close()  # type: ignore[attr-defined]

    lines._file = Broken(lines._file)  # type: ignore[assignment]
    write(writer, 2)
    assert steps(tmp_path) == [1]  # the half line has no end, so it is not one

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", refuse)
        write(writer, 3)
    write(writer, 4)
    assert steps(tmp_path) == [1, 2, 3, 4]
    writer.__exit__(None, None, None)


def test_kills_leave_whole_lines_and_lose_none_that_was_written(tmp_path: Path) -> None:
    certain = 0
    for pause in (0.0, 0.003, 0.01, 0.02):
        process, reports = killed.start(killed.write_lines, tmp_path, certain)
        reports.recv()
        time.sleep(pause)
        killed.kill(process)
        written = max([certain, *killed.received(reports)])
        found = steps(tmp_path)
        assert found == list(range(1, len(found) + 1))
        assert len(found) >= written
        certain = written
    assert certain > 10


def test_tensorboard_on_a_full_disk_stops_alone(tmp_path: Path) -> None:
    """In a process of its own: TensorBoard's thread prints what happened to it."""
    pytest.importorskip("tensorboard")
    script = f"""
import resource, time
from pathlib import Path
from lucid.training.metrics import MetricsWriter
from lucid.training.window import Averages
told = []
with MetricsWriter(Path({str(tmp_path)!r}), tensorboard=True, tell=told.append) as writer:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, before[1]))
    for step in range(1, 1001):
        writer.write("train", Averages(1.0, 1.0, 1.0, [1.0]), step=step, beta=1.0)
        if step % 100 == 0:
            writer._board and writer._board.flush()
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
print("\\n".join(told))
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "metrics.jsonl cannot be written" in ended.stdout
    assert "TensorBoard" in ended.stdout
    assert steps(tmp_path) == list(range(1, 1001))

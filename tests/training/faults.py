"""Breaks runs off at random instants, takes them up again, and compares what is left with the unbroken run.

Every start of a run is a process of its own, forked from this one, which has imported everything and does no work with
tensors, so that there is nothing in it that a fork would break. POSIX only.
"""

from __future__ import annotations

import importlib
import os
import random
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tests.training.fault_cases import SETTINGS, Case
from torch import Tensor

from lucid import io
from lucid.training import fit
from lucid.training.checkpoints import Checkpoints
from lucid.training.metrics import read_metrics
from lucid.training.settings import Settings

__all__ = ["PLACES", "Row", "campaign"]

PLACES = ("before the run", "in a checkpoint", "in the artefact", "between", "after the end")
"""Where a kill can land: before there is a run, while one of these is being written, or none; when all is written."""

_TIMED = ("seconds", "examples_per_second")
_PATIENCE = 300.0
_SHOWN = 6
_DONE, _FAILED = b"d", b"e"


@dataclass
class Row:
    """What happened to one case.

    Attributes:
        case: Its name.
        places: How many kills landed where.
        resumes: Starts with `resume=True`.
        restarts: Starts anew, since the kill came before there was a run.
        runs: Runs that came to their end.
        differences: What of a run was not as in the unbroken one; and its failure, which ends the case.
        seconds: That it all took.
    """

    case: str
    places: Counter[str] = field(default_factory=Counter[str])
    resumes: int = 0
    restarts: int = 0
    runs: int = 0
    differences: list[str] = field(default_factory=list[str])
    seconds: float = 0.0

    @property
    def kills(self) -> int:
        """All of them."""
        return self.places.total()


class Blow(NamedTuple):
    """A signal, so many seconds after the one before it, or after the start."""

    seconds: float
    number: int


Blows = Callable[[random.Random, float], list[Blow]]
"""Draws what hits a start of a run that would take so many seconds."""


def kill(chance: random.Random, seconds: float) -> list[Blow]:
    """One SIGKILL."""
    return [Blow(chance.uniform(0, seconds), signal.SIGKILL)]


def interrupt(chance: random.Random, seconds: float) -> list[Blow]:
    """Ctrl-C."""
    return [Blow(chance.uniform(0, seconds), signal.SIGINT)]


def terminate_twice(chance: random.Random, seconds: float) -> list[Blow]:
    """SIGTERM, and another one while the run may be saving because of the first."""
    return [Blow(chance.uniform(0, seconds), signal.SIGTERM), Blow(chance.uniform(0, 0.08), signal.SIGTERM)]


def campaign(cases: Sequence[Case], hits: int, seed: int, folder: Path, blows: Blows = kill) -> Iterator[Row]:
    """Hit the cases as often as their weights say, `hits` times in all; each case's row when it is done.

    Args:
        cases: What is run.
        hits: How many times a start of a run is hit.
        seed: Of the instants; when a process is where is not repeatable, of course.
        folder: For runs and data; empty.
        blows: What hits a start.
    """
    torch.set_num_threads(1)
    (folder / "data").mkdir()
    _in_a_process(lambda: _write_data(folder / "data"))
    total, before = sum(case.weight for case in cases), 0.0
    for case in cases:
        for name in case.imports:
            importlib.import_module(name)
        quota = round(hits * (before + case.weight) / total) - round(hits * before / total)
        before += case.weight
        if quota:
            yield _Trial(case, folder / f"case-{cases.index(case)}", folder / "data", blows).hit(quota, seed)


def _write_data(folder: Path) -> None:
    from tests.training.fault_cases import write_files

    write_files(folder)


class _Trial:
    """One case: its unbroken run, and those that are broken off.

    Args:
        case: The case.
        folder: For its runs.
        data: What `write_files` wrote.
        blows: What hits a start.
    """

    def __init__(self, case: Case, folder: Path, data: Path, blows: Blows) -> None:
        self.case = case
        self.folder = folder
        self._data = data
        self._blows = blows
        self._row = Row(case.name)
        self._settings = Settings.of(**{**SETTINGS, **case.settings})
        folder.mkdir()

    def hit(self, times: int, seed: int) -> Row:
        """Have runs broken off so many times in all, and resumed until they end."""
        began = time.monotonic()
        try:
            self._hit(times, random.Random(f"{seed} {self.case.name}"))
        except AssertionError as failure:
            self._row.differences.append(str(failure).strip())
        self._row.seconds = time.monotonic() - began
        return self._row

    def _hit(self, times: int, chance: random.Random) -> None:
        if self.case.settings.get("compile"):
            self._unbroken("compiling")  # which takes longer the first time
        unbroken, seconds = self._unbroken("unbroken")
        while self._row.kills < times:
            out = self.folder / f"run-{self._row.runs}"
            self._broken(out, times, chance, seconds)
            self._row.runs += 1
            found = _differences(unbroken, _left(out)) + self._beside(out)
            if found and _differences(unbroken, self._unbroken(f"again-{self._row.runs}")[0]):
                found.append("two unbroken runs differ too")
            self._row.differences += [f"{out.name}: {what}" for what in found]

    def _beside(self, out: Path) -> list[str]:
        kept = sorted(path.name for path in (out / "checkpoints").glob("*.safetensors"))
        return [f"too many checkpoints: {kept}"] if len(kept) > self._settings.keep_checkpoints else []

    def _unbroken(self, name: str) -> tuple[dict[str, Any], float]:
        out = self.folder / name
        start = _Start(lambda: self._train(out, resume=False))
        seconds = start.ends()
        left = _left(out)
        if not self.case.shown(left):
            raise AssertionError(f"{self.case.name}: the option does nothing")
        return left, seconds

    def _broken(self, out: Path, times: int, chance: random.Random, seconds: float) -> None:
        """One run, started until it comes to its end."""
        while True:
            resume = (out / "run.json").exists()
            before = _unfinished(out)
            start = _Start(lambda resume=resume: self._train(out, resume=resume), linger=0.05 * seconds)
            if self._row.kills == times:
                start.ends()
                self._count(resume)
                return
            ended = start.struck(self._blows(chance, seconds * 1.05))
            self._count(resume)
            if ended:
                return
            self._row.places[_place(out, start.done, _unfinished(out) - before)] += 1

    def _count(self, resumed: bool) -> None:
        if resumed:
            self._row.resumes += 1
        else:
            self._row.restarts += 1

    def _train(self, out: Path, *, resume: bool) -> bool:
        """Train to the end; whether it came there."""
        # Of the compiler: no processes of its own, and what it made once, found again.
        os.environ |= {"TORCHINDUCTOR_COMPILE_THREADS": "1", "TORCHINDUCTOR_CACHE_DIR": str(self.folder / "compiled")}
        case = self.case
        result = fit(
            case.model(),
            case.data(self._data),
            out=out,
            resume=resume,
            settings=self._settings,
            optimizer=case.optimizer,
            progress=False,
        )
        if result.interrupted:
            _require_saved(out, result.steps)
        return not result.interrupted


def _require_saved(out: Path, steps: int) -> None:
    """What was done before a polite signal is not lost."""
    newest = _newest(out)
    if newest.step != steps:
        raise AssertionError(f"interrupted after step {steps}, and the newest checkpoint is of step {newest.step}")


# Processes


class _Start:
    """A process that does something and says when it is done.

    Args:
        work: What it does; False says that there is more to do.
        linger: Seconds it lives on afterwards.

    Attributes:
        done: Whether the work was done before it died.
    """

    def __init__(self, work: Callable[[], bool | None], linger: float = 0.0) -> None:
        self.done = False
        self._status: int | None = None
        self._began = time.monotonic()
        self._said, saying = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _work(work, saying, linger)
        os.close(saying)
        os.set_blocking(self._said, False)

    def ends(self) -> float:
        """Wait for the end, which must be a good one; the seconds it took."""
        if not self._dies_within(_PATIENCE):
            self._give_up("undisturbed")
        seconds = time.monotonic() - self._began
        if not self._came_to_its_end():
            raise AssertionError(f"a run died by itself, with status {self._status}")
        return seconds

    def struck(self, blows: list[Blow]) -> bool:
        """Hit it, unless it ends before; whether it came to its end."""
        for blow in blows:
            if self._dies_within(blow.seconds):
                break
            os.kill(self.pid, blow.number)
        if not self._dies_within(_PATIENCE):
            self._give_up(f"on {blows}")
        return self._came_to_its_end()

    def _dies_within(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            left = until - time.monotonic()
            if pid:
                self._status = status
            elif left <= 0:
                return False
            else:
                time.sleep(min(left, 0.002))
        return True

    def _came_to_its_end(self) -> bool:
        """Of a dead process; its failure is raised here."""
        said = b""
        with suppress(BlockingIOError):
            said = os.read(self._said, 1 << 16)
        os.close(self._said)
        if said[:1] == _FAILED:
            raise AssertionError(said[1:].decode())
        self.done = said[:1] == _DONE
        return self.done and self._status == 0

    def _give_up(self, why: str) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise AssertionError(f"a run did not end in {_PATIENCE:.0f} s {why}")


def _work(work: Callable[[], bool | None], saying: int, linger: float) -> None:
    """What the forked process does; it does not return."""
    try:
        if work() is not False:
            os.write(saying, _DONE)
            time.sleep(linger)
    except KeyboardInterrupt:
        pass  # Ctrl-C before the run listens
    except BaseException:  # noqa: BLE001  said where it is seen
        os.write(saying, _FAILED + traceback.format_exc()[-4000:].encode())
    finally:
        os._exit(0)


def _in_a_process(work: Callable[[], bool | None]) -> None:
    _Start(work).ends()


# What a run leaves


def _unfinished(out: Path) -> set[Path]:
    """What writes that were broken off have left."""
    # ".tmpXXXXXX" is how safetensors begins a file.
    return {path for pattern in (".*.tmp", ".tmp*", ".*.previous") for path in out.rglob(pattern)}


def _place(out: Path, done: bool, unfinished: set[Path]) -> str:
    if done:
        return "after the end"
    if not (out / "run.json").exists():
        return "before the run"
    if any(path.parent.name == "checkpoints" for path in unfinished):
        return "in a checkpoint"
    return "in the artefact" if unfinished else "between"


def _newest(out: Path) -> Any:
    messages: list[str] = []
    newest = Checkpoints(out / "checkpoints", tell=messages.append).newest()
    if newest is None or messages:
        raise AssertionError(f"no whole checkpoint is the newest in {out}: {messages}")
    return newest


def _left(out: Path) -> dict[str, Any]:
    """All that a run leaves, but for times: texts and numbers by their place, and tensors."""
    newest = _newest(out)
    newest.said["position"].pop("seconds")
    config = io.read_json(out / "model" / "config.json")
    config["weights"].pop("sha256")  # of the file, in whose header texts stand in any order
    metrics = [{k: v for k, v in line.items() if k not in _TIMED} for line in read_metrics(out / "metrics.jsonl")]
    files = [str(path.relative_to(out)) for path in sorted(out.rglob("*")) if path.suffix != ".safetensors"]
    parts = {
        "checkpoint": {**newest.said, "tensors": newest.tensors},
        "artefact": {**config, "tensors": io.read_tensors(out / "model" / "model.safetensors")},
        "metrics": metrics,
        "run.json": io.read_json(out / "run.json"),
        "files": dict.fromkeys(files, "there"),
    }
    return dict(_flat("", parts))


def _flat(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _flat(f"{place} {key}".strip(), item)
    else:
        yield place, value


def _differences(unbroken: dict[str, Any], broken: dict[str, Any]) -> list[str]:
    """What differs in any bit: of tensors the names, of all else how."""
    names = [name for name in {**unbroken, **broken} if not _same(unbroken.get(name), broken.get(name))]
    tensors = [name for name in names if isinstance(unbroken.get(name), Tensor)]
    said = [f"{name}: {broken.get(name)} (unbroken {unbroken.get(name)})" for name in names if name not in tensors]
    return said[:_SHOWN] + ([f"{len(tensors)} tensors, such as {tensors[0]}"] if tensors else [])


def _same(one: Any, other: Any) -> bool:
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return type(one) is type(other) and one == other
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(_bytes(one), _bytes(other))


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1).view(torch.uint8)

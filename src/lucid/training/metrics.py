"""The numbers of a run: `metrics.jsonl`, one JSON object a line, and TensorBoard where it is wanted."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

from lucid.training.window import Averages

__all__ = ["MetricsWriter", "read_metrics"]


class MetricsWriter:
    """Appends to `metrics.jsonl`, and to TensorBoard.

    A line is in the file whole or not at all. Where one cannot be written (a full disk, …), it and those after it are
    kept in memory and written as soon as that goes again; the user is told once.

    Args:
        folder: The run folder; None writes nothing.
        tensorboard: Whether to write event files into `folder/tensorboard` too.
        keep_until: In a resumed run, lines of later steps are dropped: they will be written again. The others stay
            where they are in the file, untouched.
        tell: Told in one line what the user should know.

    Raises:
        ImportError: If TensorBoard is wanted and not installed.
        ValueError: If the file that is to be gone on with is damaged.
        OSError: If the file cannot be opened for writing.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        tensorboard: bool = False,
        keep_until: int = 0,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._lines: _Lines | None = None
        self._board: Any = None
        self._tell = tell
        if folder is None:
            return
        path = folder / "metrics.jsonl"
        self._lines = _Lines(path, _kept_bytes(path, keep_until), tell)
        if tensorboard:
            self._board = _tensorboard(folder / "tensorboard", keep_until)

    def write(self, split: str, averages: Averages, **more: float | list[int]) -> None:
        """Write one line: the means over a split's examples, with `step`, `epoch`, `beta` and more.

        A validation's also holds `active_units` and `latent_units`, lists indexed by level.
        """
        line = {"split": split, **more, **averages._asdict()}
        if self._lines is not None:
            self._lines.write(json.dumps({k: _finite(v) for k, v in line.items()}))
        if self._board is not None:
            try:
                _show(self._board, split, averages, more)
            except OSError as error:
                self._board = None
                self._tell(f"TensorBoard's event files cannot be written any more ({error}); metrics.jsonl goes on")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lines is not None:
            self._lines.close()
        if self._board is not None:
            try:
                self._board.close()
            except OSError as failed:
                self._tell(f"the last of TensorBoard's events could not be written ({failed}); metrics.jsonl has them")


class _Lines:
    """A file of lines that ends with a whole one, whatever happens.

    Args:
        path: The file.
        size: Bytes of it to keep; what is beyond them is cut off.
        tell: Told when lines cannot be written, and when they could.
    """

    def __init__(self, path: Path, size: int, tell: Callable[[str], None]) -> None:
        self._path = path
        self._size = size
        self._tell = tell
        self._waiting: list[bytes] = []
        self._failing = False
        self._file: BinaryIO | None = self._opened()

    def write(self, line: str) -> None:
        """Append a line and all that wait before it, or let it wait too."""
        self._waiting.append(line.encode() + b"\n")
        try:
            self._flush()
        except OSError as error:
            self._give_up_for_now(error)
            return
        if self._failing:
            self._failing = False
            self._tell(f"{self._path} can be written again, and nothing is missing from it")

    def close(self) -> None:
        """Write what still waits, or say that it is lost."""
        try:
            self._flush()
        except OSError as error:
            self._tell(f"the last {len(self._waiting)} lines of {self._path} are lost: {error.strerror}")
        if self._file is not None:
            self._file.close()

    def _flush(self) -> None:
        if not self._waiting:
            return
        if self._file is None:
            self._file = self._opened()
        data = memoryview(b"".join(self._waiting))
        done = 0
        while done < len(data):  # a disk that fills up takes a part first
            done += self._file.write(data[done:]) or 0
        self._size += done
        self._waiting.clear()

    def _opened(self) -> BinaryIO:
        # Unbuffered: what is written is in the hands of the system, and survives our own death.
        file = self._path.open("ab", buffering=0)
        try:
            file.truncate(self._size)
        except OSError:
            file.close()
            raise
        return file

    def _give_up_for_now(self, error: OSError) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)  # half a line; if this fails too, opening again cuts it off
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
        if not self._failing:
            self._failing = True
            self._tell(
                f"{self._path} cannot be written ({error.strerror}): training goes on, and the lines are kept in "
                "memory until it can"
            )


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl`; a last line that was cut off by a kill is left out.

    Raises:
        ValueError: If any other line is not a JSON object.
    """
    return [line for line, _ in _whole_lines(path)]


def _whole_lines(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Each line that was written whole, and the byte after it."""
    if not path.exists():
        return
    end = 0
    for number, text in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        end += len(text) + 1
        try:
            line = json.loads(text)
        except ValueError as error:  # not UTF-8, or not JSON
            raise ValueError(f"line {number} of {path} is not JSON: {error}. Remove that line to go on") from error
        if not isinstance(line, dict):
            raise ValueError(f"line {number} of {path} is not a JSON object: {text[:40]!r}. Remove that line to go on")
        yield cast("dict[str, Any]", line), end


def _kept_bytes(path: Path, until: int) -> int:
    """Length of the part of the file that holds no line of a later step (lines are in the order of steps)."""
    kept = 0
    if until > 0:
        for line, end in _whole_lines(path):
            if line.get("step", 0) > until:
                break
            kept = end
    return kept


def _show(board: Any, split: str, averages: Averages, more: Mapping[str, Any]) -> None:
    step = int(more["step"])
    for name in ("loss", "elbo", "reconstruction"):
        board.add_scalar(f"{name}/{split}", getattr(averages, name), step)
    for level, kl in enumerate(averages.kl):
        board.add_scalar(f"kl_{level}/{split}", kl, step)
    for level, active in enumerate(more.get("active_units", ())):
        board.add_scalar(f"active_units_{level}/{split}", active, step)
    board.add_scalar("beta", more["beta"], step)


def _finite(value: Any) -> Any:
    """JSON has no NaN or inf: null stands for them."""
    if isinstance(value, list):
        return [_finite(item) for item in cast("list[Any]", value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _tensorboard(folder: Path, keep_until: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError("TensorBoard is not installed: pip install 'lucid-vae[tensorboard]'") from error
    # Curves of later steps are hidden where TensorBoard finds this mark: they will be drawn again.
    return SummaryWriter(str(folder), purge_step=keep_until + 1 if keep_until else None)

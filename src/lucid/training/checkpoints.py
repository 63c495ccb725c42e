"""The checkpoints of a run: complete, checksummed, written while training goes on; the newest whole one is found."""

from __future__ import annotations

import contextlib
import errno
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from torch import Tensor

from lucid import io
from lucid.io.files import json_text, parse_json, remove_leftovers
from lucid.io.tensors import UncheckedError, copied

__all__ = ["Checkpoint", "Checkpoints"]

_NAME = re.compile(r"step-(\d{8,})\.safetensors")
_MARK = "lucid.checkpoint"  # its text is the schema
_SCHEMA = 1


class Checkpoint(NamedTuple):
    """A run after `step` steps: its tensors by name, and what was said with them (plain JSON)."""

    path: Path
    step: int
    tensors: dict[str, Tensor]
    said: dict[str, Any]


class Checkpoints:
    """The folder of one run's checkpoints; whoever saves holds the run's `RunLock`.

    A file appears under its name when it is whole and on the disk, and older ones go only after that. So a kill, a
    power cut or a full disk at any instant leaves the newest checkpoint that was there. Names count steps: clocks do
    not matter.

    Args:
        folder: Where they lie; it is made when the first is saved.
        keep: How many of the newest are kept.
        tell: Told in one line what the user should know; called from the writing thread too.

    Raises:
        ValueError: `keep` is less than one.

    Example:
        >>> import tempfile, torch
        >>> from pathlib import Path
        >>> from lucid.training.checkpoints import Checkpoints
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Checkpoints(Path(folder), tell=print) as checkpoints:
        ...         checkpoints.save(5, {"weight": torch.ones(2)}, {"epoch": 1})
        ...     newest = checkpoints.newest()
        >>> newest.step, newest.tensors["weight"], newest.said
        (5, tensor([1., 1.]), {'epoch': 1})
    """

    def __init__(self, folder: Path, *, keep: int = 3, tell: Callable[[str], None]) -> None:
        if keep < 1:
            raise ValueError(f"at least one checkpoint must be kept; received keep={keep}")
        self.folder = folder
        self.keep = keep
        self._tell = tell
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None
        self._failing = False
        self._started = False
        self._damaged: set[Path] = set()

    # Writing

    def save(self, step: int, tensors: Mapping[str, Tensor], said: Mapping[str, Any], *, wait: bool = False) -> None:
        """Write a checkpoint of the tensors as they are now; the caller may change them as soon as this returns.

        The write goes on in a thread, and the next `save` waits for it. That pays at every size: on two cores, 1, 50
        and 500 MB held training up for 1, 13 and 110–220 ms, where waiting for the disk took 5–150, 80 and 1300–1700.
        (What hashing and writing take of the processor is taken either way; memory for one more state is the price.)
        The interpreter does not exit before the file is written, and no signal handler runs in that thread.

        Where a write fails (a full disk, …) the user is told what is still safe, once, and training can go on.

        Args:
            step: Training steps done.
            tensors: Dense tensors on any device; names of one tensor stay names of one tensor.
            said: Everything else, as JSON holds it.
            wait: Return when the file is on the disk, and raise where it cannot be written.

        Raises:
            TypeError, ValueError: A tensor or value that a checkpoint cannot hold, by name.
            OSError: With `wait`: the file cannot be written.
        """
        self._finish()
        header = {_MARK: str(_SCHEMA), "step": str(step), "said": json_text(dict(said))}
        if wait:
            self._write(step, tensors, header)
            return
        arguments = (step, copied(tensors), header)
        # Not a daemon: a process that ends waits for it.
        self._thread = threading.Thread(target=self._write_or_tell, args=arguments, name=f"lucid-checkpoint-{step}")
        self._thread.start()

    def clear(self) -> None:
        """Remove what a run left that was killed before it had begun, its step 0: the next one begins anew.

        Raises:
            FileExistsError: There are checkpoints of training that was done.
        """
        saved = self._found()
        if saved and saved[0][0] > 0:
            raise FileExistsError(
                f"{str(self.folder)!r} holds checkpoints up to step {saved[0][0]}, which a new run would replace: move "
                "them away, or choose another folder"
            )
        for _, path in saved:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Wait until the last checkpoint is on the disk (or has failed, and was told).

        Raises:
            Exception: Whatever made the last write fail that was not the disk's doing.
        """
        self._finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _finish(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _write_or_tell(self, step: int, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
        try:
            self._write(step, tensors, header)
        except OSError as error:
            if not self._failing:
                self._failing = True
                self._tell(self._unwritten(step, error))
        except Exception as error:  # noqa: BLE001  raised where the caller can see it, at the next save or close
            self._failure = error

    def _write(self, step: int, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._started:
            remove_leftovers(self.folder, _NAME.pattern)
            self._started = True
        path = self.folder / f"step-{step:08d}.safetensors"
        io.write_tensors(path, tensors, header)
        self._damaged.discard(path)
        if self._failing:
            self._failing = False
            self._tell(f"checkpoints are being written again: {path} is whole")
        self._prune(step)

    def _prune(self, step: int) -> None:
        """Once the checkpoint of `step` is on the disk: remove the oldest, and those known to be damaged."""
        older = [path for found, path in self._found() if found < step and path not in self._damaged]
        for path in (*older[self.keep - 1 :], *self._damaged):
            with contextlib.suppress(OSError):  # it is tried again after the next one
                path.unlink(missing_ok=True)
        self._damaged = {path for path in self._damaged if path.exists()}

    def _unwritten(self, step: int, error: OSError) -> str:
        saved = self._found()
        safe = f"{saved[0][1]} is safe" if saved else "there is none yet"
        why = f"{error.strerror}: {error.filename}" if error.filename else str(error)
        return (
            f"the checkpoint of step {step} could not be written ({why}); the newest before it: {safe}. Training goes "
            "on, and the next one will be tried"
        )

    # Reading

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; None where none was ever saved.

        A damaged one is told and passed over; it is removed when the next one has been saved.

        Raises:
            ValueError: There are checkpoints and none is whole, or one is of a newer lucid or another program.
            OSError: A file cannot be read.
        """
        self._finish()
        faults: list[str] = []
        for step, path in self._found():
            found = self._opened(path, step)
            if isinstance(found, Checkpoint):
                for fault in faults:
                    self._tell(f"damaged checkpoint: {fault}; going on from {path.name}")
                return found
            self._damaged.add(path)
            faults.append(found)
        if faults:
            raise ValueError(
                f"no checkpoint in {str(self.folder)!r} is whole: {'; '.join(faults)}. Put back a copy of one, or "
                "start anew in another folder"
            )
        for path in sorted(self.folder.glob("*.safetensors")):
            self._refuse_foreign(path, io.read_metadata(path))
        return None

    def _found(self) -> list[tuple[int, Path]]:
        """The checkpoints by step, the newest first."""
        if not self.folder.is_dir():
            return []
        named = ((_NAME.fullmatch(path.name), path) for path in self.folder.iterdir())
        return sorted(((int(match[1]), path) for match, path in named if match is not None), reverse=True)

    def _opened(self, path: Path, step: int) -> Checkpoint | str:
        """A whole checkpoint, or how it is damaged."""
        try:
            tensors, header = io.read_verified(path)
        except UncheckedError as error:
            self._refuse_foreign(path, io.read_metadata(path))
            return str(error)
        except ValueError as error:
            return str(error)
        except OSError as error:
            if error.errno != errno.EIO:  # EIO: the disk fails at this place, and the file before may be readable
                raise
            return str(error)
        self._refuse_foreign(path, header)
        if header["step"] != str(step):
            return f"{str(path)!r} holds step {header['step']}: it was renamed"
        return Checkpoint(path, step, tensors, parse_json(header["said"].encode(), f"what {str(path)!r} says"))

    def _refuse_foreign(self, path: Path, header: Mapping[str, str]) -> None:
        """Refuse what nobody damaged and yet this lucid does not understand: passing it over would lose work."""
        schema = header.get(_MARK)
        if schema is None:
            raise ValueError(
                f"{str(path)!r} is whole, but not a checkpoint of this lucid: go on with the program that wrote it, or "
                f"move it out of {str(self.folder)!r}"
            )
        if schema != str(_SCHEMA):
            raise ValueError(
                f"{str(path)!r} has schema {schema}, and this lucid reads up to {_SCHEMA}: a newer one wrote it; "
                "upgrade lucid-vae"
            )

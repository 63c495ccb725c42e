"""One process to a run folder."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from filelock import FileLock, Timeout

from lucid import io

__all__ = ["RunInUseError", "RunLock"]


class RunInUseError(RuntimeError):
    """Another process writes into the run folder."""


class RunLock:
    """The right to write into a run folder, held by one process at a time, while the `with` block lasts.

    The operating system gives it back when the process ends in any way, SIGKILL too, so that there is never a stale
    lock to remove. Reading a run needs no lock.

    Args:
        folder: The run folder; it is made if it is missing.

    Raises:
        RunInUseError: On entering, when another process holds it; the message says which.
        OSError: On entering, when the folder cannot be written to.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from lucid.training.lock import RunLock
        >>> with tempfile.TemporaryDirectory() as folder, RunLock(Path(folder)):
        ...     pass  # nobody else writes here
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = FileLock(folder / ".lock", thread_local=False)
        # Beside the lock: some systems let nobody read a file that is locked.
        self._holder = folder / ".lock.json"

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(blocking=False)
        except Timeout:
            raise RunInUseError(self._held()) from None
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror}; a run writes into its folder: make it writable, or choose another",
                str(self.folder),
            ) from error
        with contextlib.suppress(OSError):  # it is for the message alone
            self._holder.write_text(json.dumps({"pid": os.getpid(), "host": platform.node()}), encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._holder.unlink(missing_ok=True)
        self._lock.release()

    def _held(self) -> str:
        try:
            said = cast("dict[str, Any]", io.read_json(self._holder))
            pid, host = int(said["pid"]), str(said["host"])
        except (OSError, ValueError, TypeError, KeyError):
            who = "another process"
        else:
            who = f"process {pid} on {host}" if host != platform.node() else f"process {pid}"
            who = "this very process" if (pid, host) == (os.getpid(), platform.node()) else who
        return (
            f"{self.folder} is in use: {who} is training there. Wait until it has ended or stop it, then --resume; "
            "or choose another folder"
        )

"""Blocks in parallel: processes of one thread each, which have opened the codec themselves.

They are started as programs of their own and spoken to through pipes, so that the script that wants them needs no
`if __name__ == "__main__"`, and nothing but plain bytes passes between them. What a block becomes does not depend on
which process works on it, nor on how many there are.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Self, TypeVar

from torch import Tensor

from lucid.codec.container.blocks import BlockCodec, content, decode, encode, from_content
from lucid.codec.errors import CodecError

__all__ = ["Coded", "Pool", "read_frame", "write_frame"]

Coded = tuple[int, bytes]
"""A block as it lies in a file: kind and bytes."""

Result = TypeVar("Result")
DONE, REFUSED = b"\x00", b"\x01"
_CODEC = "worker.codec"


class Pool:
    """Encodes and decodes blocks, in this process or in several others.

    Args:
        codec: Codes them.
        salt: Of the file.
        workers: Processes; 1 works in this one.

    Raises:
        ValueError: Fewer than one.
    """

    def __init__(self, codec: BlockCodec, salt: bytes, workers: int = 1) -> None:
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise ValueError(f"workers must be a whole number, 1 or more; received {workers!r}")
        self.codec, self.salt, self.workers = codec, salt, workers
        self._open = contextlib.ExitStack()
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._threads: ThreadPoolExecutor | None = None

    def encode(self, number: int, levels: Tensor) -> Future[Coded]:
        """A numbered block of examples as it will lie in a file."""
        if self.workers == 1:
            return _finished(encode(self.codec, self.salt, number, levels))
        frame = b"".join([b"E", _number(number), self.salt, content(levels, self.codec.layout.data)])
        return self._start().submit(self._coded, frame)

    def decode(self, number: int, kind: int, payload: bytes, num_examples: int) -> Future[Tensor]:
        """The examples of a block.

        Raises:
            CodecError: It is damaged; here, or when the result is asked for.
        """
        if self.workers == 1:
            return _finished(decode(self.codec, self.salt, number, kind, payload, num_examples))
        frame = b"".join([b"D", _number(number), self.salt, bytes([kind]), _number(num_examples), payload])
        return self._start().submit(lambda: from_content(self._ask(frame), self.codec.layout.data))

    def _coded(self, frame: bytes) -> Coded:
        answer = self._ask(frame)
        return answer[0], answer[1:]

    def _ask(self, frame: bytes) -> bytes:
        process = self._idle.get()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            write_frame(process.stdin, frame)
            answer = read_frame(process.stdout)
        except OSError:
            answer = None
        if answer is None:
            # The process stays out of the queue; another takes its place, so that no later block waits for ever.
            self._idle.put(self._process())
            raise RuntimeError(
                "a worker process ended before its block was done: it was killed, perhaps for want of memory. Use "
                "fewer workers, or smaller blocks"
            )
        self._idle.put(process)
        if answer[:1] == REFUSED:
            raise CodecError(answer[1:].decode(errors="replace"))
        return answer[1:]

    def _start(self) -> ThreadPoolExecutor:
        if self._threads is None:
            folder = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="lucid-")))
            self._path = folder / _CODEC
            self._path.write_bytes(self.codec.to_bytes())
            self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="lucid codec")
            for _ in range(self.workers):
                self._idle.put(self._process())
        return self._threads

    def _process(self) -> subprocess.Popen[bytes]:
        import lucid  # where the package lies, for a Python that would not find it by itself

        package = str(Path(lucid.__file__).parent.parent)
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        process = subprocess.Popen(  # noqa: S603  (this very Python, with arguments of our own)
            [sys.executable, "-P", "-m", "lucid.codec.container.worker", str(self._path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **one_thread, "PYTHONPATH": os.pathsep.join(paths)},
        )
        self._processes.append(process)
        return process

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                with contextlib.suppress(OSError):
                    pipe.close()
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _finished(result: Result) -> Future[Result]:
    future: Future[Result] = Future()
    future.set_result(result)
    return future


def _number(number: int) -> bytes:
    return number.to_bytes(8, "little")


def write_frame(pipe: IO[bytes], frame: bytes) -> None:
    """A message: its length in 8 bytes, then itself."""
    pipe.write(_number(len(frame)))
    pipe.write(frame)
    pipe.flush()


def read_frame(pipe: IO[bytes]) -> bytes | None:
    """The next message; None once the other side has ended."""
    start = pipe.read(8)
    if len(start) < 8:
        return None
    size = int.from_bytes(start, "little")
    frame = pipe.read(size)
    return frame if len(frame) == size else None

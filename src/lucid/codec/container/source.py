"""Where the bytes of a file are read from, a part at a time: a file on disk, or bytes in memory."""

from __future__ import annotations

import os
import threading
from typing import BinaryIO, Self

from lucid.codec.errors import CodecError
from lucid.io.files import require_file

__all__ = ["Source"]


class Source:
    """A file whose parts are read where they lie.

    Args:
        origin: Its path, or its bytes.

    Raises:
        FileNotFoundError: Nothing is there.
        ValueError: Something else than a regular file is there.
        TypeError: Neither a path nor bytes.
    """

    def __init__(self, origin: str | os.PathLike[str] | bytes | bytearray | memoryview) -> None:
        self._file: BinaryIO | None = None
        self._bytes = memoryview(b"")
        self._lock = threading.Lock()
        if isinstance(origin, (bytes, bytearray, memoryview)):
            self._bytes = memoryview(bytes(origin))
            self.size, self.name = len(self._bytes), "the input"
        elif isinstance(origin, (str, os.PathLike)):
            file = require_file(origin)
            self._file = file.open("rb")
            self.size, self.name = file.stat().st_size, repr(str(file))
        else:
            raise TypeError(f"a .lucid file is given by its path or its bytes; received {type(origin).__name__}")

    def read(self, position: int, count: int) -> bytes:
        """So many bytes from a position on.

        Raises:
            CodecError: The file ends before.
        """
        if not 0 <= position <= position + count <= self.size:
            raise CodecError(
                f"{self.name} is damaged or was cut short: it should go on to byte {position + count} and ends at "
                f"{self.size}"
            )
        if self._file is None:
            return bytes(self._bytes[position : position + count])
        with self._lock:
            self._file.seek(position)
            data = self._file.read(count)
        if len(data) != count:
            raise CodecError(f"{self.name} became shorter while it was read")
        return data

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

"""Names inside a file become paths only where they stay below the folder they are written to."""

from __future__ import annotations

import os
from pathlib import Path

from lucid.codec.errors import CodecError

__all__ = ["below", "check_name"]

_RESERVED = {"", ".", ".."}


def check_name(name: str) -> str:
    """A relative path with "/" between its parts, as it is.

    Raises:
        CodecError: If it could lead out of a folder.
    """
    parts = name.split("/")
    foreign = os.name == "nt" and any(mark in name for mark in '\\:*?"<>|')
    if _RESERVED & set(parts) or "\0" in name or foreign or len(name) > 4096:
        raise CodecError(f"the file names something {name[:80]!r}, which is no path below a folder: it is not written")
    return name


def below(folder: Path, name: str) -> Path:
    """A new path below a folder, whose own folders are made.

    Raises:
        CodecError: If the name could lead out of it, or two names lead to one path.
    """
    path = folder.joinpath(*check_name(name).split("/"))
    if path.exists():
        raise CodecError(
            f"the file names {name[:80]!r} twice: it is damaged, or this file system takes two names for one"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise CodecError(f"the file names {name[:80]!r} below something that is no folder: it is damaged") from error
    return path

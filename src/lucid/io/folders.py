"""Folders written whole or not at all."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from typing import TYPE_CHECKING

from lucid.io.files import sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

__all__ = ["check_replaceable", "previous_of", "whole_folder"]

_DESKTOP_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})  # made by looking at a folder


def previous_of(target: Path) -> Path:
    """Where the old folder is while a new one takes its place; left behind only by a kill between two renames."""
    return target.with_name(f".{target.name}.previous")


def check_replaceable(target: Path, ours: Callable[[Path], bool], names: Sequence[str]) -> None:
    """Refuse to write where something would be lost.

    Args:
        target: The folder to be written.
        ours: Whether a folder is one that we wrote.
        names: The files of such a folder.

    Raises:
        ValueError: A file is there, or a folder that is not empty and not ours, or ours with other files in it.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise ValueError(f"{str(target)!r} is a file; save needs the name of a folder")
    held = {entry.name for entry in target.iterdir()} - _DESKTOP_FILES
    if not held:
        return
    if not ours(target):
        raise ValueError(
            f"{str(target)!r} is not empty and not a (whole) lucid artefact, so it is not replaced; choose another "
            "folder, or delete it yourself"
        )
    others = sorted(held - set(names))
    if others:
        raise ValueError(
            f"{str(target)!r} holds {', '.join(map(repr, others[:5]))} beside the artefact; replacing it would delete "
            "that, so move it first"
        )


@contextlib.contextmanager
def whole_folder(target: Path) -> Generator[Path, None, None]:
    """A new folder beside `target`; when the block ends well it takes `target`'s place, else it is removed.

    Raises:
        OSError: It cannot be written; what was at `target` is still there.
    """
    staging = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir()
        yield staging
        sync_folder(staging)
        _swap(staging, target)
    except OSError as error:
        named = str(error.filename or target).replace(str(staging), str(target))
        raise OSError(error.errno, error.strerror or str(error), named) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _swap(staging: Path, target: Path) -> None:
    previous = previous_of(target)
    if target.exists():
        # A folder cannot be renamed over another, so there is a moment with none; `previous` is whole all the while.
        if previous.exists():
            shutil.rmtree(previous)
        target.rename(previous)
    try:
        staging.rename(target)
    except OSError:
        if previous.exists():
            previous.rename(target)
        raise
    sync_folder(target.parent)
    if previous.exists():
        shutil.rmtree(previous)

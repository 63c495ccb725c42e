"""A .lucid file's inputs again: all of them, or some of their examples, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lucid.codec.container.blocks import BlockCodec
from lucid.codec.container.reader import Reader
from lucid.codec.errors import CodecError
from lucid.codec.inputs.manifest import entries_of
from lucid.codec.inputs.names import below
from lucid.codec.inputs.source import Attached, Entry, Levels
from lucid.io.files import whole_file
from lucid.io.folders import whole_folder

__all__ = ["Unpacked", "unpack"]


@dataclass(frozen=True)
class Unpacked:
    """What was written.

    Attributes:
        target: The file or folder.
        num_examples: In it.
        attached: Files and arrays that came along as they were.
        inputs: What it holds, each input in one line.
    """

    target: Path
    num_examples: int
    attached: int
    inputs: tuple[str, ...]


def unpack(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    codec: BlockCodec | None = None,
    examples: tuple[int, int] | None = None,
    workers: int = 1,
    progress: Callable[[int, int | None], None] | None = None,
) -> Unpacked:
    """Write what `pack` was given, exactly, or nothing.

    Args:
        path: The .lucid file.
        out: A new file for an input that was one, or a new folder; with several inputs, or "/" at the end, a folder
            that holds each under its name.
        codec: The codec that made it; None takes the one that travels with it.
        examples: The first and the one after the last example wanted, counted through all inputs; None for all. What
            came along as it was stays out where only a part of an input is wanted.
        workers: Processes that decode blocks.
        progress: Called as `progress(examples done, examples in all)`.

    Raises:
        FileExistsError: If something is there already.
        FileNotFoundError: If the file, or the folder above `out`, is not there.
        CodecError: If the file is damaged, or made by another codec.
        ValueError: If it does not hold those examples, or was made of an array in memory.
        OSError: If it cannot be written.
    """
    with Reader(path, codec) as reader:
        start, stop = examples if examples is not None else (0, len(reader))
        if not 0 <= start <= stop <= len(reader):
            raise ValueError(f"examples must be within 0:{len(reader)}, in order; received {start}:{stop}")
        entries = entries_of(reader)
        if not entries:
            raise ValueError(
                f"{os.fspath(path)!r} holds an array that was compressed in memory: codec.decompress opens it"
            )
        chosen = _chosen(entries, start, stop)
        blocks = reader.blocks(start, stop, workers=workers, progress=progress)
        work = _Work(chosen, len(entries) > 1, Levels(blocks), _attachments(reader))
        target = work.write(os.fspath(out))
    return Unpacked(
        target,
        stop - start,
        sum(entry.num_attached for entry, span in chosen if len(span) == entry.count),
        tuple(
            entry.describe() if len(span) == entry.count else f"{len(span):,} of {entry.describe()}"
            for entry, span in chosen
        ),
    )


def _chosen(entries: list[Entry], start: int, stop: int) -> list[tuple[Entry, range]]:
    """The inputs that hold some of the examples, and which of theirs these are."""
    chosen: list[tuple[Entry, range]] = []
    first, total = 0, sum(entry.count for entry in entries)
    for entry in entries:
        span = range(max(start - first, 0), min(max(stop - first, 0), entry.count))
        if len(span) or (start, stop) == (0, total):
            chosen.append((entry, span if len(span) else range(0)))
        first += entry.count
    if not chosen:
        raise ValueError(f"there are no examples in {start}:{stop}: name at least one")
    return chosen


def _attachments(reader: Reader) -> Attached:
    found = {attachment.name: attachment for attachment in reader.attachments}

    def read(name: str) -> Iterable[bytes]:
        if name not in found:
            raise CodecError(f"the file has no attachment {name[:80]!r}: it is damaged")
        return found[name].chunks()

    return read


@dataclass(frozen=True)
class _Work:
    chosen: list[tuple[Entry, range]]
    several: bool
    levels: Levels
    attached: Attached

    def write(self, out: str) -> Path:
        """Write all, and say where."""
        entry, span = self.chosen[0]
        inside, there = out.endswith(("/", os.sep)), Path(out).is_dir()
        if not self.several and not entry.is_folder and (there or not inside):
            target = Path(out) / entry.file_name if there else Path(out)
            self._check_new(target)
            entry.check_ending(target)
            with whole_file(target) as temporary:
                entry.write(self.levels, span, temporary, self.attached)
            return target
        target = Path(out)
        self._check_new(target)
        with whole_folder(target) as staging:
            for one, own in self.chosen:
                alone = not self.several and one.is_folder
                place = staging if alone or not one.name else below(staging, one.name)
                one.write(self.levels, own, place, self.attached)
        return target

    @staticmethod
    def _check_new(target: Path) -> None:
        if target.exists() and not (target.is_dir() and not any(target.iterdir())):
            raise FileExistsError(f"{str(target)!r} is there already: name a new file or folder, or remove it")
        if not target.absolute().parent.is_dir():
            raise FileNotFoundError(
                f"cannot write {str(target)!r}: there is no folder {str(target.absolute().parent)!r}"
            )

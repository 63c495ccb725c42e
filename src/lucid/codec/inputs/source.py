"""What every kind of input can do: give its levels, say what else it takes to make it again, and be made again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lucid.codec.errors import CodecError

__all__ = ["Attached", "Entry", "Levels", "Source", "field", "rows_at_a_time", "texts"]

_NUMBERS = 1 << 19  # levels in one piece

Attached = Callable[[str], Iterable[bytes]]
"""The content of an attachment by its name."""


def rows_at_a_time(shape: Iterable[int]) -> int:
    """Examples of this shape that are read and written in one piece: a few megabytes."""
    return max(1, _NUMBERS // max(1, torch.Size(shape).numel()))


class Levels:
    """The examples of a file, in their order, handed on in pieces.

    Args:
        blocks: int64 (n, *shape) each.
    """

    def __init__(self, blocks: Iterable[Tensor]) -> None:
        self._blocks = iter(blocks)
        self._left: Tensor | None = None

    def take(self, count: int) -> Iterator[Tensor]:
        """The next `count` examples, in one piece or several.

        Raises:
            CodecError: If there are not so many.
        """
        while count:
            block = self._left if self._left is not None else next(self._blocks, None)
            if block is None:
                raise CodecError("the file says that it holds more examples than it does: it is damaged")
            piece, rest = block[:count], block[count:]
            self._left = rest if len(rest) else None
            count -= len(piece)
            if len(piece):
                yield piece

    def one_by_one(self, count: int) -> Iterator[Tensor]:
        """The next `count` examples, each by itself."""
        for piece in self.take(count):
            yield from piece


class Entry(ABC):
    """One input as a file describes it: enough to make it again from its levels.

    Attributes:
        name: What it was called; the last part of its path.
        count: How many of the file's examples are its own.
    """

    name: str
    count: int

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""

    @abstractmethod
    def write(self, levels: Levels, span: range, target: Path, attached: Attached) -> None:
        """Make it again, or some of its examples, under a path where nothing is.

        Args:
            levels: Gives the examples of `span` next.
            span: Which of its examples; with all of them comes whatever else belonged to it.
            target: The file or the folder.
            attached: Where its attachments are read.

        Raises:
            CodecError: If what is described cannot be.
            OSError: If it cannot be written.
        """

    @property
    @abstractmethod
    def is_folder(self) -> bool:
        """Whether `write` makes a folder."""

    @property
    def file_name(self) -> str:
        """What the file is called, where it is one."""
        return self.name

    @property
    def num_attached(self) -> int:
        """Files that came along as the bytes they were."""
        return 0

    def check_ending(self, target: Path) -> None:
        """Refuse a name under which it could not be written.

        Raises:
            ValueError: If the ending is another.
        """
        if target.suffix.lower() != Path(self.file_name).suffix.lower():
            raise ValueError(
                f"{str(target)!r} has another ending than {self.file_name!r}, which it is to hold: name a file with "
                "the same ending, or a folder, with / at the end"
            )

    def describe(self) -> str:
        """It in one line, for a person."""
        return f"{self.name}, {self.count:,} examples"


class Source(ABC):
    """One input, found and known to fit the model as far as can be said without reading all of it.

    Attributes:
        name: What it is called in the file: the last part of its path.
        total: Examples at most.
        num_bytes: Bytes it takes where it lies.
        settled: Whether `entry` is known before `chunks` has ended.
        note: What a person should know of it; "" for nothing.
    """

    name: str
    total: int
    num_bytes: int
    settled: bool = True
    note: str = ""

    @abstractmethod
    def chunks(self) -> Iterator[Tensor]:
        """Its examples' levels, int64 (n, *shape), a few at a time.

        Raises:
            ValueError: If a value does not fit the model.
        """

    @abstractmethod
    def entry(self) -> Entry:
        """What it takes to make it again."""

    def attachments(self) -> Iterator[tuple[str, Iterable[bytes]]]:
        """What is kept as the bytes it was, by name; known once `chunks` has ended."""
        return iter(())


def field(entry: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    """A value of a description that is of the type it must be.

    Raises:
        CodecError: If it is missing or of another type.
    """
    value = entry.get(name)
    negative = isinstance(value, int) and (isinstance(value, bool) or value < 0)
    if not isinstance(value, kind) or (kind is int and negative):
        raise CodecError(f"the description of the inputs is damaged: {name!r} is {str(value)[:80]!r}")
    return value


def texts(entry: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list of texts of a description; empty where it is left out.

    Raises:
        CodecError: If it is something else.
    """
    value = entry.get(name, [])
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise CodecError(f"the description of the inputs is damaged: {name!r} is {str(value)[:80]!r}")
    return tuple(value)

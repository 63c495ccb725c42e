"""Archives of arrays, .npz: the arrays that the model knows are coded, others come along as they were."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from lucid.codec.errors import CodecError
from lucid.codec.inputs.array_files import ArrayEntry, ArrayPieces
from lucid.codec.inputs.attachments import attachment_name, deflated, inflated
from lucid.codec.inputs.names import check_name
from lucid.codec.inputs.source import Attached, Entry, Levels, Source, field
from lucid.codec.layout import DataLayout
from lucid.data.files import npz_shapes, read_npz
from lucid.data.values import as_tensor

__all__ = ["NpzEntry", "NpzFile"]


class NpzFile(Source):
    """A .npz file.

    Args:
        path: The file.
        data: What the model codes.

    Raises:
        ValueError: If it is damaged, or holds no array that the model codes.
    """

    def __init__(self, path: Path, data: DataLayout) -> None:
        self.name, self.num_bytes = path.name, path.stat().st_size
        self._path = path
        names = list(npz_shapes(path))
        if not names:
            raise ValueError(f"{str(path)!r} holds no arrays")
        self._pieces: dict[str, ArrayPieces] = {}
        reasons: list[ValueError] = []
        for name, array in read_npz(path, names).items():
            try:
                self._pieces[name] = _pieces(array, data, f"{name!r} of {str(path)!r}")
            except (ValueError, TypeError) as error:
                reasons.append(ValueError(str(error)))
        if not self._pieces:
            raise reasons[0]
        members = [
            ArrayEntry(f"{name}.npy", self._pieces[name].shape[0], self._pieces[name].form, data)
            if name in self._pieces
            else f"{name}.npy"
            for name in names
        ]
        self._entry = NpzEntry(self.name, tuple(members))
        self.total = self._entry.count

    def chunks(self) -> Iterator[Tensor]:
        for pieces in self._pieces.values():
            yield from pieces.levels()

    def entry(self) -> Entry:
        return self._entry

    def attachments(self) -> Iterator[tuple[str, Iterable[bytes]]]:
        for member in self._entry.members:
            if isinstance(member, str):
                with zipfile.ZipFile(self._path) as archive, archive.open(member) as file:
                    yield attachment_name(self.name, member), deflated(file)


def _pieces(array: np.ndarray[Any, Any], data: DataLayout, what: str) -> ArrayPieces:
    """An array all of whose values the model knows."""
    pieces = ArrayPieces(as_tensor(array, what), array.dtype.str, data, what)
    for _ in pieces.levels():
        pass
    return pieces


@dataclass(frozen=True)
class NpzEntry(Entry):
    """An archive of arrays.

    Attributes:
        members: In their order: of what is coded what it was, of what is not its name.
    """

    name: str
    members: tuple[ArrayEntry | str, ...]

    @property
    def count(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return sum(member.count for member in self.members if isinstance(member, ArrayEntry))

    def to_json(self) -> dict[str, Any]:
        members = [member if isinstance(member, str) else member.to_json() for member in self.members]
        return {"npz": self.name, "members": members}

    @staticmethod
    def from_json(said: Mapping[str, Any], data: DataLayout) -> NpzEntry:
        """What a file says of it.

        Raises:
            CodecError: If that cannot be.
        """
        members: list[ArrayEntry | str] = []
        for member in field(said, "members", list):
            if not isinstance(member, str | dict):
                raise CodecError("the description of the inputs is damaged: a member of an archive")
            members.append(member if isinstance(member, str) else ArrayEntry.from_json(member, data))
        names = [check_name(member if isinstance(member, str) else member.name) for member in members]
        if len(set(names)) < len(names) or not all(name.endswith(".npy") for name in names):
            raise CodecError("the description of the inputs is damaged: the members of an archive")
        return NpzEntry(field(said, "npz", str), tuple(members))

    @property
    def is_folder(self) -> bool:
        return False

    @property
    def num_attached(self) -> int:
        return sum(isinstance(member, str) for member in self.members)

    def describe(self) -> str:
        coded = ", ".join(member.describe() for member in self.members if isinstance(member, ArrayEntry))
        along = (
            f", and {self.num_attached} other array{'s' if self.num_attached > 1 else ''}" if self.num_attached else ""
        )
        return f"{self.name}: {coded}{along}"

    def write(self, levels: Levels, span: range, target: Path, attached: Attached) -> None:
        first, whole = 0, len(span) == self.count
        with zipfile.ZipFile(target, "w") as archive:
            for member in self.members:
                name = member if isinstance(member, str) else member.name
                if isinstance(member, str) and not whole:
                    continue
                info = zipfile.ZipInfo(name)  # of no time, so that the same file comes out every day
                with archive.open(info, "w", force_zip64=True) as file:
                    if isinstance(member, ArrayEntry):
                        here = range(max(span.start - first, 0), min(span.stop - first, member.count))
                        member.write_to(file, levels, here)
                        first += member.count
                    else:
                        for content in inflated(attached(attachment_name(self.name, name))):
                            file.write(content)

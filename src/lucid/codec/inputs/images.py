"""Folders of images: the same pixels under the same names; whatever the model does not know, as the bytes it was."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, groupby, repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lucid.codec.errors import CodecError
from lucid.codec.inputs.attachments import attachment_name, deflated, inflated
from lucid.codec.inputs.names import below, check_name
from lucid.codec.inputs.pixels import Picture, check_how, file_of, picture_of, said_of
from lucid.codec.inputs.source import Attached, Entry, Levels, Source, rows_at_a_time, texts
from lucid.codec.inputs.source import field as value_of
from lucid.codec.layout import DataLayout
from lucid.data.found import listing

__all__ = ["Images", "ImagesEntry"]


class Images(Source):
    """The files of a folder and its subfolders, sorted by path; or some image files by themselves.

    Args:
        name: What the folder is called; "" for files by themselves.
        files: From the name below the folder, with "/" between its parts, to the file.
        data: What the model codes.

    Raises:
        ValueError: If the model codes no pictures.
    """

    def __init__(self, name: str, files: Mapping[str, Path], data: DataLayout) -> None:
        self._said, self.settled = said_of(data), False
        self.name, self.total = name, len(files)
        self.num_bytes = sum(path.stat().st_size for path in files.values())
        self._files, self._data = files, data
        self._coded: list[str] = []
        self._hows: list[dict[str, Any]] = []
        self._apart: dict[str, str] = {}

    @staticmethod
    def of_folder(folder: Path, data: DataLayout) -> Images:
        """All files of a folder, hidden ones too: what is compressed is all that is there.

        Raises:
            ValueError: If it is empty, or holds what would not come back.
        """
        found = sorted(folder.rglob("*"))
        other = [str(p.relative_to(folder)) for p in found if not p.is_file() and (p.is_symlink() or not p.is_dir())]
        if other:
            raise ValueError(
                f"{str(folder)!r} holds what is neither a file nor a folder of its own, such as a link to a folder or "
                f"to nothing: {listing(other)}. Move it away, or put in its place what it stands for"
            )
        paths = [path for path in found if path.is_file()]
        if not paths:
            raise ValueError(f"{str(folder)!r} is empty: there is nothing to compress")
        return Images(folder.resolve().name, {path.relative_to(folder).as_posix(): path for path in paths}, data)

    def chunks(self) -> Iterator[Tensor]:
        at_a_time = min(rows_at_a_time(self._data.shape), 256)
        names = list(self._files)
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            for first in range(0, len(names), at_a_time):
                some = names[first : first + at_a_time]
                pictures = list(pool.map(picture_of, (self._files[name] for name in some), repeat(self._data)))
                found = [self._noted(name, picture) for name, picture in zip(some, pictures, strict=True)]
                levels = [one for one in found if one is not None]
                if levels:
                    yield torch.from_numpy(np.stack(levels))
        if not self._coded:
            told = listing([f"{name} ({why})" for name, why in self._apart.items()], 3)
            raise ValueError(
                f"the model codes images of {self._said}, and none of {self.name or 'these'} is one: {told}. Convert "
                "them first, to that size and mode, and save them as PNG"
            )

    def _noted(self, name: str, picture: Picture) -> Any:
        if picture.levels is None:
            self._apart[name] = picture.reason
        else:
            self._coded.append(name)
            self._hows.append(picture.how)
        return picture.levels

    def entry(self) -> ImagesEntry:
        return ImagesEntry(self.name, tuple(self._coded), tuple(self._hows), tuple(self._apart))

    def attachments(self) -> Iterator[tuple[str, Iterable[bytes]]]:
        for name in self._apart:
            with self._files[name].open("rb") as file:
                yield attachment_name(self.name, name), deflated(file)


@dataclass(frozen=True)
class ImagesEntry(Entry):
    """A folder of images, or images by themselves.

    Attributes:
        names: Of the images that are coded, in the order of the examples.
        hows: Of each what `picture_of` said of it.
        apart: Names of the files that came along as they were.
        data: What the model codes.
    """

    name: str
    names: tuple[str, ...]
    hows: tuple[Mapping[str, Any], ...]
    apart: tuple[str, ...] = ()
    data: DataLayout | None = None
    count: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "count", len(self.names))

    def to_json(self) -> dict[str, Any]:
        kinds: list[Mapping[str, Any]] = []
        for how in self.hows:
            if how not in kinds[-8:]:  # of many different ones each is said again
                kinds.append(how)
        places = [_last(kinds, how) for how in self.hows]
        runs = [[place, len(list(same))] for place, same in groupby(places)]
        said = {"images": self.name, "names": list(self.names), "hows": kinds, "runs": runs}
        return said | ({"apart": list(self.apart)} if self.apart else {})

    @staticmethod
    def from_json(said: Mapping[str, Any], data: DataLayout) -> ImagesEntry:
        """What a file says of it.

        Raises:
            CodecError: If that cannot be.
        """
        names, apart = texts(said, "names"), texts(said, "apart")
        if len({*names, *apart}) != len(names) + len(apart):
            raise CodecError("the description of the inputs is damaged: two images have one name")
        for name in chain(names, apart):
            check_name(name)
        if len(data.shape) != 3:
            raise CodecError("the description of the inputs is damaged: the model codes no images")
        kinds = [check_how(how, data) for how in value_of(said, "hows", list)]
        hows = _unrolled(value_of(said, "runs", list), kinds, len(names))
        return ImagesEntry(value_of(said, "images", str), names, hows, apart, data)

    @property
    def is_folder(self) -> bool:
        return bool(self.name) or self.count + len(self.apart) > 1

    @property
    def file_name(self) -> str:
        return [*_written_names(self.names, self.apart), *self.apart][0]

    @property
    def num_attached(self) -> int:
        return len(self.apart)

    def describe(self) -> str:
        along = f", and {len(self.apart):,} other file{'s' if len(self.apart) > 1 else ''}" if self.apart else ""
        return f"{self.name or 'images'}, {self.count:,} image{'s' if self.count > 1 else ''}{along}"

    def write(self, levels: Levels, span: range, target: Path, attached: Attached) -> None:
        assert self.data is not None, "an entry that is written comes from a file"
        whole = len(span) == self.count
        in_folder = self.is_folder or target.is_dir()
        if in_folder:
            target.mkdir(exist_ok=True)
        written = _written_names(self.names, self.apart)
        for place, one in zip(span, levels.one_by_one(len(span)), strict=True):
            path = below(target, written[place]) if in_folder else target
            file_of(one.numpy(), self.hows[place], self.data.levels, path)
        for name in self.apart if whole else ():
            with (below(target, name) if in_folder else target).open("wb") as file:
                for content in inflated(attached(attachment_name(self.name, name))):
                    file.write(content)


def _last(kinds: Sequence[Mapping[str, Any]], how: Mapping[str, Any]) -> int:
    return next(i for i in reversed(range(len(kinds))) if kinds[i] == how)


def _unrolled(runs: Sequence[Any], kinds: Sequence[Mapping[str, Any]], count: int) -> tuple[Mapping[str, Any], ...]:
    sound = all(
        isinstance(run, list) and len(run) == 2 and all(type(n) is int and n >= 0 for n in run) and run[0] < len(kinds)
        for run in runs
    )
    if not sound or sum(length for _, length in runs) != count:
        raise CodecError("the description of the inputs is damaged: not every image is described")
    return tuple(chain.from_iterable(repeat(kinds[place], length) for place, length in runs))


def _written_names(names: Sequence[str], apart: Sequence[str]) -> list[str]:
    """What the images are called as PNGs: a.bmp becomes a.png, and a.bmp.png where there is an a.png too."""
    taken = {*names, *apart}
    written: list[str] = []
    for name in names:
        stem, ending = os.path.splitext(name)  # noqa: PTH122 (a name in a file, not a path of this system)
        new = name if ending.lower() == ".png" else f"{stem}.png"
        new = new if new == name or new not in taken else f"{name}.png"
        taken.add(new)
        written.append(new)
    return written

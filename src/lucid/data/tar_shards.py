"""Reading examples from tar shards, by WebDataset's convention: the members of an example share their name."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from lucid.data.decoding import Decoder, array_decoder, image_decoder, is_array, is_image, is_pickle
from lucid.data.found import Kind, Options, listing
from lucid.data.order import Integers
from lucid.data.tar import Index, Member, members, name_at, read_index, read_member

__all__ = ["TarPiece", "TarReader"]

_KEPT = 1 << 26  # bytes of indices kept: those of four million examples


class _At(NamedTuple):
    """A member, named only when a message asks."""

    path: Path
    offset: int

    def __str__(self) -> str:
        return name_at(self.path, self.offset)


class TarReader:
    """What is common to the tar shards of a source: which members are x, and how they are decoded.

    Attributes:
        kind: "image" for image files, else None: the rank decides.
        layout: How pixels are laid out.
        levels: 256 for image files.
        columns: None has names.
        purpose: What is counted, in words.

    Args:
        paths: The shards.
        options: Those of `load`: `key` names the ending of x; `resize`, `crop` and `channels` apply to images.

    Raises:
        ValueError: If there is no example, none or several of its members could be x, or x cannot be read.
    """

    columns: tuple[str, ...] = ()

    def __init__(self, paths: Sequence[Path], options: Options) -> None:
        options.only("tar shards", "key", "resize", "crop", "channels", "layout", "workers", "shuffle_buffer")
        path, first = _first_example(paths)
        self._endings = _wanted(path, first, options.key)
        self.purpose = f"tar {sorted(self._endings)}"
        x = next(member for member in first if member.ending in self._endings)
        with path.open("rb") as file:
            content = read_member(file, path, x.offset, x.size)
        if is_image(x.ending):
            self._decode = image_decoder(options, content, _At(path, x.offset))
        else:
            self._decode = array_decoder(content, _At(path, x.offset))
        image = is_image(x.ending)
        self.kind: Kind | None = "image" if image else None
        self.layout: str | None = "NHWC" if image else None
        self.levels: int | None = 256 if image else None
        self._kept: OrderedDict[Path, Index] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def counts(self, path: Path) -> list[int]:
        """Examples in a shard, which is one piece."""
        return [len(self._index(path).offsets)]

    def piece(self, path: Path, number: int) -> TarPiece:
        """A shard, to be read from."""
        return TarPiece(path, self._index, self._decode)

    def _index(self, path: Path) -> Index:
        """Where the examples of a shard are; the indices used last are kept, within a bound."""
        with self._lock:
            index = self._kept.get(path)
            if index is not None:
                self._kept.move_to_end(path)
                return index
        index = read_index(path, self._endings)
        with self._lock:
            if path not in self._kept:
                self._kept[path] = index
                self._bytes += index.offsets.nbytes + index.sizes.nbytes
            while len(self._kept) > 1 and self._bytes > _KEPT:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= oldest.offsets.nbytes + oldest.sizes.nbytes
        return index


class TarPiece:
    """One shard.

    Args:
        path: Its file.
        index: Gives where its examples are; asked when the first is read.
        decode: From their bytes to arrays.
    """

    def __init__(self, path: Path, index: Callable[[Path], Index], decode: Decoder) -> None:
        self._path = path
        self._index = index
        self._decode = decode
        self._lock = Lock()
        self._found: Index | None = None

    def read(self, rows: Integers) -> np.ndarray[Any, Any]:
        """The examples with these numbers; nothing else of the shard is read."""
        with self._lock:
            index = self._found = self._found or self._index(self._path)
        found = np.empty((len(rows), *self._decode.shape), self._decode.dtype)
        offsets, sizes = index.offsets[rows].tolist(), index.sizes[rows].tolist()
        with self._path.open("rb", buffering=0) as file:
            if hasattr(os, "posix_fadvise"):
                # The system fetches them beside one another, instead of one after another.
                for offset, size in zip(offsets, sizes, strict=True):
                    os.posix_fadvise(file.fileno(), offset, size, os.POSIX_FADV_WILLNEED)
            for i, (offset, size) in enumerate(zip(offsets, sizes, strict=True)):
                found[i] = self._decode(read_member(file, self._path, offset, size), _At(self._path, offset))
        return found


def _first_example(paths: Sequence[Path]) -> tuple[Path, list[Member]]:
    for path in paths:
        found: list[Member] = []
        for member in members(path):
            if found and member.example != found[0].example:
                break
            found.append(member)
        if found:
            return path, found
    raise ValueError(f"{len(paths)} shards hold no example: {listing([str(path) for path in paths], 3)}")


def _wanted(path: Path, example: list[Member], key: Any) -> frozenset[str]:
    """The endings that x may have."""
    endings = [member.ending for member in example]
    holds = f"the first example of {str(path)!r} has the members {listing([f'.{ending}' for ending in endings])}"
    if key is not None:
        wanted = frozenset(str(key).lower().split(";"))
        if not wanted & set(endings):
            raise ValueError(f"key={key!r} is not among them: {holds}")
    else:
        known = [ending for ending in endings if is_image(ending) or is_array(ending)]
        if len(known) != 1:
            which = "several of these could be the data" if known else "none of these is an image or a .npy array"
            raise ValueError(f"{holds}: {which}. Choose one, key={(known or endings or ['png'])[0]!r}")
        wanted = frozenset(known)
    for ending in sorted(wanted):
        if is_pickle(ending):
            raise ValueError(f"{holds}: .{ending} is pickled, and pickled members are never read; write .npy instead")
        if not is_image(ending) and not is_array(ending):
            raise ValueError(f"key={key!r} is neither an image nor a .npy array: {holds}")
    if len({is_image(ending) for ending in wanted}) > 1:
        raise ValueError(f"key={key!r} mixes images and arrays: all examples must be one or the other")
    return wanted

"""Data in shards: found by a folder, a pattern or a list, described by its first examples, and never read whole."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from lucid.data.found import Options
from lucid.data.layout import arrange
from lucid.data.like import conforming
from lucid.data.order import Addresses
from lucid.data.patterns import shard_paths
from lucid.data.reading import read
from lucid.data.sharded import sharded_parts, sharded_split, shards_of
from lucid.data.shards import Piece, Shards
from lucid.data.split import Part, ResidentSplit, Split
from lucid.data.values import Scaling, as_tensor, check_probabilities, declare, measure
from lucid.models import DataProtocol

__all__ = ["load_sharded"]

_OF_NUMBERS = ("key", "columns", "layout", "workers", "shuffle_buffer")
_CHANNELS = {1: "grey", 3: "rgb", 4: "rgba"}
_FIRST = 64  # examples that levels are inferred from


def load_sharded(
    source: Any, options: Options, given: Mapping[str, Any]
) -> tuple[DataProtocol, dict[Part, Split], dict[str, Any] | None]:
    """Protocol and parts of data in shards, and what to give `load` for the same again.

    Args:
        source: As `load` was given it.
        options: How it is read.
        given: name, kind, levels, scaling, binarisation, validation, test and seed, as `load` was given them.

    Raises:
        ValueError: If a part is missing, or the shards cannot be read.
    """
    pieces = sharded_parts(source, options)
    _check_parts(pieces, given)
    paths = shards_of(*pieces["train"])
    if paths is None:
        raise ValueError("where any part is in shards, the training part must be: give 'train' as shards too")
    shards = Shards(paths, pieces["train"][1])
    protocol = _protocol(shards, pieces["train"][1], given, len(pieces) > 1)
    parts: dict[Part, Split] = {"train": sharded_split(protocol, "train", shards, options)}
    for part in ("validation", "test"):
        parts[part] = _part(protocol, part, pieces.get(part))
    return protocol, parts, _described(source, options, given)


def _check_parts(pieces: dict[str, tuple[Any, Options]], given: Mapping[str, Any]) -> None:
    for part in ("validation", "test"):
        if part in pieces and given[part] is not None:
            raise ValueError(f"the source has a {part} part: leave {part}={given[part]} out")
    missing = [part for part in ("validation", "test") if part not in pieces and given[part] != 0]
    if missing:
        raise ValueError(
            "shards are not divided, since that would take the numbers of all examples: name the shards of each part, "
            "{'train': 'train-*.tar', 'validation': 'validation-*.tar', 'test': …}, or put them into folders of these "
            f"names ({' and '.join(missing)} missing), or do without, {', '.join(f'{part}=0' for part in missing)}"
        )


def _protocol(shards: Shards, options: Options, given: Mapping[str, Any], parts: bool) -> DataProtocol:
    reader, binarisation = shards.reader, given["binarisation"]
    if reader.layout is None:
        options.only("shards of numbers, which are not encoded images", *_OF_NUMBERS)
    known = reader.layout if given["kind"] in (None, reader.kind) else None
    first = shards.some(np.arange(min(len(shards), _FIRST)))
    x, kind, layout = arrange(first, given["kind"] or reader.kind, options.layout or known)
    scaling: Scaling | None = given["scaling"]
    if reader.columns and scaling is None and given["levels"] is None and binarisation == "none":
        scaling = "standardise"
    x, levels, note = declare(x, given["levels"], scaling, reader.levels)
    if binarisation != "none" and levels is None:
        check_probabilities(x)
    shift, scale = 0.0, 1.0
    if levels is None and scaling in ("standardise", "unit"):
        shift, scale = measure(cast("Any", _Whole(shards)), torch.empty(0), scaling, reader.columns)
    said = {k: v for k, v in options.described().items() if k in ("key", "resize", "crop", "channels")}
    if reader.layout is not None:
        said["channels"] = _CHANNELS[first.shape[-1]]  # further images are read so, whatever their own mode
    notes = {"layout": layout, "scaling": scaling, "levels": note}
    return DataProtocol(
        name=given["name"] or shards.name,
        kind=kind,
        shape=tuple(x.shape[1:]),
        levels=levels,
        shift=shift,
        scale=scale,
        binarisation=binarisation,
        seed=given["seed"],
        columns=reader.columns,
        split="parts given" if parts else f"all {len(shards)} for training",
        reading=said | {k: v for k, v in notes.items() if v is not None},
    )


class _Whole:
    """All examples of some shards, for `measure`, which reads some at a time; in the order that they are stored in."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    def __len__(self) -> int:
        return len(self._shards)

    def numel(self) -> int:
        """Number of numbers."""
        return len(self) * self._shards.some(np.zeros(1, np.int64)).numel()

    def chunks(self, rows: Tensor, examples: int) -> Iterator[Tensor]:
        """All examples, at most so many at a time."""
        for number, count in enumerate(self._shards.counts.tolist()):
            piece: dict[int, Piece] = {number: self._shards.piece(number)}
            for first in range(0, count, examples):
                here = np.arange(first, min(first + examples, count))
                yield as_tensor(self._shards.read(Addresses(np.full(len(here), number), here), piece), "the shards")


def _part(protocol: DataProtocol, part: Part, piece: tuple[Any, Options] | None) -> Split:
    if piece is None:
        return ResidentSplit(protocol, part, torch.empty((0, *protocol.shape)), None)
    source, options = piece
    paths = shards_of(source, options)
    if paths is not None:
        return sharded_split(protocol, part, Shards(paths, options), options)
    # A small part may lie in a file of its own, and takes none of the options of shards.
    found = read(source, Options(labels=options.labels))
    if found is None:
        raise ValueError(f"the {part} part of data in shards must be shards, a file or an array")
    return conforming(found, protocol, part)


def _described(source: Any, options: Options, given: Mapping[str, Any]) -> dict[str, Any] | None:
    def absolute(one: Any) -> Any:
        if isinstance(one, Mapping):
            return {part: absolute(value) for part, value in cast("Mapping[str, Any]", one).items()}
        if isinstance(one, list | tuple):
            return [absolute(value) for value in cast("list[Any]", one)]
        return str(Path(one).absolute())

    plain = source.values() if isinstance(source, Mapping) else [source]
    if not all(shard_paths(one) is not None or isinstance(one, str | os.PathLike) for one in plain):
        return None
    defaults = {"binarisation": "none", "seed": 0}
    said = {k: v for k, v in given.items() if v is not None and v != defaults.get(k)}
    return {"source": absolute(source), **said, **options.described()}

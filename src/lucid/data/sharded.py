"""Which sources are in shards, and one of them as a part."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lucid.data.found import Options, height_and_width
from lucid.data.named import NAMES
from lucid.data.patterns import shard_paths
from lucid.data.reading import pieces_of
from lucid.data.shards import DEFAULT_BUFFER, DEFAULT_WORKERS, ShardedSplit, Shards
from lucid.data.split import Part, Split
from lucid.models import DataProtocol

__all__ = ["is_sharded", "shard_options", "sharded_like", "sharded_parts", "sharded_split", "shards_of"]


def is_sharded(source: Any, options: Options) -> bool:
    """Whether a source, or the training part of it, is in shards."""
    named = isinstance(source, str) and source in NAMES
    return not named and any(shards_of(*piece) is not None for piece in sharded_parts(source, options).values())


def shard_options(protocol: DataProtocol, labels: Any, key: str | None) -> Options:
    """The options that a protocol's own shards were read with."""
    reading = protocol.reading
    resize = reading.get("resize")
    return Options(
        key=key or reading.get("key"),
        labels=labels,
        columns=protocol.columns or None,
        resize=height_and_width(resize) if resize else None,
        crop=reading.get("crop"),
        channels=reading.get("channels"),
    )


def sharded_like(source: Any, options: Options, protocol: DataProtocol, part: Part | None) -> Split:
    """Further data in shards under a protocol that exists; see `load_like`."""
    pieces = sharded_parts(source, options)
    if part is not None and part not in pieces:
        raise ValueError(f"the source has no {part} part: shards are divided by folders or names, never by a draw")
    wanted = part or ("test" if "test" in pieces else "train")
    paths = shards_of(*pieces[wanted])
    assert paths is not None, "asked only of shards"
    return sharded_split(protocol, wanted if len(pieces) > 1 else "further", Shards(paths, options), options)


def sharded_parts(source: Any, options: Options) -> dict[str, tuple[Any, Options]]:
    """The parts of a source, each with its options; a single source is for training."""
    return pieces_of(source, options) or {"train": (source, options)}


def shards_of(source: Any, options: Options) -> list[Path] | None:
    """The shards that a source names; None if it is something else."""
    found = shard_paths(source)
    if found is None and options.key is not None and isinstance(source, str | os.PathLike):
        path = Path(source)  # one parquet file is a table, unless a column of it is to be x
        return [path] if path.suffix == ".parquet" and path.is_file() else None
    return found


def sharded_split(protocol: DataProtocol, part: Part, shards: Shards, options: Options) -> ShardedSplit:
    """Shards as a part, under a protocol that they must fit."""
    buffer = DEFAULT_BUFFER if options.shuffle_buffer is None else options.shuffle_buffer
    workers = DEFAULT_WORKERS if options.workers is None else options.workers
    return ShardedSplit(protocol, part, shards, buffer, workers)

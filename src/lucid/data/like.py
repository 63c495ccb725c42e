"""`load_like`: further data of the kind a model was made for, by the protocol that travels with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import Tensor

from lucid.data.disk_split import DiskSplit, part_of
from lucid.data.division import divide
from lucid.data.found import Found, Options, Progress, height_and_width
from lucid.data.hub import from_hub, hub_options
from lucid.data.labels import encode
from lucid.data.named import NAMES
from lucid.data.on_disk import DiskArray, arranged
from lucid.data.reading import read
from lucid.data.sharded import is_sharded, shard_options, sharded_like
from lucid.data.split import Part, ResidentSplit, Split
from lucid.data.store import Store
from lucid.data.stream_split import loaded
from lucid.data.tables import is_table
from lucid.data.values import conform
from lucid.models import DataProtocol

__all__ = ["conforming", "load_like"]

_CHANNELS = {1: "grey", 3: "rgb", 4: "rgba"}


def load_like(
    source: Any,
    protocol: DataProtocol,
    *,
    part: Part | None = None,
    labels: Any = None,
    key: str | None = None,
    progress: Progress | None = None,
) -> Split:
    """Read further data under a protocol: the same columns, layout, size, channels, levels and scaling.

    Labels come along where the source has them by itself (a named set, subfolders) and the protocol knows their names.

    Args:
        source: As for `load`, but one source: a name, a path, an array, a table, a PyTorch dataset.
        protocol: Usually `model.protocol`.
        part: Which part of the source. By default the test part if the source is a named set or has parts of its own,
            else all of it. "test" of the file a model was trained on is the part that was its test part then.
        labels: As for `load`.
        key: Which array of a .npz or .safetensors file; by default the one the protocol was made from.
        progress: Called during downloads.

    Returns:
        The examples, checked against the protocol.

    Raises:
        TypeError, ValueError: If the data does not fit the protocol; the message says in what.
        FileNotFoundError: If there is nothing at a path.

    Example:
        >>> import numpy as np
        >>> from lucid.data import load, load_like
        >>> data = load(np.random.default_rng(0).normal(size=(50, 3)), scaling="standardise")
        >>> load_like(np.zeros((2, 3)), data.protocol).tensor().shape
        torch.Size([2, 3])
    """
    if part not in (None, "train", "validation", "test"):
        raise ValueError(f"part must be 'train', 'validation', 'test' or None; received {part!r}")
    if isinstance(source, dict):
        raise TypeError("load_like reads one source; give one value of the mapping")
    options = _options(source, protocol, labels, key, progress)
    source, options = from_hub(source, hub_options(source, options, protocol.reading, protocol.columns))
    if is_sharded(source, options):
        return sharded_like(source, shard_options(protocol, labels, key), protocol, part)
    found = read(source, options)
    if found is None:
        if part is not None or labels is not None:
            raise ValueError("part= and labels= do not apply to a PyTorch dataset that is read batch by batch")
        return loaded(protocol, "further", source, options)
    whole = part is None and not found.given and found.name not in NAMES
    if whole:
        return conforming(found, protocol, "further", required=labels is not None)
    same = protocol.reading if not found.habit else {}
    fractions = {name: same.get(name) for name in ("validation", "test") if name not in found.given}
    rows, _ = divide(len(found.x), **fractions, seed=protocol.seed, given=found.given, habit=found.habit)
    part = part or "test"
    # Named as it was in training, the part is binarised as it was then.
    return conforming(found, protocol, part, rows[part], required=labels is not None)


def _options(source: Any, protocol: DataProtocol, labels: Any, key: str | None, progress: Progress | None) -> Options:
    """The options of the protocol's own reading that apply to this kind of source."""
    reading = protocol.reading
    if isinstance(source, str) and source in NAMES:
        return Options(key=key, labels=labels, progress=progress)
    schema = protocol.schema if protocol.columns else None
    columns = None if schema else protocol.columns or None
    if is_table(source):
        return Options(key=key, columns=columns, schema=schema, labels=labels)
    if not isinstance(source, str | os.PathLike):
        return Options(key=key, labels=labels)
    path = Path(source)
    if path.is_dir():
        resize = reading.get("resize")
        return Options(
            key=key,
            labels=labels,
            resize=height_and_width(resize) if resize else None,
            crop=reading.get("crop"),
            channels=reading.get("channels") or _CHANNELS.get(protocol.shape[0]),  # pyright: ignore[reportArgumentType]
        )
    if path.suffix in (".csv", ".parquet"):
        return Options(key=key, columns=columns, schema=schema, labels=labels)
    if path.suffix in (".npz", ".safetensors"):
        same = reading.get("key")
        return Options(key=key or (same if isinstance(same, str) else None), labels=labels)
    return Options(key=key, labels=labels)


def conforming(
    found: Found, protocol: DataProtocol, part: Part, rows: Tensor | None = None, *, required: bool = False
) -> ResidentSplit | DiskSplit:
    """What was found, as one part under a protocol that exists.

    Args:
        found: What a reader handed on.
        protocol: What it must fit.
        part: What the part is called.
        rows: Which examples are the part's; None for all.
        required: Whether labels whose names the protocol does not know are an error; else they are left out.
    """
    layout = found.layout or protocol.reading.get("layout")
    x = found.x
    if x.numel() == 0:
        raise ValueError(f"the data is empty: its shape is {tuple(x.shape)}")
    fits = tuple(x.shape[1:]) == protocol.shape
    applies = layout is not None and len(layout) == x.dim()
    if applies or not fits:
        first, _, _ = arranged(x, protocol.kind, layout if applies else None)
        # What has the shape of the protocol only as it is has its channels first already, as models emit them.
        x = x if fits and tuple(first.shape[1:]) != protocol.shape else first
    x = conform(x, protocol, "the data")
    labels = found.labels
    if not required and labels is not None and labels.dtype.kind in "UT" and not set(labels) <= set(protocol.classes):
        labels = None
    codes, _ = encode(labels, protocol.classes)
    return part_of(protocol, part, x if isinstance(x, DiskArray) else Store(x), codes, rows)

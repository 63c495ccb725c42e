"""From whatever the user names or holds to what was found in it: one reader for each kind of source."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from lucid.data.files import array_reader
from lucid.data.found import Found, Options, listing
from lucid.data.hub import facts_of
from lucid.data.images import parts_of, read_images
from lucid.data.labels import as_labels
from lucid.data.mapped import read_mapped
from lucid.data.named import NAMES, read_named_set
from lucid.data.on_disk import joined
from lucid.data.patterns import shard_parts
from lucid.data.tables import is_table, read_table, read_table_file
from lucid.data.torch_datasets import is_dataset, is_stream, read_into_memory, whole_tensor
from lucid.data.values import as_tensor

__all__ = ["pieces_of", "read"]

_PARTS = ("train", "validation", "test")
_ENDINGS = ".npy, .npz, .safetensors, .csv, .parquet, idx (…-ubyte), or a folder of images"


def pieces_of(source: Any, options: Options) -> dict[str, tuple[Any, Options]]:
    """The parts that the user or the folder's names give, each with its source and options; {} for a single source."""
    if isinstance(source, Mapping):
        sources = dict(cast("Mapping[str, Any]", source))
        _check_parts(sources, "the source")
    elif isinstance(options.key, Mapping):
        _check_parts(options.key, "key=")
        sources = dict.fromkeys(options.key, source)
    elif _is_path(source) and source not in NAMES and Path(source).is_dir():
        sources = dict(parts_of(Path(source)) or shard_parts(Path(source)))
    else:
        return {}
    order = [name for name in _PARTS if name in sources]
    return {
        name: (sources[name], replace(options, key=_of(options.key, name), labels=_of(options.labels, name)))
        for name in order
    }


def _check_parts(parts: Mapping[str, Any], what: str) -> None:
    if "train" not in parts or not set(parts) <= set(_PARTS):
        raise ValueError(
            f"{what} names the parts {listing([repr(p) for p in parts])}: use 'train', and 'validation' and 'test'"
        )


def _of(option: Any, part: str) -> Any:
    return option.get(part) if isinstance(option, Mapping) else option


def _is_path(source: object) -> bool:
    return isinstance(source, str | os.PathLike)


def read(source: Any, options: Options) -> Found | None:
    """What is in a source; None for a PyTorch dataset that is to be read batch by batch."""
    pieces = pieces_of(source, options)
    if not pieces:
        return _read_one(source, options)
    found: dict[str, Found | None] = {}
    for name, (piece, own) in pieces.items():
        first = next(iter(found.values()), None)
        if first is not None and first.schema:  # the training part says what the columns are
            own = replace(own, schema=first.schema, columns=None, kinds=None)
        found[name] = _read_one(piece, own)
    if any(piece is None for piece in found.values()):
        return None
    one = _join(cast("dict[str, Found]", found))
    if _is_path(source):
        return replace(one, described=str(Path(source).absolute()))
    return one


def _read_one(source: Any, options: Options) -> Found | None:
    if isinstance(source, str) and source in NAMES:
        return read_named_set(source, options)
    if _is_path(source):
        found = _read_path(Path(source), options)
        return replace(found, described=str(Path(source).absolute()))
    if is_table(source):
        return read_table(source, options)
    if isinstance(source, np.memmap):
        return read_mapped(source, options)
    if isinstance(source, torch.Tensor | np.ndarray | list | tuple):
        options.only("an array", "labels", "layout")
        x = as_tensor(source, "the data")
        labels = None if options.labels is None else as_labels(options.labels, len(x) if x.dim() else 0)
        return Found("array", x, labels)
    if isinstance(source, torch.utils.data.DataLoader):
        raise TypeError("lucid makes batches itself: give the DataLoader's dataset, loader.dataset")
    if is_dataset(source):
        return _read_dataset(source, options)
    if hasattr(source, "__iter__"):
        raise TypeError(
            f"a {type(source).__name__} can be read only once or not by number: give an array, or wrap it in a "
            "torch.utils.data.IterableDataset, which starts anew for every epoch"
        )
    raise TypeError(
        f"the source must be a name ({', '.join(NAMES)}), a path, an array, a tensor, a table or a PyTorch dataset; "
        f"received {type(source).__name__}"
    )


def _read_dataset(source: Any, options: Options) -> Found | None:
    ordered = ("shuffle_buffer",) if is_stream(source) else ()
    options.only("a PyTorch dataset", "layout", "in_memory", "workers", "labels", *ordered)
    whole = whole_tensor(source, options)
    if whole is not None:
        return whole
    if options.in_memory:
        facts = {name: value for name, value in facts_of(source).items() if name != "reading"}
        return replace(read_into_memory(source, options), **facts)
    if options.labels is not None:
        raise ValueError(
            "labels= goes with in_memory=True; a dataset read batch by batch gives items (x, label) itself"
        )
    return None


def _read_path(path: Path, options: Options) -> Found:
    if path.is_dir():
        return read_images(path, options)
    if not path.exists():
        raise FileNotFoundError(
            f"there is no file or folder {str(path)!r}, and no data set of that name: the names are {', '.join(NAMES)}"
        )
    if path.suffix in (".csv", ".parquet"):
        return read_table_file(path, options)
    reader = array_reader(path)
    if reader is None:
        raise ValueError(f"{str(path)!r} has an ending that lucid does not read: it reads {_ENDINGS}{_hint(path)}")
    return reader(path, options)


def _hint(path: Path) -> str:
    if path.suffix in (".pt", ".pth", ".pkl", ".pickle", ".joblib"):
        return ". Pickled files are never loaded, since they can run code: save the array as .npy or .safetensors"
    if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff"):
        return ". For images, give the folder they lie in"
    return ""


def _join(found: dict[str, Found]) -> Found:
    """Given parts as one, in their order."""
    first, *others = found.values()
    for name, piece in found.items():
        if piece.given:
            raise ValueError(f"the source of the {name} part has parts of its own; give a single file, folder or array")
        if piece.x.shape[1:] != first.x.shape[1:] or piece.columns != first.columns or piece.kind != first.kind:
            raise ValueError(
                f"the parts differ: examples of shape {tuple(first.x.shape[1:])} in train and "
                f"{tuple(piece.x.shape[1:])} in "
                f"{name}{'; their columns must be the same' if piece.columns != first.columns else ''}"
            )
        if piece.schema != first.schema:
            raise ValueError(
                f"train holds complete numbers and {name} does not: columns={{}} takes both as a table of several kinds"
            )
        if piece.x.is_floating_point() != first.x.is_floating_point():
            raise ValueError(f"the parts differ: train holds {first.x.dtype} and {name} {piece.x.dtype}; use one type")
    labels = [piece.labels for piece in found.values()]
    described = {name: piece.described for name, piece in found.items()}
    return replace(
        first,
        x=joined([piece.x for piece in found.values()]) if others else first.x,
        labels=np.concatenate(cast("list[Any]", labels)) if all(part is not None for part in labels) else None,
        given={name: len(piece.x) for name, piece in found.items()},
        described=None if None in described.values() else described,
    )

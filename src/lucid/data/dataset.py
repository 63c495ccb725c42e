"""`load`: one call from a name, a path or an object to batches in model space."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from torch import Tensor

from lucid.data.disk_split import part_of
from lucid.data.division import divide
from lucid.data.fingerprint import fingerprint
from lucid.data.found import Found, Kind, Options, Progress, height_and_width
from lucid.data.hub import from_hub
from lucid.data.labels import encode
from lucid.data.load_sharded import load_sharded
from lucid.data.on_disk import DiskArray, arranged
from lucid.data.reading import pieces_of, read
from lucid.data.schema import measured, said_kinds
from lucid.data.sharded import is_sharded
from lucid.data.split import Part, Split
from lucid.data.store import Store
from lucid.data.streaming import stream
from lucid.data.values import Scaling, check_probabilities, declare, measure
from lucid.models import DataProtocol

__all__ = ["Dataset", "load"]

Binarisation = Literal["none", "static", "dynamic"]


@dataclass(frozen=True)
class Dataset:
    """Data in three parts, and how it became what a model sees.

    Attributes:
        protocol: Travels with the model; names the data in every figure.
        train: For training; scaling is measured on it alone.
        validation: For choosing.
        test: For the final figure.
        source: Plain JSON values from which `load(**source)` gives the same again; None for objects in memory.
    """

    protocol: DataProtocol
    train: Split
    validation: Split
    test: Split
    source: dict[str, Any] | None

    @property
    def num_classes(self) -> int | None:
        """Values a label may take, counted from 0: those with a name, or up to the greatest found; None without labels.

        Example:
            >>> from lucid.data import load
            >>> load("digits").num_classes
            10
        """
        labels = [part.labels for part in (self.train, self.validation, self.test) if part.labels is not None]
        found = [int(some.max()) + 1 for some in labels if len(some)]
        return max(len(self.protocol.classes), *found) if found else None

    def label_fingerprint(self) -> list[str]:
        """What the labels of the three parts are, as digits; equal labels, equal digits."""
        parts = (self.train, self.validation, self.test)
        return [fingerprint([part.part], [] if part.labels is None else [part.labels]) for part in parts]

    def fingerprint(self) -> dict[str, str]:
        """What the three parts hold, each as sixteen hexadecimal digits: equal data, equal digits, on any machine.

        A part of up to 32 MiB is hashed whole, so that one changed pixel changes it. Of a larger one the shape, type,
        size and sum of the rows count, and the values of up to 4,096 evenly spaced examples: a change in the others is
        missed. Of a PyTorch dataset its length and 8 items count, of a stream its first 8. Labels do not count, nor
        how values become a model's: that is the protocol's to say.

        Example:
            >>> import torch
            >>> from lucid.data import load
            >>> x = torch.arange(600.0).reshape(100, 6)
            >>> one, other = load(x).fingerprint(), load(x + (x == 0)).fingerprint()
            >>> [part for part in one if one[part] != other[part]]
            ['train']
        """
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part.fingerprint() for name, part in parts.items()}


def load(
    source: Any,
    *,
    name: str | None = None,
    kind: Kind | None = None,
    layout: str | None = None,
    levels: int | None = None,
    scaling: Scaling | None = None,
    binarisation: Binarisation = "none",
    validation: float | None = None,
    test: float | None = None,
    seed: int = 0,
    labels: Any = None,
    key: str | Mapping[str, str] | None = None,
    columns: Sequence[str] | Mapping[str, Any] | None = None,
    resize: Sequence[int] | None = None,
    crop: Literal["centre"] | None = None,
    channels: Literal["grey", "rgb", "rgba"] | None = None,
    in_memory: bool | None = None,
    workers: int | None = None,
    shuffle_buffer: int | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Read data, declare what its values mean, and divide it.

    An option that would change nothing for the source at hand is refused.

    Args:
        source: A name ("digits", "mnist", "fashion-mnist", "cifar10"); a path (.npy, .npz, .safetensors, idx, .csv,
            .parquet, a folder of images); shards, as a folder of .tar or .parquet files, a pattern such as
            "train-{000..099}.tar", or a list of these; an array, tensor or table (pandas, pyarrow, polars); a PyTorch
            dataset whose items are x or (x, label); a dataset of Hugging Face's `datasets`, streamed or not; or a
            mapping of "train", and "validation" and "test", to such sources. A folder whose subfolders are named train,
            validation (val, valid) and test is such a mapping. Arrays share their memory with the dataset where no
            conversion is needed.
        name: What to call the data; by default the name of the file or set.
        kind: "image", "series", "table" or "vector". By default arrays of rank 2 are vectors, of rank 3 and 4 images;
            CSV, Parquet and DataFrames are tables; "vector" flattens each example.
        layout: Which axis is which, where the shape does not say: "NHW", "NHWC", "NCHW", "NT", "NCT" or "NTC".
        levels: Whole numbers 0 … levels − 1, which a model sees as x = raw / (levels − 1). Image files have 256, bool
            2, and uint8 has 256 if it uses more than 0 … 127; other integers must be declared.
        scaling: For continuous data: "none", "standardise" ((x − mean) / standard deviation) or "unit" (onto [0, 1]),
            measured on the training part, a column at a time for tables and as one number for all else. By default
            tables are standardised and nothing else is scaled.
        binarisation: "none"; "static" draws each example once; "dynamic" draws training examples at each visit. Each
            value is the probability of a 1.
        validation: Fraction or count, 0 for none; by default a tenth. The sets with an official test part hold out the
            last of the training file: 10,000 for mnist and fashion-mnist, 5,000 for cifar10.
        test: Likewise; not for data with a test part of its own.
        seed: Of the division, and of the draws that are made once.
        labels: An array with one label an example; for a table the name of the column; for .npz and .safetensors the
            name of the array; for .npy and idx the path of a second file. Subfolders label images.
        key: Which array of a .npz or .safetensors file is the data, or which array is which part; of tar shards the
            ending of the member that is x ("png", "jpg;png"), of parquet shards and Hugging Face datasets the column.
        columns: Which columns of a table are the data; by default all but the labels. Or a mapping that says what some
            of them are: a kind ("real", "positive", "count", "binary", "categorical", "ordinal"), "ignore" to leave one
            out, or a list of its categories in order; `lucid.distributions.Column` explains the kinds. A table in which
            values are missing, or that does not hold numbers alone, has its columns' kinds inferred.
        resize: (height, width) for image files; antialiased, and without `crop` changes the proportions.
        crop: "centre" cuts away what does not fit the proportions of `resize`.
        channels: What to read images as, where their modes differ or are unusual.
        in_memory: Of an array in a .npy, .safetensors or uncompressed idx file: False leaves it there and reads batches
            as they are needed, True reads it whole; by default it is left there if it is larger than a quarter of the
            memory (of each process's share of it, under torchrun). The batches are the same. A `numpy.memmap` is left
            in its file unless True. Of a map-style PyTorch dataset: True reads it once; by default it is read batch by
            batch, as random transforms need; a `TensorDataset` has none and is always resident.
        workers: Processes that read a PyTorch dataset ahead; 0, the default, reads in this one. Threads that read
            shards ahead, 2 by default.
        shuffle_buffer: Of shards and streams: examples that are shuffled among each other, 8,192 by default; an
            iterable PyTorch dataset keeps its own order unless this is given.
        progress: Called during downloads, and while a large file is looked through, with (name, bytes so far, bytes in
            all or None).

    Returns:
        The data in three parts.

    Raises:
        TypeError, ValueError: If the data or an option is not what it must be; the message says which, and what to do.
        FileNotFoundError: If there is nothing at a path, or a named set is neither there nor can be downloaded.

    Example:
        >>> import numpy as np
        >>> from lucid.data import load
        >>> data = load(np.arange(3000, dtype=np.uint8).reshape(50, 60), levels=256)
        >>> data.protocol.split
        'split 40/5/5 (validation and test drawn with seed 0)'
        >>> next(data.train.batches(8, seed=0)).shape
        torch.Size([8, 60])
    """
    options = Options(
        key=key,
        labels=labels,
        columns=None if columns is None or isinstance(columns, Mapping) else _names(columns),
        kinds=said_kinds(columns) if isinstance(columns, Mapping) else None,
        layout=layout,
        resize=None if resize is None else height_and_width(resize),
        crop=crop,
        channels=channels,
        in_memory=in_memory,
        workers=workers,
        shuffle_buffer=shuffle_buffer,
        progress=progress,
    )
    _check_seed(seed)
    if scaling not in (None, "none", "standardise", "unit"):
        raise ValueError(f"scaling must be 'none', 'standardise' or 'unit'; received {scaling!r}")
    if binarisation not in ("none", "static", "dynamic"):
        raise ValueError(f"binarisation must be 'none', 'static' or 'dynamic'; received {binarisation!r}")
    if binarisation != "none" and scaling in ("standardise", "unit"):
        raise ValueError(
            f"binarisation takes values as probabilities, so it cannot follow scaling={scaling!r}: leave one out"
        )
    source, options = from_hub(source, options)
    if is_sharded(source, options):
        given = {"name": name, "kind": kind, "levels": levels, "scaling": scaling, "binarisation": binarisation}
        given |= {"validation": validation, "test": test, "seed": seed}
        protocol, splits, described = load_sharded(source, options, given)
        return Dataset(protocol, splits["train"], splits["validation"], splits["test"], described)
    found = read(source, options)
    if found is None:
        pieces = pieces_of(source, options) or {"all": (source, options)}
        declared = {"kind": kind, "levels": levels, "scaling": scaling, "binarisation": binarisation, "seed": seed}
        protocol, splits = stream(pieces, name or "dataset", declared, validation, test)
        return Dataset(protocol, splits["train"], splits["validation"], splits["test"], source=None)
    given = {"name": name, "kind": kind, "levels": levels, "scaling": scaling, "validation": validation, "test": test}
    return _whole(found, options, {k: v for k, v in given.items() if v is not None}, binarisation, seed)


def _whole(found: Found, options: Options, given: dict[str, Any], binarisation: Binarisation, seed: int) -> Dataset:
    # What the source says of its layout holds while it is taken for what it is.
    known = found.layout if given.get("kind") in (None, found.kind) else None
    x, kind, layout = arranged(found.x, given.get("kind") or found.kind, options.layout or known)
    scaling: Scaling | None = given.get("scaling")
    if found.schema:
        _check_alone(given, binarisation)
    if found.columns and scaling is None and given.get("levels") is None and binarisation == "none":
        scaling = "standardise"
    x, levels, note = (x, None, None) if found.schema else declare(x, given.get("levels"), scaling, found.levels)
    if binarisation != "none" and levels is None:
        check_probabilities(x)
    rows, words = divide(
        len(x), given.get("validation"), given.get("test"), seed=seed, given=found.given, habit=found.habit
    )
    shift, scale = 0.0, 1.0
    schema = found.schema and measured(found.schema, cast("Tensor", x), rows["train"], scaling or "standardise")
    if not schema and levels is None and scaling in ("standardise", "unit"):
        shift, scale = measure(x, rows["train"], scaling, found.columns)
    codes, classes = encode(found.labels, found.classes)
    reading = {k: v for k, v in options.described().items() if k in ("key", "resize", "crop", "channels")}
    notes = {"layout": layout, "scaling": scaling, "levels": note, **{k: given.get(k) for k in ("validation", "test")}}
    reading |= {k: v for k, v in notes.items() if v is not None}
    protocol = DataProtocol(
        name=given.get("name", found.name),
        kind=kind,
        shape=tuple(x.shape[1:]),
        levels=levels,
        shift=shift,
        scale=scale,
        binarisation=binarisation,
        seed=seed,
        columns=found.columns,
        classes=classes,
        split=words,
        reading=reading,
        schema=schema,
        dtypes=found.dtypes,
        label=found.label,
    )

    store = x if isinstance(x, DiskArray) else Store(x)

    def split(part: Part) -> Split:
        return part_of(protocol, part, store, codes, rows[part])

    source = _source(found, options, given, binarisation, seed)
    return Dataset(protocol, split("train"), split("validation"), split("test"), source)


def _check_alone(given: dict[str, Any], binarisation: Binarisation) -> None:
    """Refuse options that speak of all columns of a table alike, where each has a kind of its own."""
    said = [name for name in ("levels", "kind") if given.get(name) not in (None, "table")]
    said += ["binarisation"] if binarisation != "none" else []
    if said:
        raise ValueError(
            f"{said[0]}= speaks of all columns alike, and these are of several kinds or have missing values: say what "
            "each is, columns={'name': 'count', …}, or choose columns of complete numbers, columns=(…)"
        )


def _source(
    found: Found, options: Options, given: dict[str, Any], binarisation: Binarisation, seed: int
) -> dict[str, Any] | None:
    """What to give `load` for the same again: only what differs from the defaults."""
    if found.described is None or not _is_plain(options.labels):
        return None
    draws = {"binarisation": binarisation} if binarisation != "none" else {}
    own = replace(options, labels=_absolute_labels(found, options.labels)).described()
    return {"source": found.described, **given, **own, **draws, **({"seed": seed} if seed else {})}


def _is_plain(labels: Any) -> bool:
    """Whether labels were named, so that they can be found again, and not given as an array."""
    values = labels.values() if isinstance(labels, Mapping) else [labels]
    return all(value is None or isinstance(value, str) for value in values)


def _absolute_labels(found: Found, labels: Any) -> Any:
    """Labels that are a path stay found from another folder."""
    is_file = isinstance(labels, str) and not found.columns and os.path.isfile(labels)  # noqa: PTH113 (a name, maybe)
    return os.path.abspath(labels) if is_file else labels  # noqa: PTH100


def _names(columns: Sequence[str]) -> tuple[str, ...]:
    if isinstance(columns, str):
        raise TypeError(f"columns must be a list of names; received the text {columns!r}")
    return tuple(columns)


def _check_seed(seed: int) -> None:
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"seed must be an int of at least 0; received {seed!r}")

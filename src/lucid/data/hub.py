"""Objects of Hugging Face `datasets`, whose items are dicts, as PyTorch datasets whose items are x.

That package is not imported here: whoever holds one of its objects has done so.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch.utils.data import Dataset, IterableDataset

from lucid.data.columns import Form, choose
from lucid.data.found import Kind, Options, listing
from lucid.data.images import decode_image, pixels_of

__all__ = ["HubItems", "HubStream", "facts_of", "from_hub", "hub_options"]

_NUMBERS = (bool, int, float, np.number, np.bool_)


def from_hub(source: Any, options: Options) -> tuple[Any, Options]:
    """A source with every object of `datasets` in it wrapped, and the options that are left for others to read."""
    if isinstance(source, Mapping):
        pieces = dict(cast("Mapping[str, Any]", source))
        if not any(_class_of(piece) for piece in pieces.values()):
            return source, options
        return {part: _wrapped(piece, options) for part, piece in pieces.items()}, _left(options)
    if _class_of(source) is None:
        return source, options
    return _wrapped(source, options), _left(options)


def facts_of(source: Any) -> dict[str, Any]:
    """What a wrapped object says of its values: kind, layout, levels, columns, reading; {} for any other source."""
    if not isinstance(source, HubItems | HubStream):
        return {}
    values = source.values
    return {name: getattr(values, name) for name in ("kind", "layout", "levels", "columns", "reading")}


def hub_options(source: Any, options: Options, reading: Mapping[str, Any], columns: tuple[str, ...]) -> Options:
    """The options for a further object of `datasets`: those that a protocol was made with, where there is one."""
    if _class_of(source) is None:
        return options
    resize = reading.get("resize")
    return replace(
        options,
        key=options.key or reading.get("key"),
        columns=columns or None,
        resize=tuple(resize) if resize else None,
        crop=reading.get("crop"),
        channels=reading.get("channels"),
    )


def _class_of(source: object) -> str | None:
    """The class that it is of, Dataset or IterableDataset, if it is an object of `datasets`."""
    for kind in type(source).__mro__:
        if kind.__module__.partition(".")[0] == "datasets" and kind.__name__ in ("Dataset", "IterableDataset"):
            return kind.__name__
    return None


def _wrapped(source: Any, options: Options) -> Any:
    kind = _class_of(source)
    if kind is None:
        return source
    if options.labels is not None and not (kind == "Dataset" and options.in_memory):
        raise ValueError(
            "labels= of a dataset of `datasets` goes with in_memory=True, and with a map-style one: labels are held "
            "for all examples, and this dataset is read batch by batch"
        )
    values = _Values(source, options)
    if kind == "IterableDataset":
        return HubStream(values)
    label = options.labels if isinstance(options.labels, str) else None
    if label is not None and label not in source.column_names:
        raise ValueError(f"labels= names {label!r}; the dataset has the columns {listing(source.column_names, 20)}")
    return HubItems(values, None if label is None else source.select_columns([label]))


def _left(options: Options) -> Options:
    labels = None if isinstance(options.labels, str) else options.labels
    return replace(options, key=None, columns=None, resize=None, crop=None, channels=None, labels=labels)


class _Values:
    """x of the items of a dataset.

    Attributes:
        source: The dataset, with the columns of x alone, images still encoded.
        kind: "image" or "table" where that is known.
        layout: How pixels are laid out.
        levels: 256 for images.
        columns: Names of a table's columns.
        reading: How x is taken, for the protocol.
    """

    def __init__(self, source: Any, options: Options) -> None:
        self._options = options
        self._features: Mapping[str, Any] = source.features or {}
        # What a user's own transform makes of the items is taken as it is.
        own = isinstance(source, IterableDataset) or source.format["type"] in (None, "numpy", "torch")
        source = self._undecoded(source) if own else source
        first = _first(source)
        holds = f"the dataset has the columns {listing([str(name) for name in first], 20)}"
        forms: dict[str, Form] = {name: _form(value, self._features.get(name)) for name, value in first.items()}
        self._chosen: tuple[str, ...]
        self._form: Form
        self._chosen, self._form = choose(forms, options, holds)
        if own and source.column_names is not None:
            source = source.select_columns(list(self._chosen))
        self.source: Any = source.with_format(None if self._form == "image" else "numpy") if own else source
        image = self._form == "image"
        self.kind: Kind | None = "image" if image else "table" if self._form == "number" else None
        self.columns = self._chosen if self._form == "number" else ()
        self.levels = 256 if image else None
        self.channels = options.channels
        if image and self.channels is None:
            depth = self(first).shape[-1]
            self.channels = {1: "grey", 3: "rgb", 4: "rgba"}[depth]
        self.layout = "NHWC" if image else None
        self.reading: dict[str, Any] = {
            k: v for k, v in options.described().items() if k in ("key", "resize", "crop")
        } | ({"channels": self.channels} if image else {})

    def _undecoded(self, source: Any) -> Any:
        """The same with its images as bytes, so that only those that a process keeps are decoded."""
        package = sys.modules["datasets"]
        for name, feature in self._features.items():
            if isinstance(feature, package.Image) and feature.decode:
                source = source.cast_column(name, package.Image(decode=False))
        return source

    def __call__(self, item: Mapping[str, Any]) -> Any:
        """x of an item."""
        if self._form == "number":
            return np.array([item[name] for name in self._chosen], np.float64)
        value = item[self._chosen[0]]
        return value if self._form == "array" else self._pixels(value)

    def _pixels(self, value: Any) -> np.ndarray[Any, Any]:
        name = self._chosen[0]
        if isinstance(value, Mapping):
            encoded = cast("Mapping[str, Any]", value)
            path = encoded.get("path")
            if encoded.get("bytes") is not None:
                return decode_image(encoded["bytes"], path or f"an image in {name!r}", self.channels, self._options)
            if path and Path(path).is_file():
                return decode_image(Path(path).read_bytes(), repr(path), self.channels, self._options)
            value = self._features[name].decode_example(value)  # wherever else it lies, the package knows to find it
        if isinstance(value, bytes):
            return decode_image(value, f"an image in {name!r}", self.channels, self._options)
        return pixels_of(value, f"an image in {name!r}", self.channels, self._options)


class HubItems(Dataset[Any]):
    """A map-style dataset whose items are x, or (x, label).

    Args:
        values: Takes x from an item.
        labels: The column of labels alone, or None.
    """

    def __init__(self, values: _Values, labels: Any = None) -> None:
        self.values = values
        self._labels = labels

    def __len__(self) -> int:
        return len(self.values.source)

    def __getitem__(self, row: int) -> Any:
        x = self.values(self.values.source[row])
        return x if self._labels is None else (x, next(iter(self._labels[row].values())))


class HubStream(IterableDataset[Any]):
    """An iterable dataset whose items are x.

    Args:
        values: Takes x from an item.
    """

    def __init__(self, values: _Values) -> None:
        self.values = values

    def __iter__(self) -> Iterator[Any]:
        return map(self.values, self.encoded(0))

    def encoded(self, epoch: int) -> Any:
        """The items of one pass, images not yet decoded; where the user has shuffled it, by the epoch."""
        self.values.source.set_epoch(epoch)  # `cast_column` and its like have made it a copy of the user's object
        return self.values.source


def _first(source: Any) -> Mapping[str, Any]:
    item = next(iter(source), None)
    if item is None:
        raise ValueError("the dataset holds no items")
    return item


def _form(value: Any, feature: Any) -> Form:
    if type(feature).__name__ == "ClassLabel":
        return "other"
    if isinstance(value, bytes) or (isinstance(value, Mapping) and "bytes" in value) or hasattr(value, "getbands"):
        return "image"
    if isinstance(value, _NUMBERS):
        return "number"
    if isinstance(value, list | np.ndarray) or hasattr(value, "numpy"):
        try:
            x = np.asarray(value)
        except ValueError:  # lists of differing lengths
            return "other"
        return "array" if x.dtype.kind in "biuf" and x.ndim else "other"
    return "other"

"""A part of a data set known by name, such as "mnist:test", which comes back as a .npy file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from torch import Tensor

from lucid.codec.inputs.array_files import ArrayEntry, ArrayPieces
from lucid.codec.inputs.grid import protocol_of
from lucid.codec.inputs.source import Entry, Source
from lucid.codec.layout import DataLayout
from lucid.data import load_like
from lucid.data.layout import restore
from lucid.data.named import NAMES
from lucid.data.split import Part

__all__ = ["NamedPart", "is_named"]

_PARTS = ("train", "validation", "test")


def is_named(text: str) -> bool:
    """Whether a text is a data set's name, with or without ":" and a part."""
    return text.partition(":")[0] in NAMES


class NamedPart(Source):
    """A part of a data set known by name; of a binarised model the draw of it that evaluation uses.

    Args:
        text: A name, or NAME:PART; without a part, the test part.
        data: What the model codes.

    Raises:
        ValueError: If there is no such part, or it does not fit the model.
        FileNotFoundError: If the data set is not there and cannot be downloaded.
    """

    def __init__(self, text: str, data: DataLayout) -> None:
        name, _, part = text.partition(":")
        if part not in ("", *_PARTS):
            raise ValueError(f"{text!r}: a data set's part is {', '.join(_PARTS)}; received {part!r}")
        protocol = protocol_of(data)
        if protocol is None:
            raise ValueError(f"the model does not say how its data was prepared, so {name!r} cannot be: give an array")
        split = load_like(name, protocol, part=cast("Part", part or "test"))
        drawn = protocol.binarisation != "none"
        x = split.tensor().byte() if drawn else split.raw
        if drawn:
            drawn_once = f"so this is the one draw of it that evaluation measures (seed {protocol.seed})"
            self.note = f"{text}: the model knows 0 and 1 alone, {drawn_once}"
        x = restore(x, protocol.reading.get("layout"), protocol.shape).contiguous()
        self.name, self.total = f"{name}-{part or 'test'}.npy", len(x)
        self.num_bytes = x.numel() * x.element_size()
        dtype: Any = x.numpy().dtype.str
        self._pieces = ArrayPieces(x, dtype, data, repr(text))

    def chunks(self) -> Iterator[Tensor]:
        return self._pieces.levels()

    def entry(self) -> Entry:
        return ArrayEntry(self.name, self.total, self._pieces.form)

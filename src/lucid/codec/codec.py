"""The codec: a trained model that turns data into few bytes and back."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lucid.codec.coding.block import BlockCoder
from lucid.codec.container.reader import Reader
from lucid.codec.container.writer import Writer
from lucid.codec.errors import CodecError
from lucid.codec.form import form_from_file, form_to_file
from lucid.codec.inputs.arrays import ArrayForm, levels_of, restored
from lucid.codec.layout import Layout
from lucid.codec.network.fixed import FixedNetwork
from lucid.codec.pinned import pinned
from lucid.codec.record import Json, check_size, identity_of, layout_from_parts, layout_to_parts, narrowed
from lucid.io import read_verified, write_tensors
from lucid.io.files import json_text, parse_json, require_file
from lucid.models import LatentModel

if TYPE_CHECKING:
    from lucid.codec.rate import Rate

__all__ = ["Codec", "decompress", "load"]

Array = Tensor | np.ndarray[Any, Any]
Progress = Callable[[int, int | None], None]

_FORMAT, _VERSION = "lucid codec", 1
_TEXT = "lucid.codec"
_NETWORK, _LAYOUT = "network/", "layout/"
_LEAST_BYTES = 12
_MOST_BYTES = 1 << 32
_MEMORY, _MEMORY_PER_BYTE = 1 << 29, 16
"""Bytes that a codec's tables, and the few examples it is tried on, may take: so many, and for each byte it has."""
# What a forged codec can make fail in the arithmetic below us, all of which means that its parts do not fit together.
_MISFITS = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError),
    *(ArithmeticError, AssertionError, RuntimeError, MemoryError),
)


class Codec:
    """A frozen model: integer-exact, the same on every machine; it compresses data of its kind without loss.

    Made by `freeze` or `load`.

    Args:
        network: The model's networks in integers.
        layout: What is coded under which distributions.
        about: Plain JSON to keep with it, such as where it comes from; not part of the identity.

    Attributes:
        network: See there.
        layout: See there.
        about: See there.
        coder: Codes blocks of levels.

    Example:
        >>> import numpy as np, torch, lucid.codec, lucid.nn as nn
        >>> from lucid.models import VAE, VAEConfig
        >>> config = VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)], reconstruction_loss="bce")
        >>> bits = (torch.rand(40, 6) < 0.3).float()
        >>> codec = lucid.codec.freeze(VAE(config), calibration=bits)
        >>> file = codec.compress(bits)
        >>> torch.equal(codec.decompress(file), bits)
        True
    """

    def __init__(self, network: FixedNetwork, layout: Layout, about: Json | None = None) -> None:
        self.network = network
        self.layout = layout
        self.about: Json = dict(about or {})
        self.coder = BlockCoder(network, layout)
        self._description, self._tensors = _to_parts(network, layout)
        self._identity = identity_of(self._description, self._tensors)

    @property
    def identity(self) -> str:
        """SHA-256 of all that decides what the codec does, hexadecimal. A file opens with this identity alone."""
        return self._identity

    @pinned()
    def compress(
        self,
        x: Array,
        *,
        block_examples: int | None = None,
        workers: int = 1,
        embed: bool = False,
        progress: Progress | None = None,
    ) -> bytes:
        """An array as the bytes of a .lucid file.

        Args:
            x: (N, ...), NumPy or PyTorch: integers or booleans that are levels, or floating-point numbers that lie
                exactly on the model's grid; channels first or last.
            block_examples: As in `Writer`.
            workers: Processes that code blocks; the bytes are the same for any number of them.
            embed: Whether the codec travels with the file, which then opens by itself.
            progress: Called as `progress(examples done, None)` after each block.

        Raises:
            TypeError: x is no array of numbers.
            ValueError: x does not fit the model, with the rule, the value and the remedy.
        """
        levels, form = self.levels_of(x)
        code, meta = form_to_file(form)
        file = io.BytesIO()
        with Writer(
            file,
            self,
            meta=meta,
            form=code,
            block_examples=block_examples,
            workers=workers,
            embed=embed,
            progress=progress,
        ) as writer:
            writer.add(levels)
        return file.getvalue()

    @pinned()
    def decompress(self, data: bytes | bytearray | memoryview, *, workers: int = 1) -> Array:
        """The array that `compress` was given: the same kind, type and shape, bit for bit.

        A file that holds no array, such as one of images from a folder, comes back as its levels, a NumPy array of
        the smallest unsigned type (int64 for counts and tables, −1 where a value is missing).

        Args:
            data: The bytes of a .lucid file.
            workers: Processes that decode.

        Raises:
            CodecError: It is damaged, no .lucid file, or made by another codec.
            TypeError: `data` is something else than bytes, such as a path.
        """
        return _array_of(Reader(_bytes(data), self), workers)

    def levels_of(self, x: Array) -> tuple[Tensor, ArrayForm]:
        """The levels of an array, int64 (N, ...), and what it takes to make it again.

        Raises:
            TypeError, ValueError: As `compress`.
        """
        return levels_of(x, self.layout.data)

    def restore(self, levels: Tensor, form: ArrayForm) -> Array:
        """The array that had these levels."""
        return restored(levels, form, self.layout.data)

    @pinned()
    def rate(self, x: Array, model: LatentModel | None = None, *, seed: int = 0) -> Rate:
        """What compressing an array costs, and what the bound says it should.

        Args:
            x: As `compress` takes it; two examples or more.
            model: The model that was frozen, to compare with.
            seed: Of the posterior draws of the bounds.

        Raises:
            TypeError, ValueError: As `compress`.
        """
        from lucid.codec.rate import measure  # which measures codecs

        if model is not None and not isinstance(model, LatentModel):
            raise TypeError(f"model must be the LatentModel that was frozen; received {type(model).__name__}")
        return measure(self, self.levels_of(x)[0], model, seed)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the codec to a file, whole or not at all: JSON and tensors, nothing that is ever executed.

        Raises:
            OSError: The file cannot be written.
        """
        text = json_text({**self._description, "about": self.about})
        write_tensors(path, self._tensors, {_TEXT: text})

    def to_bytes(self) -> bytes:
        """What `save` writes."""
        with tempfile.TemporaryDirectory(prefix="lucid-") as folder:
            path = Path(folder) / "a.codec"
            self.save(path)
            return path.read_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Codec:
        """The inverse of `to_bytes`.

        Raises:
            CodecError: It is no codec, damaged, or would not do here what it did where it was made.
        """
        if len(data) < _LEAST_BYTES:
            raise CodecError(
                f"a codec holds at least {_LEAST_BYTES} bytes; received {len(data)}: it was cut short, or is no codec"
            )
        with tempfile.TemporaryDirectory(prefix="lucid-") as folder:
            path = Path(folder) / "received.codec"
            path.write_bytes(data)
            return _read(path, "the codec")

    def __repr__(self) -> str:
        levels = "counts or a table" if self.layout.data.levels is None else f"{self.layout.data.levels} levels"
        shape = "×".join(map(str, self.layout.data.shape))
        return f"Codec({self.identity[:8]}…, {shape} of {levels}, {len(self.layout.latents)} latents)"


@pinned()
def load(origin: str | os.PathLike[str] | bytes | bytearray | memoryview) -> Codec:
    """Open a codec. Nothing in it is ever executed; it is proven anew that no sum in it can overflow.

    Args:
        origin: The path or the bytes of a .codec file.

    However it was forged, opening it takes at most 1 GiB of memory, and 64 times the size of the file.

    Raises:
        FileNotFoundError: Nothing is there.
        ValueError: A folder, or something else than a regular file, is there.
        CodecError: It is no codec, damaged, or would not do here what it did where it was made.
    """
    if isinstance(origin, (bytes, bytearray, memoryview)):
        return Codec.from_bytes(bytes(origin))
    file = require_file(origin)
    return _read(file, repr(str(file)))


@pinned()
def decompress(data: bytes | bytearray | memoryview, *, workers: int = 1) -> Array:
    """The array of a file that carries its codec (`compress(x, embed=True)`).

    Raises:
        TypeError: `data` is something else than bytes, such as a path.
        CodecError: It is damaged, no .lucid file, or carries no codec.
    """
    return _array_of(Reader(_bytes(data)), workers)


def _bytes(data: Any) -> Any:
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(
            f"decompress takes the bytes of a .lucid file; received {type(data).__name__}. A file is opened by "
            "lucid.codec.Reader, or by `lucid decompress`"
        )
    return data


def _array_of(reader: Reader, workers: int) -> Array:
    with reader:
        codec = reader.codec
        data = codec.layout.data
        form = form_from_file(reader.form, reader.meta)
        empty = torch.empty(0, *data.shape, dtype=torch.int64)
        levels = torch.cat([empty, *reader.blocks(workers=workers)])
    if form is None:
        dtype = np.int64 if data.levels is None else np.min_scalar_type(data.levels - 1)
        return levels.numpy().astype(dtype)
    try:
        return restored(levels, form, data)
    except _MISFITS as error:
        raise CodecError(f"the file is damaged: its array cannot be made again ({error})") from error


def _to_parts(network: FixedNetwork, layout: Layout) -> tuple[Json, dict[str, Tensor]]:
    described, weights = network.to_parts()
    laid_out, tensors = layout_to_parts(layout)
    description = {"format": _FORMAT, "version": _VERSION, "network": described, "layout": laid_out}
    named = {_NETWORK + name: tensor for name, tensor in weights.items()}
    named |= {_LAYOUT + name: tensor for name, tensor in tensors.items()}
    return description, narrowed(named)


def _read(path: Path, name: str) -> Codec:
    if path.stat().st_size > _MOST_BYTES:
        raise CodecError(f"{name} holds more than {_MOST_BYTES} bytes, the most that is read as a codec")
    try:
        tensors, texts = read_verified(path)
        description = parse_json(texts.get(_TEXT, "").encode(), f"the description in {name}")
    except ValueError as error:
        raise CodecError(f"{name} is not a codec, or is damaged: {error}") from error
    if not isinstance(description, dict) or description.get("format") != _FORMAT:
        raise CodecError(f"{name} is not a codec: it does not say that it is a {_FORMAT!r}")
    if description.get("version") != _VERSION:
        raise CodecError(
            f"{name} is a codec of version {str(description.get('version'))[:20]}; this lucid reads version "
            f"{_VERSION}. Open it with a newer lucid"
        )
    try:
        codec = _from_parts(description, tensors)
    except CodecError:
        raise
    except _MISFITS as error:
        raise CodecError(
            f"{name} is damaged: its parts do not fit together ({type(error).__name__}: {error})"
        ) from error
    about = description.get("about")
    codec.about = dict(about) if isinstance(about, dict) else {}
    return codec


def _from_parts(description: Json, tensors: dict[str, Tensor]) -> Codec:
    weights = {name.removeprefix(_NETWORK): t for name, t in tensors.items() if name.startswith(_NETWORK)}
    others = {name.removeprefix(_LAYOUT): t for name, t in tensors.items() if name.startswith(_LAYOUT)}
    memory = _memory_for(tensors)
    network = FixedNetwork.from_parts(description["network"], weights, memory)
    layout = layout_from_parts(description.get("layout"), others)
    check_size(layout, network.inputs, memory)
    codec = Codec(network, layout)
    check_that_it_codes(codec)
    return codec


def _memory_for(tensors: Mapping[str, Tensor]) -> int:
    return _MEMORY + _MEMORY_PER_BYTE * sum(tensor.nbytes for tensor in tensors.values())


def check_that_it_codes(codec: Codec) -> None:
    """Two examples there and back: whatever does not fit together comes out here, and not in the midst of a file.

    Raises:
        CodecError: They do not come back.
        ValueError: It takes more memory than a codec of its size is allowed while it is opened.
    """
    codec.network.limit(_memory_for(codec._tensors))  # pyright: ignore[reportPrivateUsage]
    levels = torch.zeros(2, *codec.layout.data.shape, dtype=torch.int64)
    found, _ = codec.coder.decode(codec.coder.encode(levels, bytes(32)), 2)
    if not torch.equal(found, levels):
        raise CodecError("the codec is damaged: what it encodes does not come back")
    codec.network.limit(None)

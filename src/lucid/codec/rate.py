"""What a codec makes of data, beside what its bound promises."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lucid.codec.coding.data import to_model_space
from lucid.codec.container.reader import Reader
from lucid.codec.container.writer import Writer
from lucid.codec.densities import frozen_walk
from lucid.codec.errors import CodecError
from lucid.codec.layout import Layout
from lucid.models import LatentModel
from lucid.models.base import evaluating

if TYPE_CHECKING:
    from lucid.codec.codec import Codec

__all__ = ["Bound", "Rate", "measure"]

_MOST_ROWS, _NUMBERS = 512, 1 << 19  # of a batch, and its numbers of x: as many as the coder takes at a time
_DRAWS = 4


@dataclass(frozen=True)
class Bound:
    """−ELBO with its Monte Carlo error.

    Attributes:
        bits_per_dim: The mean over the examples, of `num_samples` draws each.
        standard_error: Of the draws alone, the examples being what they are: how far another seed would take it.
        num_samples: Draws per example.
    """

    bits_per_dim: float
    standard_error: float
    num_samples: int


@dataclass(frozen=True)
class Rate:
    """Sizes in bytes, rates in bits/dim of the data, times in seconds.

    A file is its blocks and the header and index around them. A coded block is the seed that its first examples were
    coded with (the initial bits of bits back, which are its proof of integrity too) and, beyond it, the net.

    Of a table, the file also says which values are missing. The bounds do not: −ELBO is of the values that are there,
    given which ones they are. With many missing values the excess is mostly that mask, outside the model.

    Attributes:
        num_examples: How many.
        num_features: Numbers in an example, the "dim" of bits/dim.
        file_bytes: The whole file.
        overhead_bytes: Header and index.
        initial_bytes: The seeds of all blocks.
        coded_blocks: Blocks that the model coded.
        stored_blocks: Blocks that were shorter without it.
        frozen: The bound of the frozen model on these data.
        model: That of the model before it was frozen; None if none was given.
        encode_seconds: From levels to a file.
        decode_seconds: Back.
        stages: Of those, seconds in the networks, in tables and in the entropy coder, encoding and decoding.
        missing: Values that a table lacks.
    """

    num_examples: int
    num_features: int
    file_bytes: int
    overhead_bytes: int
    initial_bytes: int
    coded_blocks: int
    stored_blocks: int
    frozen: Bound
    model: Bound | None
    encode_seconds: float
    decode_seconds: float
    stages: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    missing: int = 0

    @property
    def file(self) -> float:
        """Bits/dim of the file, everything counted."""
        return self._bits(self.file_bytes)

    @property
    def net(self) -> float:
        """Bits/dim without header, index and seeds: what many more examples would cost."""
        return self._bits(self.file_bytes - self.overhead_bytes - self.initial_bytes)

    @property
    def excess(self) -> float:
        """How far the file lies above the bound of the model (of the frozen one if no other was given); 0.01 is 1 %."""
        return self.file / (self.model or self.frozen).bits_per_dim - 1

    def _bits(self, size: int) -> float:
        return 8 * size / (self.num_examples * self.num_features)

    def __str__(self) -> str:
        rows = [
            ("file", f"{self.file:.4f} bits/dim", f"{self.file_bytes:,} bytes, {self.num_examples:,} examples"),
            (
                "net",
                f"{self.net:.4f} bits/dim",
                f"but for {self.initial_bytes} initial and {self.overhead_bytes} other bytes",
            ),
            ("−ELBO, frozen", *_bound_words(self.frozen)),
            *([("−ELBO, model", *_bound_words(self.model))] if self.model else []),
            ("excess", f"{100 * self.excess:+.2f} %", f"file above −ELBO{self._mask_words()}"),
            *(self._time(name, seconds) for name, seconds in self._seconds()),
        ]
        wide = max(len(value) for _, value, _ in rows)
        return "\n".join(f"{name:<14} {value:>{wide}}  {note}".rstrip() for name, value, note in rows)

    def _mask_words(self) -> str:
        return f", which leaves out where the {self.missing:,} missing values are" if self.missing else ""

    def _seconds(self) -> list[tuple[str, float]]:
        return [("encode", self.encode_seconds), ("decode", self.decode_seconds)]

    def _time(self, name: str, seconds: float) -> tuple[str, str, str]:
        shares = ", ".join(f"{stage} {100 * part / seconds:.0f} %" for stage, part in self.stages[name].items())
        return name, f"{self.num_examples / seconds:,.0f} examples/s", shares


def _bound_words(bound: Bound) -> tuple[str, str]:
    return f"{bound.bits_per_dim:.4f} bits/dim", f"± {bound.standard_error:.4f}, {bound.num_samples} draws"


class _Watched:
    """A coder that counts the seeds it finds.

    Attributes:
        initial_bytes: Of all seeds.
    """

    def __init__(self, codec: Codec) -> None:
        self.identity = codec.identity
        self.layout: Layout = codec.layout
        self.to_bytes = codec.to_bytes
        self.encode = codec.coder.encode
        self._decode = codec.coder.decode
        self.initial_bytes = 0

    @property
    def coder(self) -> _Watched:
        return self

    def decode(self, payload: bytes, n: int) -> tuple[Tensor, bytes]:
        levels, seed = self._decode(payload, n)
        self.initial_bytes += len(seed)
        return levels, seed


def measure(codec: Codec, levels: Tensor, model: LatentModel | None, seed: int) -> Rate:
    """Compress levels, take them back, and compare with the bounds.

    Args:
        codec: The codec.
        levels: int64 (n, *shape), n ≥ 1.
        model: The model that was frozen; None to leave it out.
        seed: Of the posterior draws of the bounds.

    Raises:
        ValueError: There are no levels.
    """
    if not len(levels):
        raise ValueError("a rate needs one example at least; received none")
    watched, file = _Watched(codec), io.BytesIO()
    before, start = dict(codec.coder.seconds), perf_counter()
    with Writer(file, watched) as writer:
        writer.add(levels)
    between, half_way = dict(codec.coder.seconds), perf_counter()
    reader = Reader(file.getvalue(), watched)
    decoded = torch.cat([*reader.blocks()])
    after, end = dict(codec.coder.seconds), perf_counter()
    if not torch.equal(decoded, levels):
        raise CodecError("what was encoded does not come back on this machine")
    info = reader.info()
    return Rate(
        num_examples=len(levels),
        num_features=levels[0].numel(),
        file_bytes=info.file_bytes,
        overhead_bytes=info.file_bytes - info.block_bytes,
        initial_bytes=watched.initial_bytes,
        coded_blocks=info.coded_blocks,
        stored_blocks=info.stored_blocks,
        frozen=_bound(levels, lambda part, stream: frozen_walk(codec.network, codec.layout, part, stream).elbo(), seed),
        model=None if model is None else _bound_of_model(codec, model, levels, seed),
        encode_seconds=half_way - start,
        decode_seconds=end - half_way,
        missing=int((levels < 0).sum()),
        stages={
            "encode": {stage: between[stage] - before[stage] for stage in after},
            "decode": {stage: after[stage] - between[stage] for stage in after},
        },
    )


def _bound_of_model(codec: Codec, model: LatentModel, levels: Tensor, seed: int) -> Bound:
    parameter = next(model.parameters())

    def elbo(part: Tensor, stream: torch.Generator) -> Tensor:
        x = to_model_space(part.reshape(len(part), -1).numpy(), codec.layout.data)
        x = x.masked_fill(part < 0, torch.nan) if codec.layout.data.levels is None else x
        return model.elbo(x.to(parameter), generator=stream).per_example.double().cpu()

    with evaluating(model):
        return _bound(levels, elbo, seed, parameter.device)


def _bound(
    levels: Tensor,
    elbo: Callable[[Tensor, torch.Generator], Tensor],
    seed: int,
    device: torch.device | str = "cpu",
) -> Bound:
    """−ELBO from several draws of each example, in bits/dim."""
    stream = torch.Generator(device).manual_seed(seed)
    total, variance = 0.0, 0.0
    for part in levels.split(max(1, min(_MOST_ROWS, _NUMBERS // levels[0].numel()))):
        found = torch.stack([elbo(part, stream) for _ in range(_DRAWS)])
        total -= float(found.mean(0).sum())
        variance += float(found.var(0).sum()) / _DRAWS
    unit = math.log(2) * levels.numel()
    return Bound(total / unit, math.sqrt(variance) / unit, _DRAWS)

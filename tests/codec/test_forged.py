"""Codecs that ask for more memory than their size can justify: refused before any is taken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.codec import fuzzing
from tests.codec.small import bits_codec, greys_codec
from torch import Tensor

import lucid.codec
from lucid.codec import Codec, CodecError
from lucid.io import read_verified, write_tensors

Forge = Callable[[dict[str, Any], dict[str, Tensor]], None]


def forged(codec: Codec, forge: Forge, path: Path) -> bytes:
    """The codec with something else in it, and its checksum made anew."""
    codec.save(path)
    tensors, texts = read_verified(path)
    description = json.loads(texts["lucid.codec"])
    forge(description, tensors)
    write_tensors(path, tensors, {**texts, "lucid.codec": json.dumps(description)})
    return path.read_bytes()


def add(description: dict[str, Any], *entries: list[Any]) -> None:
    description["network"]["nodes"] += entries
    description["network"]["outputs"] |= {f"more {entry[0]}": entry[0] for entry in entries}


def far_slice(description: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    attrs = {"dim": 1 << 40, "start": 0, "stop": 1, "step": 1}
    add(description, ["m", "slice", ["x"], 0, None, None, attrs])


def many_tables(description: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Knots that are a few hundred bytes, spread out to 8 MB by each of 200 nodes."""
    description["network"]["constants"]["t"] = 0
    tensors["network/constant/t"] = torch.arange(16, dtype=torch.int8)
    for n in range(200):
        attrs = {"shift": 0, "first": n, "spread": 16}
        add(description, [f"m{n}", "lookup", ["x", "t"], 0, None, None, attrs])


def large_values(description: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Two dozen numbers, repeated until they are 16 million, some of them at a time."""
    first = ["m", "expand", ["wide"], 0, None, None, {"shape": [600_000, 24]}]
    add(description, ["wide", "reshape", ["x"], 0, None, None, {"shape": [1, 24]}], first)
    for n in range(12):
        add(description, [f"m{n}", "add", ["m", "m"], 1, None, None, {}])


def wide_padding(description: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """A convolution whose result is small, and whose padded input is not."""
    description["network"]["constants"]["w"] = 0
    tensors["network/constant/w"] = torch.ones(1, 1, 1, 1, dtype=torch.int8)
    attrs = {
        "stride": [1 << 17] * 2,
        "padding": [1 << 16] * 2,
        "dilation": [1, 1],
        "groups": 1,
        "transposed": False,
        "output_padding": [0, 0],
    }
    add(description, ["image", "reshape", ["x"], 0, None, None, {"shape": [1, 4, 6]}])
    add(description, ["m", "conv", ["image", "w"], 0, None, None, attrs])


def other_examples(description: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    description["layout"]["data"]["shape"] = [1 << 28]


def fine_grids(description: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Grids of 2^17 cells, each of another width, for far more numbers than the latent has."""
    size = 1 << 13
    steps = 2.0 ** (torch.arange(size) % 100 - 50).double()
    cells = (1 << 17) - torch.arange(size)
    for part, values in (("centre", torch.zeros(size).double()), ("step", steps), ("cells", cells)):
        tensors[f"layout/z0.{part}"] = values
    tensors["layout/z0.shared"] = torch.zeros(size, dtype=torch.bool)
    description["layout"]["latents"][0]["shape"] = [size]
    entry = description["network"]["inputs"].pop("z0")
    description["network"]["inputs"]["z0"] = [[size], *entry[1:]]
    description["network"]["nodes"] = [
        ["z", "slice", ["z0"], entry[1], None, None, {"dim": 1, "start": 0, "stop": 3, "step": 1}],
        *(
            [name, kind, ["z" if i == "z0" else i for i in inputs], *rest]
            for name, kind, inputs, *rest in description["network"]["nodes"]
        ),
    ]
    tensors["network/known/z0"] = torch.zeros(3, size, dtype=torch.int8)


FORGERIES: list[tuple[Forge, str]] = [
    (far_slice, "dimension"),
    (many_tables, "for its tables or for the values"),
    (large_values, "for its tables or for the values"),
    (wide_padding, "for its tables or for the values"),
    (other_examples, "another elsewhere"),
    (fine_grids, "cells of grids"),
]


@pytest.mark.parametrize(("forge", "words"), FORGERIES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_codec_that_asks_for_too_much_memory_is_refused_before_it_gets_any(
    forge: Forge, words: str, tmp_path: Path
) -> None:
    data = forged(bits_codec(), forge, tmp_path / "a.codec")
    with fuzzing._bounded_memory(), pytest.raises(CodecError) as refused:
        lucid.codec.load(data)
    assert not fuzzing._lacked_memory(refused.value), "the machine refused, and not we"
    assert words in str(refused.value)


def test_a_sound_codec_is_far_from_the_bound() -> None:
    for codec in (bits_codec(), greys_codec()):
        codec.network.limit(1 << 24)
        try:
            x = torch.zeros(2, *codec.layout.data.shape, dtype=torch.int64)
            assert codec.coder.encode(x, bytes(32))
        finally:
            codec.network.limit(None)

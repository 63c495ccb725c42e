"""The codec as people use it: arrays in, bytes, the same arrays out; saved, opened, measured."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.codec.small import bits, bits_codec, bits_model, greys, greys_codec, trained

import lucid.codec
import lucid.nn as nn
from lucid.codec import Codec, CodecError, Reader, freeze
from lucid.codec.container.header import read_header
from lucid.codec.container.index import block_check, index_bytes, read_index
from lucid.codec.container.source import Source
from lucid.distributions import Column, DiscretisedLogistic
from lucid.models import VAE, DataProtocol, VAEConfig, create


def same_bits(a: Any, b: Any) -> bool:
    """Same kind, type and shape, and every bit."""
    if type(a) is not type(b) or a.dtype != b.dtype or a.shape != b.shape:
        return False
    if isinstance(a, torch.Tensor):
        a, b = a.contiguous().view(torch.uint8).numpy(), b.contiguous().view(torch.uint8).numpy()
    return a.tobytes() == b.tobytes()


# Arrays


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10, 65])
@pytest.mark.parametrize("make", [bits_codec, greys_codec])
def test_any_number_of_examples_comes_back(make, n: int) -> None:
    codec = make()
    x = bits(n) if make is bits_codec else greys(n)
    assert same_bits(codec.decompress(codec.compress(x)), x)


@pytest.mark.parametrize(
    "dtype",
    [
        *("uint8", "int8", "bool", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
        *("float16", "bfloat16", "float32", "float64"),
    ],
)
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_every_type_of_number_comes_back(kind: str, dtype: str) -> None:
    if kind == "numpy" and dtype == "bfloat16":
        with pytest.raises(TypeError, match="bfloat16"):
            np.dtype(dtype)  # NumPy has none
        return
    x = bits(5).numpy().astype(dtype) if kind == "numpy" else bits(5).to(getattr(torch, dtype))
    codec = bits_codec()
    assert same_bits(codec.decompress(codec.compress(x)), x)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_levels_as_the_model_sees_them_come_back(dtype: type) -> None:
    codec = greys_codec()
    x = (np.arange(17).repeat(24).reshape(17, 1, 4, 6) / dtype(16)).astype(dtype)
    assert same_bits(codec.decompress(codec.compress(x)), x)


@pytest.mark.parametrize("arrange", [lambda x: x[:, 0], lambda x: np.moveaxis(x, 1, -1), lambda x: x.astype(">u2")])
def test_shapes_and_orders_of_bytes_come_back(arrange) -> None:
    codec, x = greys_codec(), arrange(greys(9).numpy())
    assert same_bits(codec.decompress(codec.compress(x)), np.ascontiguousarray(x))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.full((2, 1, 4, 6), 17), ValueError, "17"),
        (np.full((2, 1, 4, 6), 0.3), ValueError, "0.3"),
        (np.full((2, 1, 4, 6), -0.0), ValueError, r"-0\.0"),
        (np.full((2, 1, 4, 6), np.nan), ValueError, "nan"),
        (np.zeros((2, 5, 5)), ValueError, "shape"),
        ([[0, 1]], TypeError, "list"),
        (np.array([["a"]]), TypeError, "numbers"),
    ],
)
def test_what_the_model_does_not_code_is_refused(x, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        greys_codec().compress(x)


def test_the_bytes_are_the_same_each_time() -> None:
    codec, x = greys_codec(), greys(40)
    assert codec.compress(x) == codec.compress(x.clone())


def test_three_hundred_examples_cost_twenty_five_bytes_beside_what_the_model_says() -> None:
    rate = bits_codec().rate(bits(300))
    assert rate.overhead_bytes == 13
    assert rate.initial_bytes == 12


# Workers, blocks and a codec that travels along


def test_workers_write_the_same_bytes() -> None:
    codec, x = greys_codec(), greys(50)
    assert codec.compress(x, block_examples=11, workers=2) == codec.compress(x, block_examples=11)


def test_workers_read_what_is_sound_and_refuse_what_is_damaged() -> None:
    codec, x = greys_codec(), greys(50)
    data = bytearray(codec.compress(x, block_examples=11))
    header, end = read_header(Source(bytes(data)))
    members = read_index(Source(bytes(data)), end)
    bad = members[2]
    data[bad.position + 5] ^= 16
    members[2] = replace(bad, check=block_check(bytes(data[bad.position : bad.position + bad.size])))
    data[members[-1].position + members[-1].size :] = index_bytes(header.to_bytes(indexed=True), members, 11)
    blocks = Reader(bytes(data), codec).blocks(workers=2)
    for start in (0, 11):
        assert torch.equal(next(blocks), x[start : start + 11].long())
    with pytest.raises(CodecError, match=r"block 2|coded data"):
        next(blocks)


def test_a_file_that_carries_its_codec_opens_by_itself() -> None:
    codec, x = bits_codec(), bits(30).numpy()
    data = codec.compress(x, embed=True)
    assert same_bits(lucid.codec.decompress(data), x)
    assert Reader(data).codec.identity == codec.identity
    with pytest.raises(CodecError, match="carries none: give the one that it was made with"):
        lucid.codec.decompress(codec.compress(x))


def test_files_of_another_codec_are_refused_by_name() -> None:
    with pytest.raises(CodecError, match=r"was made by the codec [0-9a-f]{8}…; received the codec [0-9a-f]{8}…"):
        greys_codec().decompress(bits_codec().compress(bits(3)))


# The codec itself


def test_a_saved_codec_is_the_same_codec_in_another_process(tmp_path: Path) -> None:
    codec, x = greys_codec(), greys(30)
    codec.save(tmp_path / "a.codec")
    (tmp_path / "a.lucid").write_bytes(codec.compress(x.numpy()))
    program = (
        "import sys, numpy, lucid.codec; codec = lucid.codec.load(sys.argv[1] + '/a.codec');"
        "numpy.save(sys.argv[1] + '/a.npy', codec.decompress(open(sys.argv[1] + '/a.lucid', 'rb').read()));"
        "print(codec.identity)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == codec.identity
    assert same_bits(np.load(tmp_path / "a.npy"), x.numpy())


def test_a_codec_as_bytes_and_what_it_says_of_itself() -> None:
    codec = bits_codec()
    again = lucid.codec.load(codec.to_bytes())
    assert again.identity == codec.identity
    assert again.to_bytes() == codec.to_bytes()
    assert again.about == codec.about
    assert again.about["model"] == "VAE"
    assert repr(again) == f"Codec({codec.identity[:8]}…, 24 of 2 levels, 1 latents)"


def test_the_identity_is_of_every_weight_and_of_nothing_else() -> None:
    codec = bits_codec()
    same = Codec(codec.network, codec.layout, {"anything": "else"})
    assert same.identity == codec.identity
    from lucid.codec.record import identity_of

    for name, tensor in codec._tensors.items():
        if tensor.numel():
            changed = tensor.clone().reshape(-1)
            changed[-1] = changed[-1] == 0 if tensor.dtype == torch.bool else changed[-1] + 1
            others = {**codec._tensors, name: changed.reshape(tensor.shape)}
            assert identity_of(codec._description, others) != codec.identity, name


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: lucid.codec.freeze(nn.Linear(2, 2), torch.rand(3, 2)), TypeError, "takes a LatentModel.*Linear"),
        (lambda: lucid.codec.freeze(bits_model(), "digits"), TypeError, "an array or a split of a dataset.*str"),
        (lambda: lucid.codec.freeze(bits_model(), torch.zeros(0, 24)), ValueError, r"N ≥ 1; received shape \(0, 24\)"),
        (lambda: lucid.codec.freeze(bits_model(), bits(9), num_examples=0), ValueError, "1 or more; received 0"),
        (
            lambda: lucid.codec.freeze(
                VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)])), torch.rand(9, 6)
            ),
            ValueError,
            r"continuous.*Declare the levels of the data where it is loaded",
        ),
    ],
)
def test_what_cannot_be_frozen_is_refused(make, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_freezing_takes_splits_and_arrays_and_the_greys_of_a_model_of_bits() -> None:
    from lucid.data import load

    data = load(bits(60), levels=2)
    frozen = lucid.codec.freeze(bits_model(), data.train)
    assert same_bits(frozen.decompress(frozen.compress(bits(4))), bits(4))
    frozen = lucid.codec.freeze(bits_model(), torch.rand(50, 24).numpy())
    assert same_bits(frozen.decompress(frozen.compress(bits(4))), bits(4))


# Rates


def test_a_rate_adds_up_and_lies_at_the_bound_of_the_frozen_model() -> None:
    rate = bits_codec().rate(bits(2000), bits_model())
    data = bits_codec().compress(bits(2000))
    assert abs(rate.file_bytes - len(data)) < 16  # the seed is another: an array's form is hashed too
    assert rate.model is not None
    # The net has the noise of one draw where the bound has four.
    error = 3 * (2 * rate.frozen.standard_error + rate.frozen.standard_error)
    assert abs(rate.net - rate.frozen.bits_per_dim) < error + 0.002 * rate.net
    assert abs(rate.frozen.bits_per_dim - rate.model.bits_per_dim) < 3 * 2 * rate.frozen.standard_error
    assert rate.net < rate.file < 1.01 * rate.net
    for stages, whole in ((rate.stages["encode"], rate.encode_seconds), (rate.stages["decode"], rate.decode_seconds)):
        assert set(stages) == {"networks", "tables", "coder"}
        assert 0 < sum(stages.values()) <= whole
    text = str(rate)
    for word in ("file", "net", "−ELBO, frozen", "−ELBO, model", "excess", "encode", "decode", "2,000 examples"):
        assert word in text


def test_a_rate_of_a_table_says_that_the_bound_leaves_out_which_values_are_missing() -> None:
    """Half of the values missing at random: a bit for each number in the file, and none in the bound."""
    schema = tuple(Column(name, "categorical", ("x", "y", "z")) for name in "abcdef")
    model = create("mlp", DataProtocol("toy", "table", (6,), columns=tuple("abcdef"), schema=schema), size=1)
    stream = torch.Generator().manual_seed(0)
    x = torch.randint(0, 3, (2000, 6), generator=stream).float()
    x[torch.rand(x.shape, generator=stream) < 0.5] = torch.nan
    assert isinstance(model, VAE)
    rate = freeze(trained(model, x, 100), x[:200]).rate(x)
    assert rate.stored_blocks == 0
    assert rate.missing == int(x.isnan().sum())
    assert 0.97 < rate.net - rate.frozen.bits_per_dim < 1.03
    assert f"leaves out where the {rate.missing:,} missing values are" in str(rate)


def test_a_rate_needs_examples() -> None:
    with pytest.raises(ValueError, match="one example at least"):
        bits_codec().rate(bits(0))


@pytest.mark.parametrize("levels", [3, 17, 256, 1000])
def test_any_number_of_levels(levels: int) -> None:
    config = VAEConfig(encoders=[nn.Linear(5, 4)], decoders=[nn.Linear(2, 10)], likelihood=DiscretisedLogistic(levels))
    x = torch.randint(0, levels, (60, 5), generator=torch.Generator().manual_seed(0))
    codec = lucid.codec.freeze(VAE(config), x / (levels - 1))
    assert same_bits(codec.decompress(codec.compress(x)), x)

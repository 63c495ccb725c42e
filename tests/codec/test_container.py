"""The .lucid file around any block coder: what goes in comes out, whatever the sizes; what is damaged is refused."""

from __future__ import annotations

import io
import os
import random
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.codec.standin import StandIn

from lucid.codec import CodecError, Reader, Writer
from lucid.codec.container import stored
from lucid.codec.container.numbers import Cursor, varint


def written(codec: StandIn, *pieces: torch.Tensor, attachments: dict[str, bytes] | None = None, **options) -> bytes:
    file = io.BytesIO()
    with Writer(file, codec, **options) as writer:
        for piece in pieces:
            writer.add(piece)
        for name, data in (attachments or {}).items():
            writer.attach(name, [data[:3], data[3:]])
    assert writer.file_bytes == len(file.getvalue())
    return file.getvalue()


# Numbers and stored blocks


@given(st.integers(0, 2**63 - 1))
def test_a_number_comes_back_and_its_end_is_known(number: int) -> None:
    cursor = Cursor(varint(number) + b"\x01", "a test")
    assert (cursor.number(), cursor.left) == (number, 1)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x00", b"\xff" * 10, b"\xff" * 9 + b"\x01"])
def test_a_number_cut_short_too_long_or_not_in_its_shortest_form_is_refused(data: bytes) -> None:
    with pytest.raises(CodecError, match="a test is damaged"):
        Cursor(data, "a test").number()


@settings(deadline=None)
@given(st.lists(st.integers(-1, 2**53), max_size=40), st.integers(1, 60))
def test_stored_values_come_back(values: list[int], repeats: int) -> None:
    levels = torch.tensor(values * repeats, dtype=torch.int64)
    packed = stored.pack(levels)
    assert torch.equal(stored.unpack(packed, (len(levels),)), levels)
    bits = (max(values, default=0) - min(values, default=0)).bit_length()
    assert len(packed) <= 11 + len(levels) * (bits if bits < 9 else 2 * bits) / 8 + 1


@pytest.mark.parametrize(("high", "method"), [(2, "bits"), (256, "bytes")])
def test_noise_is_packed_and_grows_by_a_few_bytes_alone(high: int, method: str) -> None:
    levels = torch.randint(0, high, (5000,), generator=torch.Generator().manual_seed(0))
    plain = 5000 * (high - 1).bit_length() // 8
    assert plain <= len(stored.pack(levels)) <= plain + 4, method


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60), st.integers(0, 30))
def test_any_bytes_as_a_stored_block_are_its_values_or_an_error(data: bytes, count: int) -> None:
    try:
        levels = stored.unpack(data, (count,))
    except CodecError:
        return
    assert levels.shape == (count,)


def test_a_stored_block_that_opens_to_far_more_than_it_says_is_refused_without_opening_it() -> None:
    bomb = stored.pack(torch.zeros(10_000_000, dtype=torch.int64).index_fill_(0, torch.tensor([5]), 1))
    assert len(bomb) < 3000
    with pytest.raises(CodecError, match="does not hold exactly 1 bytes"):
        stored.unpack(bomb, (8,))


# Files


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(0, 9), max_size=5),
    block=st.integers(1, 7),
    levels=st.sampled_from([2, 17, 256, 1000, None]),
    waste=st.sampled_from([0, 500]),
)
def test_examples_come_back_whatever_the_pieces_and_the_blocks(
    sizes: list[int], block: int, levels: int | None, waste: int
) -> None:
    codec = StandIn(levels=levels, waste=waste)
    pieces = [codec.examples(n, seed) for seed, n in enumerate(sizes)]
    whole = torch.cat([codec.examples(0), *pieces])
    data = written(codec, *pieces, block_examples=block)
    assert data == written(codec, whole, block_examples=block), "the bytes depend on the pieces"
    reader = Reader(data, codec)
    assert len(reader) == len(whole)
    assert torch.equal(torch.cat([whole[:0], *reader.blocks()]), whole)
    for start in range(len(whole) + 1):
        assert torch.equal(reader.examples(start, min(start + 3, len(whole))), whole[start : start + 3])
        pieces = [*reader.blocks(start, min(start + 9, len(whole)))]
        assert torch.equal(torch.cat([whole[:0], *pieces]), whole[start : start + 9])
        assert all(0 < len(piece) <= block for piece in pieces) or not len(whole)


def test_a_file_of_one_block_costs_thirteen_bytes_beside_its_payload() -> None:
    codec = StandIn()
    examples = codec.examples(300)
    payload = codec.coder.encode(examples, bytes(32))
    assert len(written(codec, examples)) == len(payload) + 13


def test_a_block_costs_seven_bytes_in_the_index() -> None:
    codec = StandIn()
    few, many = (written(codec, codec.examples(n * 100), block_examples=100) for n in (2, 12))
    payloads = Reader(many, codec).info().block_bytes - Reader(few, codec).info().block_bytes
    assert (len(many) - len(few) - payloads) / 10 == 2 + 4  # a size and a SHA-256; seven from 4,096 bytes on


def test_data_that_the_model_codes_badly_never_grow_by_more_than_a_few_bytes() -> None:
    codec = StandIn(levels=256, waste=100_000)
    noise = torch.randint(0, 256, (100, 3, 4), generator=torch.Generator().manual_seed(0))
    data = written(codec, noise)
    assert len(data) <= noise.numel() + 13 + 8 + 4
    assert Reader(data, codec).info().stored_blocks == 1
    assert torch.equal(Reader(data, codec).examples(), noise)


def test_meta_attachments_and_what_a_file_says_without_a_codec() -> None:
    codec = StandIn()
    meta = {"names": ["ä", "b"], "rows": [1, None, 2.5]}
    attached = {"LICENSE": b"text" * 1000, "empty": b"", "ünïcode": os.urandom(3_000_000)}
    data = written(codec, codec.examples(50), meta=meta, attachments=attached, block_examples=20)
    reader = Reader(data)
    assert reader.meta == meta
    assert {member.name: member.read() for member in reader.attachments} == attached
    info = reader.info()
    assert (info.num_examples, info.coded_blocks + info.stored_blocks) == (50, 3)
    assert (info.file_bytes, info.attachment_bytes) == (len(data), 3_004_000)
    assert info.codec_id == codec.identity[:8]
    with pytest.raises(CodecError, match="carries none: give the one that it was made with"):
        reader.examples()
    assert torch.equal(Reader(data, codec).examples(), codec.examples(50))


def test_a_file_of_attachments_alone_and_one_of_nothing() -> None:
    codec = StandIn()
    for data in (written(codec, attachments={"a": b"b"}), written(codec)):
        assert len(Reader(data, codec)) == 0
        assert Reader(data, codec).examples().shape == (0, 3, 4)


def test_another_codec_and_the_examples_that_are_not_there() -> None:
    data = written(StandIn(), StandIn().examples(5))
    with pytest.raises(CodecError, match=r"was made by the codec .*; received the codec .*opens its own files alone"):
        Reader(data, StandIn(name="another"))
    with pytest.raises(ValueError, match=r"within 0 … 5, in order; received 3 … 7"):
        Reader(data, StandIn()).examples(3, 7)
    with pytest.raises(ValueError, match=r"within 0 … 5, in order; received 3 … 7"):
        Reader(data, StandIn()).blocks(3, 7)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (torch.zeros(2, 3, 4), "levels must be int64"),
        (torch.zeros(2, 4, 3, dtype=torch.int64), r"received torch.int64 \(2, 4, 3\)"),
        (torch.full((2, 3, 4), 17), "levels must be 0 … 16; received values from 17 to 17"),
        (torch.full((2, 3, 4), -1), "levels must be 0 … 16; received values from -1"),
    ],
)
def test_levels_that_do_not_fit_are_refused(levels: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        written(StandIn(), levels)


@pytest.mark.parametrize("value", [0, -1, True, 2.5, 1 << 21])
def test_block_sizes_and_workers_out_of_range_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="block_examples must be"):
        Writer(io.BytesIO(), StandIn(), block_examples=value)
    if value != 1 << 21:
        with pytest.raises(ValueError, match="workers must be"):
            Writer(io.BytesIO(), StandIn(), workers=value)


def test_names_of_attachments_are_not_given_twice() -> None:
    with Writer(io.BytesIO(), StandIn()) as writer:
        writer.attach("a", [])
        with pytest.raises(ValueError, match="already called 'a'"):
            writer.attach("a", [])
        with pytest.raises(ValueError, match="1 to 4096 bytes"):
            writer.attach("", [])


def test_progress_is_told_after_each_block() -> None:
    said: list[tuple[int, int | None]] = []
    data = written(
        StandIn(), StandIn().examples(25), block_examples=10, progress=lambda done, total: said.append((done, total))
    )
    assert said == [(10, None), (20, None), (25, None)]
    said.clear()
    list(Reader(data, StandIn()).blocks(progress=lambda done, total: said.append((done, total))))
    assert said == [(10, 25), (20, 25), (25, 25)]
    said.clear()
    list(Reader(data, StandIn()).blocks(8, 23, progress=lambda done, total: said.append((done, total))))
    assert said == [(2, 15), (12, 15), (15, 15)]


# Places on disk


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path, codec = tmp_path / "a.lucid", StandIn()
    path.write_bytes(b"before")
    with pytest.raises(RuntimeError, match="stop"), Writer(path, codec, block_examples=2) as writer:  # noqa: PT012
        writer.add(codec.examples(5))
        raise RuntimeError("stop")
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.lucid"]
    with Writer(path, codec, block_examples=2) as writer:
        writer.add(codec.examples(5))
        assert path.read_bytes() == b"before"
    with Reader(path, codec) as reader:
        assert torch.equal(reader.examples(), codec.examples(5))


def test_no_file_a_folder_and_something_else(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        Reader(tmp_path / "none.lucid")
    with pytest.raises(ValueError, match="not a regular file"):
        Reader(tmp_path)
    with pytest.raises(TypeError, match="by its path or its bytes; received int"):
        Reader(3)
    with pytest.raises(CodecError, match=r"is not a \.lucid file: it begins with b'\\x89PNG'"):
        Reader(b"\x89PNG and more")


def test_a_later_version_says_so() -> None:
    data = bytearray(written(StandIn(), StandIn().examples(5)))
    data[4] += 1
    with pytest.raises(CodecError, match=r"version 2; this lucid reads version 1\. Open it with a newer lucid"):
        Reader(bytes(data))


# Damage


@pytest.fixture(scope="module", params=["one block", "indexed", "stored"])
def sound(request) -> tuple[StandIn, bytes, torch.Tensor]:
    codec = StandIn(waste=300 if request.param == "stored" else 0)
    examples = codec.examples(30)
    if request.param == "indexed":
        return codec, written(codec, examples, block_examples=8, meta={"a": 1}, attachments={"b": b"c"}), examples
    return codec, written(codec, examples, meta={"a": 1}), examples


def everything(data: bytes, codec: StandIn) -> tuple[object, ...]:
    reader = Reader(data, codec)
    return reader.meta, reader.form, reader.examples().tolist(), [(a.name, a.read()) for a in reader.attachments]


def test_every_flipped_bit_is_found(sound) -> None:
    codec, data, _ = sound
    assert everything(data, codec)
    for place in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            with pytest.raises(CodecError):
                everything(bytes(changed), codec)


def test_every_cut_and_every_addition_is_found(sound) -> None:
    codec, data, _ = sound
    for end in range(len(data)):
        with pytest.raises(CodecError):
            everything(data[:end], codec)
    for more in (b"\0", b"\xff", b"\0\0\0\0", data):
        with pytest.raises(CodecError):
            everything(data + more, codec)
        with pytest.raises(CodecError):
            everything(more + data, codec)


def test_blocks_in_another_order_or_of_another_file_are_found() -> None:
    codec = StandIn(shape=(4,), levels=2)
    noise = torch.randint(0, 2, (2, 40, 4), generator=torch.Generator().manual_seed(0))
    first, second = (written(codec, levels, block_examples=10) for levels in noise)
    size = (len(first) - 11 - len(first[-34:])) // 4
    assert len(first) == len(second)
    chance = random.Random(0)
    refused = 0
    for _ in range(300):
        start, end = sorted(chance.sample(range(len(first)), 2))
        spliced = first[:start] + second[start:end] + first[end:]
        if spliced in (first, second):
            continue
        with pytest.raises(CodecError):
            everything(spliced, codec)
        refused += 1
    assert refused > 250, size


def test_what_a_decoder_needs_is_bounded_before_it_is_allocated() -> None:
    codec = StandIn()
    data = written(codec, codec.examples(5))
    payload = data[12:]
    claimed = data[:11] + varint(2 * (1 << 50)) + payload
    with pytest.raises(CodecError, match="it says 1125899906842624 examples"):
        Reader(claimed, codec)
    meta = written(codec, codec.examples(5), meta={"a": "b"})
    huge = meta[:11] + varint((1 << 26) - 1) + meta[12:]
    with pytest.raises(CodecError, match="do not fit it"):
        Reader(huge, codec)

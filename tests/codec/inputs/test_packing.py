"""Several inputs in one file, and what a file says of them when it is doubted."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.codec.inputs.plain_codec import PlainCodec, images, prepared

from lucid import data
from lucid.codec import CodecError, Reader, Writer
from lucid.codec.inputs import listed, pack, unpack
from lucid.codec.inputs.images import ImagesEntry
from lucid.codec.inputs.names import below, check_name
from lucid.models import DataProtocol

CODEC = images()
X = np.random.default_rng(0).integers(0, 256, (11, 8, 6), dtype=np.uint8)


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def given_inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "given"
    (folder / "photos").mkdir(parents=True)
    for i in range(5):
        Image.fromarray(X[i]).save(folder / f"photos/{i}.png")
    (folder / "photos/note.txt").write_text("a note")
    Image.fromarray(X[6]).save(folder / "alone.png")
    np.save(folder / "x.npy", X)
    np.save(folder / "seen.npy", (X / np.float32(255)).astype(np.float32))
    return folder


def test_several_inputs_and_back(given_inputs: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    inputs = [given_inputs / name for name in ("photos", "x.npy", "alone.png", "seen.npy")]
    packed = pack(CODEC, inputs, tmp_path / "a.lucid", block_examples=4, progress=lambda *at: told.append(at))
    assert packed.num_examples == 5 + 11 + 1 + 11
    assert packed.file_bytes == (tmp_path / "a.lucid").stat().st_size
    assert packed.bits_per_dim == pytest.approx(8 * packed.block_bytes / (28 * 48))
    assert packed.coded_blocks + packed.stored_blocks == 7
    assert told[-1] == (28, 29)  # the note was no image
    unpacked = unpack(tmp_path / "a.lucid", tmp_path / "back", codec=CODEC)
    assert unpacked.num_examples == 28
    back, theirs = content(tmp_path / "back"), content(given_inputs)
    assert set(back) == set(theirs)
    for name in ("x.npy", "seen.npy", "photos/note.txt"):
        assert back[name] == theirs[name], name
    for name in ("alone.png", *(f"photos/{i}.png" for i in range(5))):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "back" / name)), Image.open(given_inputs / name))
    with Reader(tmp_path / "a.lucid") as reader:
        assert listed(reader)[:2] == ["photos, 5 images, 1 other file", "x.npy, 11 examples"]


def test_some_examples_are_counted_through_all_inputs(given_inputs: Path, tmp_path: Path) -> None:
    pack(CODEC, [given_inputs / "photos", given_inputs / "x.npy"], tmp_path / "a.lucid", block_examples=4)
    unpack(tmp_path / "a.lucid", tmp_path / "some", codec=CODEC, examples=(4, 8))
    assert set(content(tmp_path / "some")) == {"photos/4.png", "x.npy"}
    assert np.array_equal(np.load(tmp_path / "some/x.npy"), X[:3])
    unpack(tmp_path / "a.lucid", tmp_path / "late", codec=CODEC, examples=(14, 16))
    assert np.array_equal(np.load(tmp_path / "late/x.npy"), X[9:])
    for wrong in ((3, 17), (-1, 2), (5, 4)):
        with pytest.raises(ValueError, match="examples must be within 0:16, in order; received"):
            unpack(tmp_path / "a.lucid", tmp_path / "no", codec=CODEC, examples=wrong)
    with pytest.raises(ValueError, match="there are no examples in 3:3"):
        unpack(tmp_path / "a.lucid", tmp_path / "no", codec=CODEC, examples=(3, 3))


@pytest.mark.parametrize("dtype", ["|u1", ">i2", "<f8", "<i8"])
def test_npy_files_come_back_byte_by_byte(dtype: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X.astype(dtype))
    pack(CODEC, [tmp_path / "x.npy"], tmp_path / "a.lucid")
    unpack(tmp_path / "a.lucid", tmp_path / "y.npy", codec=CODEC)
    assert (tmp_path / "y.npy").read_bytes() == (tmp_path / "x.npy").read_bytes()


def test_fortran_order_comes_back_as_the_same_array(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.asfortranarray(X))
    pack(CODEC, [tmp_path / "x.npy"], tmp_path / "a.lucid")
    unpack(tmp_path / "a.lucid", tmp_path / "y.npy", codec=CODEC)
    assert np.array_equal(np.load(tmp_path / "y.npy"), X)


@pytest.mark.parametrize("name", ["x-ubyte", "x.idx", "x-ubyte.gz"])
def test_idx_files(name: str, tmp_path: Path) -> None:
    body = bytes([0, 0, 8, 3]) + struct.pack(">3I", *X.shape) + X.tobytes()
    (tmp_path / name).write_bytes(gzip.compress(body) if name.endswith(".gz") else body)
    pack(CODEC, [tmp_path / name], tmp_path / "a.lucid")
    (tmp_path / "there").mkdir()
    unpack(tmp_path / "a.lucid", tmp_path / "there", codec=CODEC)
    found = (tmp_path / "there" / name).read_bytes()
    assert (gzip.decompress(found) if name.endswith(".gz") else found) == body


def test_npz_arrays_the_model_does_not_know_come_along(tmp_path: Path) -> None:
    arrays = {"train": X, "y": np.arange(11), "test": X[:3].astype(np.int32), "noise": X / 7, "one": np.float32(3)}
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    packed = pack(CODEC, [tmp_path / "x.npz"], tmp_path / "a.lucid", block_examples=5)
    assert (packed.num_examples, packed.attached) == (14, 3)
    unpack(tmp_path / "a.lucid", tmp_path / "y.npz", codec=CODEC)
    with np.load(tmp_path / "y.npz") as back:
        assert list(back) == list(arrays)
        for name, array in arrays.items():
            assert np.array_equal(back[name], array)
            assert back[name].dtype == np.asarray(array).dtype
    unpack(tmp_path / "a.lucid", tmp_path / "some.npz", codec=CODEC, examples=(9, 12))
    with np.load(tmp_path / "some.npz") as back:
        assert np.array_equal(back["train"], X[9:])
        assert np.array_equal(back["test"], X[:1])
    np.savez(tmp_path / "z.npz", y=np.arange(11))
    with pytest.raises(
        ValueError, match=r"'y' of .*z.npz' has the shape \(11,\), and the model codes examples of shape"
    ):
        pack(CODEC, [tmp_path / "z.npz"], tmp_path / "b.lucid")


def test_a_data_set_by_name(tmp_path: Path) -> None:
    digits = data.load("digits")
    codec = prepared(digits.protocol)
    packed = pack(codec, ["digits:test"], tmp_path / "a.lucid")
    assert packed.notes == ()
    unpack(tmp_path / "a.lucid", tmp_path / "x.npy", codec=codec)
    x = np.load(tmp_path / "x.npy")
    assert x.shape == (180, 8, 8)
    assert np.array_equal(x, digits.test.raw[:, 0].numpy())
    pack(codec, ["digits:train", "digits"], tmp_path / "b.lucid")
    unpack(tmp_path / "b.lucid", tmp_path / "both", codec=codec)
    assert set(content(tmp_path / "both")) == {"digits-train.npy", "digits-test.npy"}
    with pytest.raises(ValueError, match="'digits:all': a data set's part is train, validation, test; received 'all'"):
        pack(codec, ["digits:all"], tmp_path / "c.lucid")


def test_a_binarised_data_set_is_the_draw_that_is_measured(tmp_path: Path) -> None:
    digits = data.load("digits", binarisation="dynamic", seed=5)
    codec = prepared(digits.protocol)
    packed = pack(codec, ["digits:test"], tmp_path / "a.lucid")
    assert "the one draw of it that evaluation measures (seed 5)" in packed.notes[0]
    unpack(tmp_path / "a.lucid", tmp_path / "x.npy", codec=codec)
    assert np.array_equal(np.load(tmp_path / "x.npy"), digits.test.tensor()[:, 0].numpy())


def test_nothing_is_overwritten(given_inputs: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.lucid"
    pack(CODEC, [given_inputs / "x.npy"], file)
    with pytest.raises(FileExistsError, match=r"a.lucid' is there already: name a new file, or remove it"):
        pack(CODEC, [given_inputs / "x.npy"], file)
    with pytest.raises(FileExistsError, match=r"x.npy' is there already"):
        unpack(file, given_inputs / "x.npy", codec=CODEC)
    with pytest.raises(FileExistsError, match=r"x.npy' is there already"):
        unpack(file, given_inputs, codec=CODEC)  # into the folder, under its name
    pack(CODEC, [given_inputs / "photos"], tmp_path / "b.lucid")
    with pytest.raises(FileExistsError, match="given' is there already: name a new file or folder"):
        unpack(tmp_path / "b.lucid", given_inputs, codec=CODEC)
    for out in (tmp_path / "no" / "x.npy", tmp_path / "no" / "x"):
        with pytest.raises(FileNotFoundError, match="there is no folder"):
            unpack(file, out, codec=CODEC)
    with pytest.raises(ValueError, match=r"has another ending than 'x.npy', which it is to hold"):
        unpack(file, tmp_path / "x.png", codec=CODEC)
    unpack(file, f"{tmp_path}/new/", codec=CODEC)
    assert set(content(tmp_path / "new")) == {"x.npy"}


def test_a_value_off_the_grid_leaves_nothing_behind(tmp_path: Path) -> None:
    x = X.astype(np.int16)
    x[10, 3, 3] = 256
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(ValueError, match=r"x.npy' holds 256 in example 10; the model has 256 levels"):
        pack(CODEC, [tmp_path / "x.npy"], tmp_path / "a.lucid", block_examples=2)
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


REFUSED: list[tuple[str, Callable[[Path], object], type[Exception], str]] = [
    ("nothing.npy", Path.exists, FileNotFoundError, "no data set of that name: the names are digits, mnist"),
    ("x.npy", lambda path: path.write_bytes(b"\x93NUMPY"), ValueError, "is damaged or not a .npy array"),
    ("x.npy", lambda path: np.save(path, X.astype(object)), ValueError, "pickled Python objects, which are never"),
    ("x.npy", lambda path: np.save(path, X.astype(complex)), TypeError, "must hold real numbers"),
    ("x.npy", lambda path: np.save(path, np.float64(3)), ValueError, "holds a single number"),
    ("x.npy", lambda path: np.save(path, X[:, 1:]), ValueError, r"has the shape \(11, 7, 6\)"),
    ("x.bin", lambda path: path.write_bytes(b"x"), ValueError, "has an ending that lucid does not compress: it takes"),
    ("x.csv", lambda path: path.write_text("a,b\n1,2\n"), ValueError, "the model codes examples of 1×8×6 numbers"),
]


@pytest.mark.parametrize(("name", "make", "error", "message"), REFUSED)
def test_inputs_that_are_refused(
    name: str, make: Callable[[Path], object], error: type[Exception], message: str, tmp_path: Path
) -> None:
    make(tmp_path / name)
    with pytest.raises(error, match=message):
        pack(CODEC, [tmp_path / name], tmp_path / "a.lucid")
    assert not (tmp_path / "a.lucid").exists()


def test_two_inputs_of_one_name_are_refused(given_inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for name in ("x.npy", "alone.png"):
        (tmp_path / "other" / name).write_bytes((given_inputs / name).read_bytes())
        with pytest.raises(ValueError, match=f"two inputs are called {name}: they would come back under one name"):
            pack(CODEC, [given_inputs / name, tmp_path / "other" / name], tmp_path / "a.lucid")
    with pytest.raises(ValueError, match="there is nothing to compress"):
        pack(CODEC, [], tmp_path / "a.lucid")


@pytest.mark.parametrize("name", ["../x", "/x", "a/../x", "a//b", "", ".", "..", "a\0b", "a/", "x" * 5000])
def test_names_that_lead_out_of_a_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(CodecError):
        check_name(name)
    with pytest.raises(CodecError):
        below(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_one_name_is_given_to_one_thing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    for name in ("a", "a/b"):
        with pytest.raises(CodecError, match=r"twice|below something that is no folder"):
            below(tmp_path, name)
    for said in ({"names": ["a.png", "a.png"]}, {"names": ["a.png", "b.png"], "apart": ["b.png"]}):
        with pytest.raises(CodecError, match="two images have one name"):
            ImagesEntry.from_json({**PICTURES, **said}, CODEC.data)


def written(path: Path, meta: Any, count: int = 2, attached: dict[str, bytes] | None = None) -> Path:
    """A file that says what it likes of its inputs."""
    with Writer(path, CODEC, meta=meta) as writer:
        writer.add(torch.from_numpy(X[:count, None].astype(np.int64)))
        for name, body in (attached or {}).items():
            writer.attach(name, [body])
    return path


ARRAY = {"array": "x.npy", "count": 2, "dtype": "|u1", "axes": "NHW"}
PICTURES = {"images": "p", "names": ["a.png", "b.png"], "hows": [{"mode": "L", "scale": "whole"}], "runs": [[0, 2]]}
HOSTILE: list[Any] = [
    3,
    [],
    {},
    [3],
    [{}],
    [{**ARRAY, "images": "x"}],
    [{**ARRAY, "count": 3}],
    [{**ARRAY, "count": -2}, {**ARRAY, "count": 4}],
    [{**ARRAY, "count": True}, {**ARRAY, "array": "y.npy", "count": 1}],
    [{**ARRAY, "count": 1}, {**ARRAY, "count": 1}],
    [{**ARRAY, "array": "../x.npy"}],
    [{**ARRAY, "array": "a/x.npy"}],
    [{**ARRAY, "array": "/x.npy"}],
    [{**ARRAY, "array": ""}],
    [{**ARRAY, "array": ["x.npy"]}],
    [{**ARRAY, "dtype": "|O"}],
    [{**ARRAY, "array": "x-ubyte", "dtype": "<i8"}],
    [{**ARRAY, "axes": "flat", "shape": [48]}],
    [{**PICTURES, "names": ["a.png", "a.png"]}],
    [{**PICTURES, "names": ["../a.png", "b.png"]}],
    [{**PICTURES, "names": ["a.png", "a.png/b.png"]}],
    [{**PICTURES, "names": ["a.png", 3]}],
    [{**PICTURES, "runs": [[1, 2]]}],
    [{**PICTURES, "runs": [[0, 1]]}],
    [{**PICTURES, "runs": [[0, 2**60]]}],
    [{**PICTURES, "runs": 3}],
    [{**PICTURES, "hows": [{"mode": "RGB", "scale": "whole"}]}],
    [{**PICTURES, "apart": ["c"]}],  # whose attachment is not there
    [{**PICTURES, "apart": ["../c"]}],
    [{"npz": "x.npz", "members": [3]}],
    [{"npz": "x.npz", "members": ["../y.npy", {**ARRAY}]}],
    [{"npz": "x.npz", "members": ["x.npy", {**ARRAY}]}],
    [{"table": "x.csv", "count": 2, "schema": "", "columns": ["a"], "spelled": [None], "extra": False}],
]


@pytest.mark.parametrize("said", HOSTILE, ids=range(len(HOSTILE)))
def test_a_file_that_lies_of_its_inputs_is_an_error_and_no_output(said: Any, tmp_path: Path) -> None:
    body = zlib.compressobj(wbits=-15)
    deflated = body.compress(json.dumps(said).encode()) + body.flush()
    files = [
        written(tmp_path / "meta.lucid", {"inputs": said}),
        written(tmp_path / "attached.lucid", {"inputs": None}, attached={"inputs": deflated}),
    ]
    for file in files:
        with pytest.raises(CodecError):
            unpack(file, f"{tmp_path}/out/", codec=CODEC)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["attached.lucid", "meta.lucid"]


def test_a_description_that_opens_to_gigabytes_is_refused(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, wbits=-15)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(1 << 7)) + packer.flush()
    file = written(tmp_path / "a.lucid", {"inputs": None}, attached={"inputs": bomb})
    with pytest.raises(CodecError, match="opens to more than"):
        unpack(file, tmp_path / "x", codec=CODEC)
    for attached in ({}, {"inputs": b"\xff"}, {"inputs": b""}):
        file = written(tmp_path / "b.lucid", {"inputs": None}, attached=attached)
        with pytest.raises(CodecError, match="damaged"):
            unpack(file, tmp_path / "x", codec=CODEC)


def test_a_file_of_an_array_in_memory_says_where_it_opens(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds an array that was compressed in memory: codec.decompress opens it"):
        unpack(written(tmp_path / "a.lucid", None), tmp_path / "x.npy", codec=CODEC)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_changed_descriptions_are_refused_or_open(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever stands in the place of a value: a CodecError, or files below the folder; never another error."""
    said = json.loads(json.dumps(data.draw(st.sampled_from([ARRAY, PICTURES]))))
    places = list(leaves(said))
    holder, key = data.draw(st.sampled_from(places))
    numbers = st.integers(-3, 2**70) | st.floats()
    holder[key] = data.draw(st.none() | st.booleans() | numbers | st.text() | st.lists(st.text()) | st.just({}))
    packer = zlib.compressobj(wbits=-15)
    body = packer.compress(json.dumps([said]).encode()) + packer.flush()
    file, out = tmp_path / "a.lucid", tmp_path / "out"
    written(file, {"inputs": None}, attached={"inputs": body})
    try:
        unpack(file, f"{out}/", codec=CODEC)
    except CodecError:
        assert not out.exists()
    else:
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.lucid", "out"]
        for path in sorted(out.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        out.rmdir()


def leaves(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in plain JSON values."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from leaves(value[key])


def test_binarised_models_take_greys_of_no_file(tmp_path: Path) -> None:
    protocol = DataProtocol("b", "image", (1, 8, 6), levels=256, binarisation="dynamic")
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(ValueError, match=r"the model knows 0 and 1 alone. It was trained on binarised data"):
        pack(prepared(protocol), [tmp_path / "x.npy"], tmp_path / "a.lucid")
    bits: PlainCodec = prepared(protocol)
    np.save(tmp_path / "x.npy", X > 127)
    pack(bits, [tmp_path / "x.npy"], tmp_path / "a.lucid")
    unpack(tmp_path / "a.lucid", tmp_path / "y.npy", codec=bits)
    assert (tmp_path / "y.npy").read_bytes() == (tmp_path / "x.npy").read_bytes()

"""Bad input, one case a line: each is refused, and the message states the rule, what was received and what to do."""

from __future__ import annotations

import gzip
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from lucid.data import load

Case = tuple[Callable[[Path], Any], type[Exception], str]
X = np.random.default_rng(0).normal(size=(40, 3))
U8 = np.random.default_rng(0).integers(0, 256, (40, 6, 5), dtype=np.uint8)


def array(path: Path, x: Any = X, **options: Any) -> Any:
    np.save(path / "x.npy", x)
    return load(path / "x.npy", **options)


def bytes_as(path: Path, name: str, content: bytes, **options: Any) -> Any:
    (path / name).write_bytes(content)
    return load(path / name, **options)


def npz(path: Path, **options: Any) -> Any:
    np.savez(path / "x.npz", x_train=X, y=np.arange(40), words=np.array(["a"] * 40))
    return load(path / "x.npz", **options)


def cut(path: Path, name: str, keep: int) -> Any:
    (np.save if name.endswith("npy") else np.savez)(path / name, X)
    content = (path / name).read_bytes()
    return bytes_as(path, name, content[:keep])


def header(shape: str) -> bytes:
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def hostile_npz(path: Path) -> Any:
    with zipfile.ZipFile(path / "x.npz", "w") as archive:
        archive.writestr("x.npy", header("(4000000000, 4000000000)"))
    return load(path / "x.npz")


def csv(path: Path, text: str, **options: Any) -> Any:
    return bytes_as(path, "t.csv", text.encode("latin-1"), **options)


ROWS = "a,b,kind,day\n" + "".join(f"{i},{i % 7},{'xy'[i % 2]},2024-01-{i + 1:02d}\n" for i in range(20))


def pictures(path: Path, sizes: list[tuple[int, int]], mode: str = "RGB", ending: str = "png", **options: Any) -> Any:
    for i in range(12):
        Image.new(mode, sizes[i % len(sizes)]).save(path / f"{i:02d}.{ending}")
    return load(path, **options)


def with_file(path: Path, name: str, content: bytes) -> Any:
    (path / name).parent.mkdir(exist_ok=True)
    (path / name).write_bytes(content)
    return pictures(path, [(5, 6)])


def broken_picture(path: Path) -> Any:
    Image.fromarray(np.resize(U8, (64, 64))).save(path / "half.png")
    (path / "half.png").write_bytes((path / "half.png").read_bytes()[:900])
    return load(path, resize=(4, 4))


def huge_picture(path: Path) -> Any:
    Image.new("1", (20_000, 20_000)).save(path / "huge.png")
    return pictures(path, [(5, 6)], resize=(4, 4), channels="rgb")


def animated(path: Path) -> Any:
    frames = [Image.new("L", (5, 6), shade) for shade in (0, 100, 200)]
    frames[0].save(path / "a.gif", save_all=True, append_images=frames[1:])
    return load(path)


def mixed_folder(path: Path) -> Any:
    (path / "cat").mkdir()
    Image.new("L", (5, 6)).save(path / "cat" / "x.png")
    return pictures(path, [(5, 6)], "L")


def wide(path: Path) -> Any:
    Image.fromarray(np.zeros((5, 6), np.uint16)).save(path / "x.png")
    return load(path, channels="grey")


class Dicts(torch.utils.data.Dataset[Any]):
    def __len__(self) -> int:
        return 20

    def __getitem__(self, i: int) -> Any:
        return {"image": torch.zeros(3), "label": 0}


class Stream(torch.utils.data.IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([torch.zeros(3)])


CASES: dict[str, Case] = {
    # what the source is
    "unknown name": (
        lambda _: load("minst"),
        FileNotFoundError,
        "no data set of that name: the names are digits, mnist",
    ),
    "missing path": (lambda p: load(p / "no.npy"), FileNotFoundError, "there is no file or folder"),
    "unknown ending": (
        lambda p: bytes_as(p, "x.mat", b""),
        ValueError,
        "an ending that lucid does not read: it reads .npy",
    ),
    "pickled model": (lambda p: bytes_as(p, "x.pt", b""), ValueError, "never loaded, since they can run code"),
    "one image": (lambda p: bytes_as(p, "x.PNG", b""), ValueError, "give the folder they lie in"),
    "no source": (lambda _: load(None), TypeError, "received NoneType"),
    "generator": (lambda _: load(iter([1, 2])), TypeError, "IterableDataset, which starts anew"),
    "data loader": (lambda _: load(DataLoader(TensorDataset(torch.zeros(4, 2)))), TypeError, "loader.dataset"),
    "unknown part": (lambda _: load({"train": X, "dev": X}), ValueError, "names the parts 'train', 'dev'"),
    "no training part": (lambda _: load({"test": X}), ValueError, "use 'train'"),
    "parts of two shapes": (
        lambda _: load({"train": X, "test": X[:, :2]}),
        ValueError,
        r"\(3,\) in train and \(2,\) in test",
    ),
    "parts of two types": (
        lambda _: load({"train": X, "test": X.astype(int)}),
        ValueError,
        "torch.float64 and test torch.int64",
    ),
    # values
    "NaN": (
        lambda _: load(np.where(X > 2, np.nan, X)),
        ValueError,
        r"holds \d+ NaN and 0 infinite values, the first in",
    ),
    "infinity": (lambda p: array(p, np.where(X > 2, -np.inf, X)), ValueError, r"0 NaN and \d+ infinite"),
    "complex": (lambda _: load(X + 1j), TypeError, "received dtype complex128"),
    "text": (lambda _: load(np.array([["a", "b"]])), TypeError, "must hold real numbers"),
    "ragged": (lambda _: load([[1, 2], [3]]), ValueError, "must have examples of one shape"),
    "objects": (
        lambda _: load(np.array([[1, None]])),
        TypeError,
        "Python objects, perhaps examples of differing shapes",
    ),
    "dates": (lambda _: load(np.array([["2024-01-01"]], dtype="M8[D]")), TypeError, "must hold real numbers"),
    "sparse": (lambda _: load(torch.eye(4).to_sparse()), TypeError, "must be a dense tensor"),
    "scalar": (lambda _: load(np.float64(3)), TypeError, "received float64"),
    "one dimension": (lambda p: array(p, X[:, 0]), ValueError, r"x.reshape\(-1, 1\)"),
    "no examples": (lambda p: array(p, X[:0]), ValueError, "the data is empty"),
    "undeclared integers": (lambda _: load(X.astype(int)), ValueError, "for instance levels=5 after adding 2, or"),
    "dark uint8": (lambda _: load(U8 % 17), ValueError, "for instance levels=17"),
    "negative levels": (lambda _: load(np.array([[-1, 3]] * 9), levels=4), ValueError, "holds values from -1 to 3"),
    "level too high": (
        lambda _: load(U8, levels=255),
        ValueError,
        "numbers 0 to 254; the data holds values from 0 to 255",
    ),
    "off the grid": (lambda _: load(X, levels=4), ValueError, "Round it, or leave levels= out"),
    "grid in [0, 1]": (lambda _: load(U8 / 255, levels=256), ValueError, r"brought back by \(x \* 255\).round\(\)"),
    "one level": (lambda _: load(U8, levels=1), ValueError, "levels must be from 2 to 65536; received 1"),
    "levels as text": (lambda _: load(U8, levels="256"), TypeError, "levels must be an int"),
    "levels and scaling": (lambda _: load(U8, levels=256, scaling="unit"), ValueError, "leave scaling='unit' out"),
    "constant array": (lambda _: load(X * 0 + 2, scaling="standardise"), ValueError, "holds only the value 2"),
    "scaling unknown": (lambda _: load(X, scaling="zscore"), ValueError, "scaling must be"),
    "binarise beyond [0, 1]": (
        lambda _: load(X, binarisation="static"),
        ValueError,
        "the probability of a 1; the data holds",
    ),
    "binarise and scale": (lambda _: load(X, binarisation="static", scaling="unit"), ValueError, "leave one out"),
    "binarisation unknown": (lambda _: load(X, binarisation="yes"), ValueError, "binarisation must be"),
    # parts
    "single example": (lambda _: load(X[:1]), ValueError, "validation=0.1 of 1 example is none"),
    "fractions of everything": (lambda _: load(X, validation=0.5, test=0.5), ValueError, "leave nothing to train on"),
    "count too large": (lambda _: load(X, test=40), ValueError, "validation 4 and test 40 leave nothing"),
    "fraction above one": (
        lambda _: load(X, test=1.5),
        ValueError,
        r"test must be a fraction in \[0, 1\) or a whole count",
    ),
    "negative count": (lambda _: load(X, validation=-3), ValueError, "received -3"),
    "fraction as text": (lambda _: load(X, validation="10%"), TypeError, "validation must be a fraction or a count"),
    "part given and asked": (lambda _: load({"train": X, "test": X}, test=0.1), ValueError, "leave test=0.1 out"),
    "negative seed": (lambda _: load(X, seed=-1), ValueError, "seed must be an int of at least 0"),
    # labels
    "labels too few": (
        lambda _: load(X, labels=[0, 1]),
        ValueError,
        r"one for each of 40 examples; received shape \(2,\)",
    ),
    "labels as fractions": (lambda _: load(X, labels=X[:, 0]), TypeError, "labels must be integers or text"),
    "label file missing": (lambda p: array(p, labels="no.npy"), FileNotFoundError, "there is no file 'no.npy'"),
    # options that would change nothing
    "resize an array": (lambda _: load(X, resize=(4, 4)), ValueError, "resize= does not apply to an array"),
    "key of a folder": (
        lambda p: pictures(p, [(5, 6)], key="x"),
        ValueError,
        "key= does not apply to a folder of images",
    ),
    "columns of digits": (
        lambda _: load("digits", columns=["a"]),
        ValueError,
        "does not apply to the data set 'digits'",
    ),
    "crop without resize": (lambda p: pictures(p, [(5, 6)], crop="centre"), ValueError, "give that too"),
    # arrays in files
    "npy cut short": (
        lambda p: cut(p, "x.npy", 300),
        ValueError,
        "announces 960 bytes of numbers and holds 172: it was cut",
    ),
    "npy empty": (lambda p: bytes_as(p, "x.npy", b""), ValueError, "damaged or not a .npy array"),
    "npy is text": (lambda p: bytes_as(p, "x.npy", b"1,2,3\n" * 9), ValueError, "damaged or not a .npy array"),
    "npy hostile size": (
        lambda p: bytes_as(p, "x.npy", header("(4000000000, 4000000000)")),
        ValueError,
        "and holds 0: it was",
    ),
    "npy of records": (lambda p: array(p, np.zeros(9, "f4,i4")), TypeError, "must hold real numbers"),
    "npz cut short": (lambda p: cut(p, "x.npz", 300), ValueError, "damaged or not a .npz file"),
    "npz hostile size": (hostile_npz, ValueError, "announces 128000000000000000000 bytes of numbers and holds 0"),
    "npz without key": (
        npz,
        ValueError,
        r"holds 3 arrays: x_train \(40, 3\), y \(40,\), words \(40,\). Choose one, key=",
    ),
    "npz wrong key": (lambda p: npz(p, key="x"), ValueError, "key='x' is not in"),
    "npz wrong labels": (lambda p: npz(p, key="x_train", labels="z"), ValueError, "labels='z' is not in"),
    "safetensors damaged": (lambda p: bytes_as(p, "x.safetensors", b"\xff" * 40), ValueError, "safetensors"),
    "idx of labels": (
        lambda p: bytes_as(p, "y-idx1-ubyte", b"\0\0\x08\x01\0\0\0\x02\1\2"),
        ValueError,
        "give the file of the data",
    ),
    "idx foreign": (
        lambda p: bytes_as(p, "x-ubyte", b"hello"),
        ValueError,
        "not an idx file: it starts with the bytes 68",
    ),
    "idx cut short": (
        lambda p: bytes_as(p, "x-ubyte", b"\0\0\x08\x02\0\0\0\x02\0\0\0\x09\1"),
        ValueError,
        r"the shape \(2, 9\), 18 bytes",
    ),
    "idx gzip damaged": (lambda p: bytes_as(p, "x-ubyte.gz", gzip.compress(b"\0" * 99)[:18]), ValueError, "gzip file"),
    # tables
    "csv with names": (
        lambda p: csv(p, "a,name\n" + "".join(f"{i},person {i}\n" for i in range(120))),
        ValueError,
        r"the column 'name' holds 120 different texts in 120 rows.*columns=\{'name': 'ignore'\}",
    ),
    "csv with an empty column": (
        lambda p: csv(p, "a,b\n" + "1,\n2,\n" * 20),
        ValueError,
        "the column 'b' holds no value: there is nothing to model",
    ),
    "csv with a constant among gaps": (
        lambda p: csv(p, "a,b\n" + "1,5\n,5\n2,5\n" * 20),
        ValueError,
        "the column 'b' holds only the value 5",
    ),
    "csv with one class": (
        lambda p: csv(p, "a,b\n" + "1,x\n2,x\n" * 20),
        ValueError,
        "the column 'b' holds only the value 'x'",
    ),
    "times of a zone": (
        lambda _: load(pd.DataFrame({"t": pd.date_range("2020", periods=20, tz="UTC"), "k": ["x", "y"] * 10})),
        ValueError,
        "Convert the times to one zone and drop it, or leave it out: columns={'t': 'ignore'}",
    ),
    "a kind that is none": (
        lambda p: csv(p, ROWS, columns={"a": "integer"}),
        ValueError,
        "columns= says that 'a' is 'integer'; the kinds are real, positive, count",
    ),
    "a kind that the values are not": (
        lambda p: csv(p, ROWS, columns={"kind": "real"}),
        ValueError,
        "columns= says that 'kind' is real, and it holds string",
    ),
    "a positive column with a zero": (
        lambda p: csv(p, ROWS, columns={"a": "positive"}),
        ValueError,
        "the positive column 'a' takes numbers above 0; row 0 holds 0",
    ),
    "a binary column of three": (
        lambda p: csv(p, ROWS, columns={"b": "binary"}),
        ValueError,
        "columns= says that 'b' is binary, and it holds 7 different values",
    ),
    "an order that forgets a value": (
        lambda p: csv(p, ROWS, columns={"kind": ["x", "z"]}),
        ValueError,
        "the column 'kind' holds 'y', which is not among its categories 'x', 'z'",
    ),
    "a kind for a column that is not there": (
        lambda p: csv(p, ROWS, columns={"c": "real"}),
        ValueError,
        "columns= names 'c'; the table has the columns a, b, kind, day",
    ),
    "a kind that is a number": (
        lambda p: csv(p, ROWS, columns={"a": 3}),
        TypeError,
        "its categories in order, two or more; of 'a' it says 3",
    ),
    "kinds for an array": (
        lambda p: array(p, columns={"a": "real"}),
        ValueError,
        "columns= does not apply",
    ),
    "levels of a mixed table": (
        lambda p: csv(p, ROWS, levels=3),
        ValueError,
        "levels= speaks of all columns alike",
    ),
    "labels that are missing": (
        lambda p: csv(p, "a,kind\n" + "1,x\n2,\n" * 9, labels="kind"),
        ValueError,
        "labels are missing: 'kind' has none in 9 of 18 rows",
    ),
    "infinite in a mixed table": (
        lambda _: load(pd.DataFrame({"a": [1.0, np.inf, 3.0] * 9, "b": ["x", "y", None] * 9})),
        ValueError,
        "the column 'a' holds 9 infinite values of 27, the first in row 1",
    ),
    "a training part without gaps": (
        lambda _: load({"train": pd.DataFrame({"a": [1.0, 2.0] * 9}), "test": pd.DataFrame({"a": [1.0, None, 3.0]})}),
        ValueError,
        r"train holds complete numbers and test does not: columns=\{\} takes both",
    ),
    "csv without names": (
        lambda p: csv(p, "1,2\n3,4\n"),
        ValueError,
        "starts with the numbers 1, 2 where the column names",
    ),
    "csv with semicolons": (lambda p: csv(p, "a;b\n1;2\n"), ValueError, "its separator is not the comma"),
    "csv ragged": (lambda p: csv(p, "a,b\n1,2\n3\n"), ValueError, "cannot be read as a .csv file"),
    "csv empty": (lambda p: csv(p, ""), ValueError, "cannot be read as a .csv file: Empty CSV file"),
    "csv header only": (lambda p: csv(p, "a,b\n"), ValueError, "the table is empty: it has 0 rows"),
    "csv name twice": (lambda p: csv(p, "a,a\n1,2\n"), ValueError, "occur more than once: a"),
    "csv not UTF-8": (lambda p: csv(p, "a,gr\xf6\xdfe\n1,2\n"), ValueError, "is not UTF-8 text"),
    "csv wrong label": (
        lambda p: csv(p, ROWS, labels="class"),
        ValueError,
        "the table has the columns a, b, kind, day",
    ),
    "csv constant column": (
        lambda p: csv(p, "a,b\n" + "".join(f"{i},5\n" for i in range(20))),
        ValueError,
        "constant in the training part.*'b'",
    ),
    "label also data": (lambda p: csv(p, ROWS, labels="a", columns=["a", "b"]), ValueError, "a label is not data"),
    "parquet damaged": (
        lambda p: bytes_as(p, "t.parquet", b"PAR1nonsense"),
        ValueError,
        "cannot be read as a .parquet",
    ),
    "columns as text": (lambda p: csv(p, ROWS, columns="a"), TypeError, "columns must be a list of names"),
    "frame of mixed types": (lambda _: load(pd.DataFrame({"a": [1, "x", 2.0]})), ValueError, "a column mixes types"),
    "infinite in a frame": (lambda _: load(pd.DataFrame({"a": [1.0, np.inf] * 9})), ValueError, "of 18 rows: 'a' 9"),
    # images
    "images of two sizes": (
        lambda p: pictures(p, [(5, 6), (8, 6), (5, 6)]),
        ValueError,
        r"2 sizes \(height×width\): 6×5 \(8\), 6×8 \(4\). Give resize",
    ),
    "unusual mode": (
        lambda p: pictures(p, [(5, 6)], "CMYK", "tif"),
        ValueError,
        r"modes CMYK \(12\). Say what .* channels=",
    ),
    "not an image": (lambda p: with_file(p, "labels.csv", b"a"), ValueError, r"are not images \(1\): labels.csv"),
    "image of nonsense": (
        lambda p: with_file(p, "bad.png", b"nonsense"),
        ValueError,
        "bad.png' cannot be read as an image",
    ),
    "image cut short": (broken_picture, ValueError, "half.png' cannot be read as an image"),
    "image too large": (huge_picture, ValueError, "huge.png' is too large to be read safely"),
    "animation": (animated, ValueError, "a.gif' holds several pictures"),
    "16-bit image": (wide, ValueError, "more than 8 bits a channel"),
    "images beside folders": (mixed_folder, ValueError, "12 images lie in .* itself and 1 in its subfolders"),
    "empty folder": (lambda p: load(p), ValueError, "there are no images in .*: it is empty"),
    "folder of text": (lambda p: (p / "a.txt").touch() or load(p), ValueError, "no images in .*: it holds a.txt"),
    "resize wrong": (lambda p: pictures(p, [(5, 6)], resize=(0, 4)), ValueError, r"resize must be \(height, width\)"),
    "channels wrong": (
        lambda p: pictures(p, [(5, 6)], channels="gray"),
        ValueError,
        "channels must be 'grey', 'rgb' or 'rgba'",
    ),
    # PyTorch datasets
    "items are dicts": (lambda _: load(Dicts()), TypeError, "dicts with the keys image, label"),
    "stream undivided": (lambda _: load(Stream()), ValueError, "an iterable dataset has no known end"),
    "stream scaled": (lambda _: load(Stream(), scaling="unit"), ValueError, "measured on the whole training part"),
    "stream in memory": (lambda _: load(Stream(), in_memory=True), ValueError, "needs a map-style dataset"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_refused_in_words(case: str, tmp_path: Path) -> None:
    make, error, message = CASES[case]
    with pytest.raises(error, match=message) as caught:
        make(tmp_path)
    assert type(caught.value) is error  # ours, and no subclass that some library raised

"""Shards that cannot be read, and options that do not fit: the error names the shard, the member and the remedy."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.data.shard_files import encoded, parquet_shards, picture, tar_of, tar_shards

from lucid.data import load

Case = tuple[Callable[[Path], Any], str]


def members(path: Path, *named: tuple[str, bytes], **options: Any) -> Any:
    tar_of(path / "a.tar", named)
    return read_all(path / "a.tar", **options)


def read_all(source: Any, **options: Any) -> Any:
    return list(load(source, **{"validation": 0, "test": 0, **options}).train.batches(8))


def npy(value: Any = None) -> bytes:
    return encoded(picture(0) if value is None else value, "npy")


def png(value: Any = None) -> bytes:
    return encoded(picture(0) if value is None else value, "png")


def pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{}], object), allow_pickle=True)
    return file.getvalue()


def shards(path: Path, **options: Any) -> Any:
    tar_shards(path / "t", [3, 3], "png")
    return read_all(path / "t", **options)


def second_shard(path: Path, change: Callable[[bytes], bytes], ending: str = "png") -> Any:
    tar_shards(path / "t", [3, 3], ending)
    file = path / "t" / "part-0001.tar"
    file.write_bytes(change(file.read_bytes()))
    return read_all(path / "t", levels=256)


def columns(path: Path, *tables: dict[str, Any], **options: Any) -> Any:
    (path / "p").mkdir()
    for i, table in enumerate(tables):
        parquet.write_table(pa.table(table), path / "p" / f"{i}.parquet")
    return read_all(path / "p", **options)


def broken_parquet(path: Path, keep: int) -> Any:
    parquet_shards(path / "p", [9, 9])
    file = path / "p" / "part-0001.parquet"
    file.write_bytes(file.read_bytes()[:keep] + (b"\0" * 100 if keep > 100 else b""))
    return read_all(path / "p", levels=256)


X = {"x": [[1.0, 2.0]] * 4}
TAR: list[Case] = [
    (lambda p: members(p), "1 shards hold no example"),
    (
        lambda p: members(p, ("a.cls", b"1"), ("a.txt", b"1")),
        r"members .cls, .txt: none of these is an image or a .npy",
    ),
    (lambda p: members(p, ("a.pyd", b"1"), key="pyd"), ".pyd is pickled, and pickled members are never read"),
    (lambda p: members(p, ("a.pth", b"1")), "none of these is an image"),
    (lambda p: members(p, ("a.npy", pickled())), "'a.npy' of the shard '.*a.tar' holds pickled Python objects"),
    (
        lambda p: members(p, ("a.png", png()), ("a.npy", npy())),
        "several of these could be the data. Choose one, key='png'",
    ),
    (lambda p: members(p, ("a.png", png()), key="jpg"), "key='jpg' is not among them: .* has the members .png"),
    (lambda p: members(p, ("a.png", png()), ("a.cls", b"1"), key="cls"), "key='cls' is neither an image nor"),
    (lambda p: members(p, ("a.png", png()), key="png;npy"), "key='png;npy' mixes images and arrays"),
    (lambda p: members(p, ("a.png", b"no")), "'a.png' of the shard '.*a.tar' cannot be read as an image"),
    (lambda p: members(p, ("a.png", png()), ("b.png", png()[:60])), "'b.png' of the shard '.*a.tar' cannot be read as"),
    (
        lambda p: members(p, ("a.npy", npy()), ("b.npy", npy()[:-1]), levels=256),
        "'b.npy' of .* holds 19 bytes: it is dam",
    ),
    (
        lambda p: members(p, ("a.npy", npy()), ("b.npy", b"\x93NUMPY"), levels=256),
        "'b.npy' of .* is damaged or not a .npy",
    ),
    (lambda p: members(p, ("a.npy", npy(np.array(["a"])))), "'a.npy' of .* holds no numbers"),
    (
        lambda p: members(p, ("a.png", png()), ("b.png", png(np.zeros((4, 6), np.uint8)))),
        r"'b.png' of .* has the shape \(4, 6, 1\) and type uint8, and the first example \(4, 5, 1\).*give resize=",
    ),
    (
        lambda p: members(p, ("a.png", png()), ("b.png", png(np.zeros((4, 5, 3), np.uint8)))),
        r"'b.png' of .* has the shape \(4, 5, 3\).* or channels='grey'",
    ),
    (
        lambda p: members(p, ("a.npy", npy()), ("b.npy", npy(picture(0) * 1.0)), levels=256),
        r"'b.npy' of .* has the shape \(4, 5\) and type float64, and the first example \(4, 5\) and uint8",
    ),
    (lambda p: members(p, ("a.npy", npy(np.array([np.nan, 1.0])))), "the data holds 1 NaN"),
    (lambda p: second_shard(p, lambda b: b[:2000]), "the shard '.*part-0001.tar' was cut short"),
    (lambda p: second_shard(p, lambda b: b[:1] + b"?" + b[2:]), "part-0001.tar' is not an uncompressed tar archive"),
    (lambda p: second_shard(p, lambda b: b[:1024] + b"?" + b[1025:]), "part-0001.tar' is damaged: .* byte 1024"),
    (
        lambda p: second_shard(p, lambda b: b[:530] + b"\0" * 20 + b[550:]),
        "'000003.png' of .*part-0001.tar' cannot be read",
    ),
    (lambda p: shards(p, labels="cls"), "labels= does not apply to tar shards: it takes key, resize"),
    (lambda p: shards(p, columns=["a"]), "columns= does not apply to tar shards"),
    (lambda p: shards(p, in_memory=True), "in_memory= does not apply to tar shards"),
    (lambda p: members(p, ("a.npy", npy()), levels=256, resize=(4, 4)), "resize= does not apply to shards of numbers"),
    (lambda p: shards(p, shuffle_buffer=0), "shuffle_buffer must be a number of examples, 1 or more; received 0"),
    (lambda p: shards(p, workers=-1), "workers must be a number of processes or threads, 0 or more"),
    (
        lambda p: shards(p, validation=0.1),
        r"shards are not divided.*\(validation missing\), or do without, validation=0",
    ),
    (lambda p: shards(p, validation=None, test=None), "do without, validation=0, test=0"),
    (lambda _: read_all(np.zeros((5, 4)), shuffle_buffer=3), "shuffle_buffer= does not apply to an array"),
]
PARQUET: list[Case] = [
    (lambda p: broken_parquet(p, 5), "the shard '.*part-0001.parquet' is damaged or not a .parquet file"),
    (lambda p: broken_parquet(p, 200), "the shard '.*part-0001.parquet' is damaged or not a .parquet file"),
    (lambda p: columns(p, {"x": pa.array([], pa.float32())}), "1 shards hold no example"),
    (
        lambda p: columns(p, {"x": ["a", "b"]}),
        r"has the columns x \(string\): none of these holds images, lists or num",
    ),
    (lambda p: columns(p, {**X, "y": [[1, 2]] * 4}), r"x, y could be the data. Choose one, key='…'"),
    (lambda p: columns(p, X, key="z"), r"key= names 'z', and the shard .* has the columns x \(list<"),
    (lambda p: columns(p, {**X, "n": [1, 2, 3, 4]}, key="n"), "key='n' holds neither images nor lists of numbers"),
    (lambda p: columns(p, X, columns=["x"]), "columns= names 'x', which does not hold single numbers"),
    (lambda p: columns(p, X, key="x", columns=["x"]), "leave one out"),
    (
        lambda p: columns(p, X, {"x": ["a"] * 4}),
        "column 'x' of the shard '.*1.parquet' is string; that of the first one is",
    ),
    (lambda p: columns(p, X, {"y": [1.0]}), "column 'x' of the shard '.*1.parquet' is missing"),
    (lambda p: columns(p, X, {"x": [[1.0], [1.0, 2.0]]}), "row group 0 of .*1.parquet' holds lists of 1 to 2 numbers"),
    (
        lambda p: columns(p, X, {"x": [[1.0, 2.0, 3.0]] * 4}),
        r"examples of shape \(3,\) in '1.parquet' and of shape \(2,\)",
    ),
    (lambda p: columns(p, {"x": [[1.0, None]] * 4}), "row group 0 of the shard '.*0.parquet' lacks 4 values"),
    (lambda p: columns(p, {"x": [[1.0, 2.0], None]}), "lacks 1 values"),
    (lambda p: columns(p, {"a": [1.0, None], "b": [1.0, 2.0]}, scaling="none"), "row group 0 .* infinite values in a"),
    (
        lambda p: columns(p, {"i": [b"no", b"no"]}),
        "row 0 of row group 0 of the shard '.*0.parquet' cannot be read as an image",
    ),
    (
        lambda p: columns(p, {"i": [png(), b"no"]}),
        "row 1 of row group 0 of the shard '.*0.parquet' cannot be read as an image",
    ),
    (lambda p: columns(p, {"i": [png(), None]}), "row group 0 .* lacks the bytes of 1 images"),
    (lambda p: columns(p, X, crop="centre", resize=(3, 3)), "resize= does not apply to shards of numbers"),
    (lambda p: columns(p, X, labels="y"), "labels= does not apply to parquet shards"),
]
PATHS: list[Case] = [
    (lambda p: read_all([p / "a.tar", p / "b.parquet"]), "2 of 2 shards are not there"),
    (
        lambda p: read_all(str(p / "a-{00..11}.tar")),
        r"12 of 12 shards are not there: .*a-00.tar, .*, and 8 more. Shards are",
    ),
    (lambda _: read_all("https://example.org/a-{0..3}.tar"), "from local or mounted storage, not from an address"),
    (lambda p: read_all(str(p / "a-*.tar")), r"no file fits the pattern '.*a-\*.tar'"),
    (lambda p: read_all(str(p / "a-{3..1}.tar")), r"the pattern {3..1} counts from 3 to 1"),
    (
        lambda p: read_all(str(p / "a.tar.gz")),
        "is compressed as a whole, so no example in it can be sought: unpack it once",
    ),
    (lambda p: read_all([p]), "holds no shards: it has neither .tar nor .parquet files"),
    (lambda p: read_all([p / "a.npy"]), "shards are .tar or .parquet files; the list names '.*a.npy'"),
]


def mixed(path: Path) -> Any:
    tar_shards(path / "t", [2], "png")
    parquet_shards(path / "p", [2])
    return read_all([path / "t", path / "p"])


def twice(path: Path) -> Any:
    tar_shards(path / "t", [2], "png")
    return read_all([path / "t", path / "t" / "part-0000.tar"])


def validation_alone(path: Path) -> Any:
    tar_shards(path / "t", [2], "png")
    return read_all({"train": np.zeros((9, 4, 5), np.uint8), "validation": path / "t"}, validation=None)


def changed(path: Path) -> Any:
    tar_shards(path / "t", [30], "png")
    split = load(path / "t", validation=0, test=0, workers=0).train
    batches = split.batches(8)
    next(batches)
    file = path / "t" / "part-0000.tar"
    file.write_bytes(file.read_bytes()[:20_000])
    return list(batches)


PATHS += [
    (mixed, "shards must be of one format; the source mixes .parquet and .tar"),
    (twice, "a shard is named more than once: .*part-0000.tar"),
    (validation_alone, "the training part must be: give 'train' as shards too"),
    (changed, "the shard '.*part-0000.tar' was cut short after its header was read"),
]


@pytest.mark.parametrize(("case", "message"), TAR + PARQUET + PATHS)
def test_what_cannot_be_read_is_told(case: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        case(tmp_path)


def test_an_error_in_a_thread_is_raised_in_its_turn(tmp_path: Path) -> None:
    tar_of(tmp_path / "a.tar", [(f"{i:02d}.png", png() if i != 80 else b"no") for i in range(100)])
    batches = load(tmp_path / "a.tar", validation=0, test=0, workers=3).train.batches(8)
    assert sum(len(next(batches)) for _ in range(10)) == 80
    with pytest.raises(ValueError, match=r"'80.png' of the shard"):
        next(batches)

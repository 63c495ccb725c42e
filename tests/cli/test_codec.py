"""A trained model becomes a codec, and data goes through it and comes back, on the command line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.cli.conftest import Lucid

from lucid import data
from lucid.cli import main


@pytest.fixture(scope="module")
def codec(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits' run, frozen."""
    out = tmp_path_factory.mktemp("codecs") / "digits.codec"
    assert main(["freeze", str(run), str(out), "--examples", "200"]) == 0
    return out


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Twelve digits as PNGs of 17 greys, and a note."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    levels = data.load("digits").test.raw[:12, 0].numpy()
    for i, pixels in enumerate(np.round(levels / 16 * 255).astype(np.uint8)):
        Image.fromarray(pixels).save(folder / ("more" if i % 3 else ".") / f"{i}.png")
    (folder / "note.txt").write_text("a note")
    return folder


@pytest.mark.parametrize("command", ["freeze", "compress", "decompress"])
def test_help_teaches(lucid: Lucid, command: str) -> None:
    said = lucid(command, "--help")
    assert said.code == 0
    assert said.out.startswith(f"usage: lucid {command}")
    assert "examples:" in said.out


def test_a_codec_says_what_it_is(lucid: Lucid, codec: Path) -> None:
    said = lucid("info", codec)
    assert said.code == 0, said.err
    for expected in (
        f"codec      {codec}, {codec.stat().st_size:,} bytes",
        "codes      examples of 1×8×8, 17 levels, under a logistic likelihood",
        "data       digits; image 1×8×8; 17 levels",
        "latents    8 in 1 level\n",
        "proven; up to 2^53 each is exact",
    ):
        assert expected in said.out


def test_the_test_split_through_a_file(lucid: Lucid, codec: Path, tmp_path: Path) -> None:
    said = lucid("compress", codec, "digits:test", "-o", tmp_path / "t.lucid", "--block-size", 50)
    assert said.code == 0, said.err
    size = (tmp_path / "t.lucid").stat().st_size
    assert f"t.lucid: {size:,} bytes from 11,520, " in said.out
    assert "times smaller" in said.out
    assert "bits/dim" in said.out
    said = lucid("decompress", tmp_path / "t.lucid", "--codec", codec, "-o", tmp_path / "t.npy")
    assert said.code == 0, said.err
    assert said.out.endswith(f"180 examples, each as it was: {tmp_path / 't.npy'}\n")
    expected = data.load("digits").test.raw[:, 0].numpy()
    found = np.load(tmp_path / "t.npy")
    assert (found.dtype, found.tobytes()) == (np.uint8, expected.tobytes())
    some = lucid(
        *("decompress", tmp_path / "t.lucid", "--codec", codec, "-o", tmp_path / "s.npy", "--examples", "49:101")
    )
    assert some.code == 0, some.err
    assert np.array_equal(np.load(tmp_path / "s.npy"), expected[49:101])


def test_a_folder_of_pictures_in_a_file_that_opens_by_itself(
    lucid: Lucid, codec: Path, pictures: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.codec"
    shutil.copy(codec, own)
    said = lucid("compress", own, pictures, "-o", tmp_path / "p.lucid", "--embed")
    assert said.code == 0, said.err
    assert "pictures, 12 images, and 1 other file\n" in said.out
    assert "of them the codec" in said.out
    assert "kept as they were: 1" in said.out
    own.unlink()
    info = lucid("info", tmp_path / "p.lucid").out
    assert "inputs    pictures, 12 images, 1 other file" in info
    assert "in the file" in info
    said = lucid("decompress", tmp_path / "p.lucid", "-o", tmp_path / "back")
    assert said.code == 0, said.err
    for path in pictures.rglob("*.png"):
        with Image.open(path) as one, Image.open(tmp_path / "back" / path.relative_to(pictures)) as other:
            assert (one.mode, one.tobytes()) == (other.mode, other.tobytes())
    assert (tmp_path / "back/note.txt").read_text() == "a note"


def test_the_options_reach_the_work(lucid: Lucid, codec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the bytes do not depend on them is for the tests of the container to show."""
    from lucid.cli import compress, decompress

    told: list[dict[str, Any]] = []

    def stopped(*args: object, **options: Any) -> None:
        told.append(options)
        raise ValueError("far enough")

    monkeypatch.setattr(compress, "pack", stopped)
    monkeypatch.setattr(decompress, "unpack", stopped)
    argv = ["compress", codec, "digits", "-o", tmp_path / "x", "--workers", 3, "--block-size", 60, "--embed"]
    assert "far enough" in lucid(*argv).err
    assert {name: told[0][name] for name in ("workers", "block_examples", "embed")} == {
        "workers": 3,
        "block_examples": 60,
        "embed": True,
    }
    monkeypatch.undo()
    assert lucid("compress", codec, "digits", "-o", tmp_path / "x").code == 0
    monkeypatch.setattr(decompress, "unpack", stopped)
    argv = ["decompress", tmp_path / "x", "--codec", codec, "-o", tmp_path / "y.npy", "--workers", 2]
    assert "far enough" in lucid(*argv, "--examples", "3:7").err
    assert (told[1]["workers"], told[1]["examples"]) == (2, (3, 7))


def test_a_model_alone_needs_data_to_be_frozen(lucid: Lucid, run: Path, codec: Path, tmp_path: Path) -> None:
    said = lucid("freeze", run / "model", tmp_path / "x.codec")
    assert said.code == 2
    assert "which does not say where its data is: give --calibration DATA" in said.err
    argv = ["freeze", run / "model", tmp_path / "x.codec", "--calibration", "digits", "--examples", 50]
    assert lucid(*argv).code == 0


@pytest.fixture
def continuous(tmp_path: Path) -> Path:
    np.save(tmp_path / "c.npy", np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32))
    argv = ["train", tmp_path / "c.npy", "--out", tmp_path / "c", "--steps", 2, "--size", 1, "--quiet", "--no-report"]
    assert main([str(arg) for arg in argv]) == 0
    return tmp_path / "c"


def test_continuous_data_is_refused_with_the_way_out(lucid: Lucid, continuous: Path, tmp_path: Path) -> None:
    said = lucid("freeze", continuous, tmp_path / "c.codec")
    assert said.code == 1
    assert "levels" in said.err
    assert not (tmp_path / "c.codec").exists()


MISUSE = [
    (["freeze", "{run}"], 2, "the following arguments are required: OUT.codec"),
    (["freeze", "{run}", "{codec}"], 2, "is there already: name a new file, or remove it"),
    (["freeze", "{run}", "{tmp}/no/x.codec"], 2, "there is no folder"),
    (["freeze", "{run}", "{tmp}/x.codec", "--examples", "0"], 2, "--examples must be at least 1; received 0"),
    (["freeze", "{tmp}/nothing", "{tmp}/x.codec"], 2, "is neither a run nor a model: there is no such folder"),
    (["compress", "{codec}", "-o", "{tmp}/x.lucid"], 2, "the following arguments are required: INPUT"),
    (["compress", "{codec}", "digits"], 2, "the following arguments are required: -o/--out"),
    (["compress", "{tmp}/no.codec", "digits", "-o", "{tmp}/x.lucid"], 2, "there is no file"),
    (["compress", "{note}", "digits", "-o", "{tmp}/x.lucid"], 1, "is not a codec"),
    (["compress", "{codec}", "digitz", "-o", "{tmp}/x.lucid"], 2, "there is no file or folder 'digitz'"),
    (["compress", "{codec}", "digits", "-o", "{codec}"], 2, "is there already"),
    (["compress", "{codec}", "digits", "-o", "{tmp}/no/x"], 2, "there is no folder"),
    (
        ["compress", "{codec}", "digits", "-o", "{tmp}/x", "--workers", "0"],
        2,
        "--workers must be at least 1; received 0",
    ),
    (["compress", "{codec}", "digits", "-o", "{tmp}/x", "--block-size", "0"], 2, "--block-size must be at least 1"),
    (["compress", "{codec}", "{note}", "-o", "{tmp}/x"], 1, "has an ending that lucid does not compress"),
    (["decompress", "{file}", "-o", "{tmp}/x.npy"], 2, "and does not carry it: give it, --codec CODEC"),
    (["decompress", "{tmp}/no.lucid", "-o", "{tmp}/x.npy"], 2, "there is no file"),
    (["decompress", "{note}", "-o", "{tmp}/x.npy"], 1, "is not a .lucid file"),
    (
        ["decompress", "{file}", "--codec", "{codec}", "-o", "{tmp}/x.csv"],
        1,
        "has another ending than 'digits-test.npy'",
    ),
    (["decompress", "{file}", "--codec", "{codec}", "-o", "{note}"], 2, "is there already"),
    (["decompress", "{file}", "--codec", "{codec}", "-o", "{tmp}/x.npy", "--examples", "5"], 2, "--examples takes A:B"),
    (["decompress", "{file}", "--codec", "{codec}", "-o", "{tmp}/x.npy", "--examples", "9:4"], 2, "takes A:B"),
    (
        ["decompress", "{file}", "--codec", "{codec}", "-o", "{tmp}/x.npy", "--examples", "0:181"],
        2,
        "holds the examples 0:180",
    ),
    (["info", "{note}"], 1, "is not a codec"),
    (["compress", "{array}", "digits", "-o", "{tmp}/x"], 2, "a.npy is a .npy file, not a codec"),
    (["compress", "{file}", "digits", "-o", "{tmp}/x"], 2, "t.lucid is a .lucid file, not a codec"),
    (["decompress", "{file}", "--codec", "{array}", "-o", "{tmp}/x"], 2, "a.npy is a .npy file, not a codec"),
    (["decompress", "{codec}", "-o", "{tmp}/x"], 2, "is a codec, not a .lucid file"),
    (["info", "{array}"], 2, "a.npy is a .npy file, not a codec"),
]


@pytest.fixture(scope="module")
def there(codec: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("there")
    (folder / "note.txt").write_text("nothing that lucid reads")
    assert main(["compress", str(codec), "digits:test", "-o", str(folder / "t.lucid")]) == 0
    np.save(folder / "a.npy", np.zeros(3))
    return {"note": folder / "note.txt", "array": folder / "a.npy", "file": folder / "t.lucid", "codec": codec}


@pytest.mark.parametrize(("argv", "code", "message"), MISUSE)
def test_misuse_and_failure_are_one_line(
    lucid: Lucid, run: Path, there: dict[str, Path], tmp_path: Path, argv: list[str], code: int, message: str
) -> None:
    said = lucid(*(arg.format(run=run, tmp=tmp_path, **there) for arg in argv))
    assert said.code == code, said.err
    assert message in said.err
    assert said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_info_says_that_a_file_is_damaged(lucid: Lucid, codec: Path, tmp_path: Path) -> None:
    whole = tmp_path / "t.lucid"
    assert lucid("compress", codec, "digits:test", "-o", whole, "--block-size", 60).code == 0
    assert "checked   every block has its SHA-256" in lucid("info", whole).out
    body = whole.read_bytes()
    for altered in (body[:-1], body[: len(body) // 2] + bytes([body[len(body) // 2] ^ 1]) + body[len(body) // 2 + 1 :]):
        (tmp_path / "a.lucid").write_bytes(altered)
        said = lucid("info", tmp_path / "a.lucid")
        assert said.code == 1
        assert "damaged" in said.err


def test_a_damaged_file_is_an_error_and_no_output(lucid: Lucid, there: dict[str, Path], tmp_path: Path) -> None:
    body = bytearray(there["file"].read_bytes())
    body[len(body) // 2] ^= 4
    (tmp_path / "t.lucid").write_bytes(body)
    said = lucid("decompress", tmp_path / "t.lucid", "--codec", there["codec"], "-o", tmp_path / "x.npy")
    assert said.code == 1
    assert "damaged" in said.err
    assert not (tmp_path / "x.npy").exists()

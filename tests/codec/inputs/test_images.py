"""A folder of images comes back with the same pixels, modes, names and folders; everything else as the bytes it was."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from tests.codec.inputs.plain_codec import PlainCodec, images

from lucid.codec.errors import CodecError
from lucid.codec.inputs import Packed, Unpacked, pack, unpack
from lucid.codec.inputs.pixels import check_how, picture_of

RNG = np.random.default_rng(0)
GREY, RGB, BITS = images(), images(channels=3), images(2)


def save(path: Path, mode: str = "L", size: tuple[int, int] = (8, 6), **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = {"L": size, "1": size, "RGB": (*size, 3), "RGBA": (*size, 4)}[mode]
    pixels = RNG.integers(0, 2, shape).astype(bool) if mode == "1" else RNG.integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)


def there_and_back(folder: Path, codec: PlainCodec, tmp_path: Path, **options: object) -> tuple[Path, Packed, Unpacked]:
    packed = pack(codec, [folder], tmp_path / "a.lucid", **options)
    unpacked = unpack(tmp_path / "a.lucid", tmp_path / "back", codec=codec)
    return tmp_path / "back", packed, unpacked


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def same_picture(a: Path, b: Path) -> bool:
    with Image.open(a) as one, Image.open(b) as other:
        return (one.mode, one.size, one.tobytes()) == (other.mode, other.size, other.tobytes())


def test_pixels_modes_names_and_folders(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name in ("b.png", "a.PNG", "sub/c.png", "sub/deeper/ä ö.png", ".hidden.png"):
        save(folder / name)
    back, packed, _ = there_and_back(folder, GREY, tmp_path, block_examples=2)
    assert names(back) == names(folder)
    assert all(same_picture(folder / name, back / name) for name in names(folder))
    assert (packed.num_examples, packed.attached) == (5, 0)
    assert packed.input_bytes == sum((folder / name).stat().st_size for name in names(folder))


@pytest.mark.parametrize(("codec", "mode"), [(GREY, "L"), (RGB, "RGB"), (images(channels=4), "RGBA"), (BITS, "1")])
def test_each_mode_is_kept(codec: PlainCodec, mode: str, tmp_path: Path) -> None:
    for i in range(3):
        save(tmp_path / "in" / f"{i}.png", mode)
    back, packed, _ = there_and_back(tmp_path / "in", codec, tmp_path)
    assert packed.num_examples == 3
    assert all(same_picture(tmp_path / "in" / name, back / name) for name in names(tmp_path / "in"))


def test_what_the_model_does_not_know_comes_along_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    save(folder / "fits.png")
    save(folder / "large.png", size=(9, 6))
    save(folder / "colour.png", "RGB")
    save(folder / "lossy.jpg")
    save(folder / "sub/bits.png", "1")
    (folder / "notes.txt").write_text("hello " * 1000)
    (folder / "empty").write_bytes(b"")
    (folder / "broken.png").write_bytes((folder / "fits.png").read_bytes()[:60])
    frames = [Image.fromarray(RNG.integers(0, 256, (8, 6), dtype=np.uint8)) for _ in range(2)]
    frames[0].save(folder / "moves.png", save_all=True, append_images=frames[1:])
    save(folder / "deep.png")
    Image.fromarray(RNG.integers(0, 2**16, (8, 6), dtype=np.uint16)).save(folder / "deep.png")
    save(folder / "clear.png", transparency=3)
    back, packed, unpacked = there_and_back(folder, GREY, tmp_path)
    assert (packed.num_examples, packed.attached, unpacked.attached) == (1, 10, 10)
    assert names(back) == names(folder)
    assert same_picture(folder / "fits.png", back / "fits.png")
    for name in set(names(folder)) - {"fits.png"}:
        assert (folder / name).read_bytes() == (back / name).read_bytes(), name
    assert "1 image, and 10 other files" in packed.inputs[0]


def texts(image: Any) -> dict[str, str]:
    return image.text


def test_what_a_png_says_beside_its_pixels_is_kept(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "a title")
    info.add_itxt("Description", "für später")
    info.add(b"gAMA", (45455).to_bytes(4, "big"))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be seen turned: the pixels stay as they lie
    save(tmp_path / "in/x.png", pnginfo=info, dpi=(300, 300), icc_profile=b"a profile", exif=exif)
    save(tmp_path / "in/y.png")
    back, *_ = there_and_back(tmp_path / "in", GREY, tmp_path)
    for name in ("x.png", "y.png"):
        with Image.open(tmp_path / "in" / name) as one, Image.open(back / name) as other:
            assert one.tobytes() == other.tobytes()
            assert one.info == other.info
            assert texts(one) == texts(other)
            assert dict(one.getexif()) == dict(other.getexif())


def test_other_formats_without_loss_become_png_under_a_name_of_their_own(tmp_path: Path) -> None:
    for name in ("a.bmp", "b.pgm", "b.png", "c.bmp", "c.png.bmp"):
        save(tmp_path / "in" / name)
    back, packed, _ = there_and_back(tmp_path / "in", GREY, tmp_path)
    assert packed.attached == 0
    written = {"a.bmp": "a.png", "b.pgm": "b.pgm.png", "b.png": "b.png", "c.bmp": "c.png", "c.png.bmp": "c.png.png"}
    assert names(back) == sorted(written.values())
    for name, new in written.items():
        assert same_picture(tmp_path / "in" / name, back / new)


def test_greys_of_few_levels_are_found_and_come_back(tmp_path: Path) -> None:
    """What `lucid sample` writes of 17 levels is spread over 0 … 255."""
    levels = RNG.integers(0, 17, (8, 6))
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(np.round(levels / 16 * 255).astype(np.uint8)).save(folder / "spread.png")
    Image.fromarray(levels.astype(np.uint8)).save(folder / "whole.png")
    Image.fromarray((levels + 1).astype(np.uint8) * 3).save(folder / "neither.png")
    for name in ("spread.png", "whole.png"):
        found = picture_of(folder / name, images(17).data).levels
        assert found is not None
        assert np.array_equal(found[0], levels)
    back, packed, _ = there_and_back(folder, images(17), tmp_path)
    assert (packed.num_examples, packed.attached) == (2, 1)
    assert all(same_picture(folder / name, back / name) for name in names(folder))


def test_black_and_white_as_greys_for_a_binarised_model(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    bits = RNG.integers(0, 2, (8, 6), dtype=np.uint8)
    Image.fromarray(bits * 255).save(tmp_path / "in/a.png")
    save(tmp_path / "in/b.png", "1")
    back, packed, _ = there_and_back(tmp_path / "in", BITS, tmp_path)
    assert packed.num_examples == 2
    assert all(same_picture(tmp_path / "in" / name, back / name) for name in ("a.png", "b.png"))
    found = picture_of(tmp_path / "in/a.png", BITS.data).levels
    assert found is not None
    assert np.array_equal(found[0], bits)


def test_a_folder_none_of_which_fits_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "in/a.png", size=(9, 9))
    save(tmp_path / "in/b.png", "RGB")
    with pytest.raises(ValueError, match=r"images of 8×6 \(height×width\), grey or black and white, and none of in is"):
        pack(GREY, [tmp_path / "in"], tmp_path / "a.lucid")
    assert not (tmp_path / "a.lucid").exists()
    save(tmp_path / "greys/a.png")
    with pytest.raises(ValueError, match="its greys are not those of 2 levels, 0, 255"):
        pack(BITS, [tmp_path / "greys"], tmp_path / "a.lucid")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ValueError, match="is empty: there is nothing to compress"):
        pack(GREY, [tmp_path / "nothing"], tmp_path / "a.lucid")
    with pytest.raises(ValueError, match="pictures have 1, 3 or 4 channels of 8 bits: give an array"):
        pack(images(1000), [tmp_path / "in"], tmp_path / "a.lucid")


def test_links_that_would_be_lost_are_refused_and_links_to_files_are_files(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    save(folder / "a.png")
    (folder / "b.png").symlink_to(folder / "a.png")
    back, packed, _ = there_and_back(folder, GREY, tmp_path)
    assert packed.num_examples == 2
    assert same_picture(folder / "b.png", back / "b.png")
    save(tmp_path / "other/c.png")
    for target in (tmp_path / "other", tmp_path / "nothing"):
        (folder / "link").symlink_to(target)
        with pytest.raises(ValueError, match=r"neither a file nor a folder of its own.*: link\. Move it away"):
            pack(GREY, [folder], tmp_path / "b.lucid")
        (folder / "link").unlink()


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no UTF-8 exist on Linux alone")
def test_names_that_are_no_text_come_back(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    save(folder / "a.png")
    for name, source in ((b"\xff.png", "a.png"), (b"\xfe.txt", None)):
        path = Path(os.fsdecode(os.fsencode(folder) + b"/" + name))
        path.write_bytes((folder / source).read_bytes() if source else b"a note")
    back, packed, _ = there_and_back(folder, GREY, tmp_path)
    assert (packed.num_examples, packed.attached) == (2, 1)
    assert names(back) == names(folder)


def test_images_by_themselves(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save(tmp_path / name)
    pack(GREY, [tmp_path / "a.png"], tmp_path / "one.lucid")
    unpack(tmp_path / "one.lucid", tmp_path / "again.png", codec=GREY)
    assert same_picture(tmp_path / "a.png", tmp_path / "again.png")
    pack(GREY, [tmp_path / "b.png", tmp_path / "a.png"], tmp_path / "two.lucid")
    unpack(tmp_path / "two.lucid", tmp_path / "both", codec=GREY)
    assert names(tmp_path / "both") == ["a.png", "b.png"]
    assert all(same_picture(tmp_path / name, tmp_path / "both" / name) for name in ("a.png", "b.png"))


def test_some_of_the_images(tmp_path: Path) -> None:
    for i in range(9):
        save(tmp_path / f"in/{i}.png")
    (tmp_path / "in/note.txt").write_text("x")
    pack(GREY, [tmp_path / "in"], tmp_path / "a.lucid", block_examples=4)
    unpacked = unpack(tmp_path / "a.lucid", tmp_path / "some", codec=GREY, examples=(3, 6))
    assert names(tmp_path / "some") == ["3.png", "4.png", "5.png"]
    assert all(same_picture(tmp_path / "in" / name, tmp_path / "some" / name) for name in names(tmp_path / "some"))
    assert (unpacked.num_examples, unpacked.attached) == (3, 0)


def test_what_a_file_says_of_a_picture_is_doubted() -> None:
    sound = {"mode": "L", "scale": "whole"}
    assert check_how(sound, GREY.data) == sound
    for change in (
        {"mode": "RGB"},
        {"mode": ["L"]},
        {"scale": "half"},
        {"more": 1},
        {"kept": []},
        {"kept": {"exif": "%%"}},
        {"kept": {"gamma": 2**40}},
        {"kept": {"dpi": [1.0]}},
        {"kept": {"text": {"": "x"}}},
        {"kept": {"other": "x"}},
    ):
        with pytest.raises(CodecError):
            check_how({**sound, **change}, GREY.data)

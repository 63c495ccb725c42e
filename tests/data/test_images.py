"""Folders of images: pixels, labels, parts, and the explicit choices of size, crop and channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lucid.data import load

MODES = {"L": (6, 5), "RGB": (6, 5, 3), "RGBA": (6, 5, 4)}


def save(path: Path, seed: int = 0, mode: str = "RGB", size: tuple[int, int] = (6, 5), **options: bool) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, *MODES[mode][2:]), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return pixels


@pytest.mark.parametrize(
    ("mode", "ending", "options"),
    [
        *((mode, ending, {}) for mode in MODES for ending in ("png", "tif")),
        *((mode, "bmp", {}) for mode in ("L", "RGB")),
        *((mode, "webp", {"lossless": True, "exact": True}) for mode in ("RGB", "RGBA")),
    ],
)
def test_lossless_formats_are_read_pixel_by_pixel(
    tmp_path: Path, mode: str, ending: str, options: dict[str, bool]
) -> None:
    pixels = [save(tmp_path / f"{i:02d}.{ending}", i, mode, **options) for i in range(12)]
    data = load(tmp_path)
    assert data.protocol.shape == ({"L": 1, "RGB": 3, "RGBA": 4}[mode], 6, 5)
    assert data.protocol.levels == 256
    for row, raw in zip(data.train.rows.tolist(), data.train.raw, strict=True):
        assert np.array_equal(raw.movedim(0, -1).numpy().squeeze(), pixels[row])


def test_subfolders_are_labels(tmp_path: Path) -> None:
    for i in range(12):
        save(tmp_path / ("cat", "dog")[i % 2] / "deep" / f"{i}.png", i)
    data = load(tmp_path)
    assert data.protocol.classes == ("cat", "dog")
    assert data.train.labels is not None
    paths = sorted(tmp_path.rglob("*.png"))
    expected = [("cat", "dog").index(paths[r].parts[-3]) for r in data.train.rows.tolist()]
    assert data.train.labels.tolist() == expected


def test_folders_named_as_parts_are_parts(tmp_path: Path) -> None:
    for i in range(10):
        save(tmp_path / "train" / "abc"[i % 3] / f"{i}.png", i)
        save(tmp_path / "val" / "abc"[i % 3] / f"{i}.png", i)
        save(tmp_path / "test" / "abc"[i % 3] / f"{i}.png", i)
    data = load(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (10, 10, 10)
    assert data.protocol.classes == ("a", "b", "c")
    assert data.source == {"source": str(tmp_path)}
    assert load(**data.source).protocol == data.protocol


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    for i in range(10):
        save(tmp_path / f"{i}.png", i)
    (tmp_path / ".DS_Store").write_bytes(b"\0")
    assert len(load(tmp_path).train) == 8


def test_resize_stretches_and_crop_keeps_proportions(tmp_path: Path) -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255  # the middle third is white
    for i in range(10):
        Image.fromarray(wide).save(tmp_path / f"{i}.png")
    stretched = load(tmp_path, resize=(10, 12)).train.raw[0]
    assert stretched.shape == (3, 10, 12)
    assert int(stretched[0, 5, 0]) == 0
    assert int(stretched[0, 5, 6]) == 255
    cropped = load(tmp_path, resize=(10, 10), crop="centre").train.raw[0]
    assert int(cropped.min()) == 255


def test_differing_sizes_and_modes_are_read_once_told_how(tmp_path: Path) -> None:
    for i in range(10):
        save(tmp_path / f"{i}.png", i, ("L", "RGB", "RGBA")[i % 3], (6 + i, 5))
    data = load(tmp_path, resize=[4, 4], channels="rgb")
    assert data.protocol.shape == (3, 4, 4)
    assert load(**data.source).protocol == data.protocol


def test_a_palette_is_colour_once_channels_say_so(tmp_path: Path) -> None:
    pixels = np.zeros((5, 5, 3), np.uint8) + np.array([200, 30, 90], np.uint8)
    for i in range(10):
        Image.fromarray(pixels).quantize(4).save(tmp_path / f"{i}.png")
    with pytest.raises(ValueError, match=r"have the modes P \(10\)"):
        load(tmp_path)
    assert load(tmp_path, channels="rgb").train.raw[0, :, 0, 0].tolist() == [200, 30, 90]


def test_the_orientation_of_a_photo_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter to the right
    pixels = np.zeros((6, 4), np.uint8)
    pixels[:, 0] = 255
    for i in range(10):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png", exif=exif)
    data = load(tmp_path)
    assert data.protocol.shape == (1, 4, 6)
    assert bool((data.train.raw[0, 0, 0] == 255).all())
    assert torch.equal(data.train.raw[0, 0, 1:], torch.zeros((3, 6), dtype=torch.uint8))

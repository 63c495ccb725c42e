"""Other lossless compressors on the same images: each as a function from the images to the size of what it writes.

General compressors get all images as one stream of bytes, and, where images have two levels, also with eight pixels to
the byte; the smaller counts. Image formats get each image as a file of its own, and all images as one, tiled into a
square; both are told, since the header of a small file weighs more than its pixels. None is told what it cannot know:
that the data is a batch of images of one kind is what a trained model knows.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["IMAGE_FORMATS", "PEERS", "MissingError", "tiled"]

Images = np.ndarray
"""uint8 (N, C, H, W), C of 1 or 3; two levels are 0 and 1."""

Encoder = Callable[[Images], int]


class MissingError(Exception):
    """What is not installed here, and what would install it."""


def streams(images: Images) -> list[bytes]:
    """All images as bytes: as they are, interleaved colours as files of pixels have them, and packed if binary."""
    found = [images.tobytes()]
    if images.shape[1] > 1:
        found.append(images.transpose(0, 2, 3, 1).tobytes())
    if images.max() <= 1:
        found.append(np.packbits(images).tobytes())
    return found


def smallest(compress: Callable[[bytes], bytes]) -> Encoder:
    """The size of the smallest of the streams."""
    return lambda images: min(len(compress(stream)) for stream in streams(images))


def zstd(stream: bytes) -> bytes:
    if shutil.which("zstd") is None:
        raise MissingError("zstd is not installed (apt install zstd)")
    run = subprocess.run(["zstd", "-19", "--single-thread", "-c"], input=stream, capture_output=True, check=True)
    return run.stdout


def picture(image: np.ndarray) -> Image.Image:
    """One image, (C, H, W), as Pillow has it; two levels are black and white of one bit, 17 are greys 0 … 16."""
    if len(image) == 3:
        return Image.fromarray(image.transpose(1, 2, 0))
    return Image.fromarray(image[0])


def tiled(images: Images) -> Images:
    """All images in one, (1, C, ·, ·), row by row, as near to a square as they fit; what is left over is 0."""
    n, channels, height, width = images.shape
    across = max(1, round(math.sqrt(n * height / width)))
    down = -(-n // across)
    filled = np.zeros((down * across, channels, height, width), np.uint8)
    filled[:n] = images
    grid = filled.reshape(down, across, channels, height, width).transpose(2, 0, 3, 1, 4)
    return np.ascontiguousarray(grid.reshape(1, channels, down * height, across * width))


def png(images: Images) -> int:
    return sum(_png(image, bits=images.max() <= 1) for image in images)


def _png(image: np.ndarray, *, bits: bool) -> int:
    file = io.BytesIO()
    (picture(255 * image).convert("1") if bits else picture(image)).save(file, "PNG", optimize=True)
    return file.tell()


def webp(images: Images) -> int:
    """Lossless, slowest setting; greys become colours, which the format has in their place."""
    total = 0
    for image in images * (255 if images.max() <= 1 else 1):
        file = io.BytesIO()
        picture(image).convert("RGB").save(file, "WEBP", lossless=True, quality=100, method=6)
        total += file.tell()
    return total


def jpegxl(images: Images) -> int:
    """Lossless, effort 9."""
    if find_spec("imagecodecs") is None:
        raise MissingError("libjxl is not installed (pip install imagecodecs)")
    encode = import_module("imagecodecs").jpegxl_encode
    total = 0
    for image in images * (255 if images.max() <= 1 else 1):
        pixels = np.ascontiguousarray(image.transpose(1, 2, 0) if len(image) == 3 else image[0])
        total += len(encode(pixels, lossless=True, effort=9, numthreads=1))
    return total


def flif(images: Images) -> int:
    """Effort 100, not interlaced."""
    if shutil.which("flif") is None:
        raise MissingError("flif is not installed (github.com/FLIF-hub/FLIF, src: make flif; put it on the PATH)")
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "image.png", Path(folder) / "image.flif"
        for image in images * (255 if images.max() <= 1 else 1):
            picture(image).save(source)
            subprocess.run(
                ["flif", "-e", "-E100", "-N", "--overwrite", source, target], check=True, capture_output=True
            )
            total += target.stat().st_size
    return total


PEERS: dict[str, Encoder] = {
    "gzip -9": smallest(lambda stream: gzip.compress(stream, 9)),
    "bz2 -9": smallest(lambda stream: bz2.compress(stream, 9)),
    "xz -9e": smallest(lambda stream: lzma.compress(stream, preset=9 | lzma.PRESET_EXTREME)),
    "zstd -19": smallest(zstd),
}
"""General compressors, by name."""

IMAGE_FORMATS: dict[str, Encoder] = {"PNG": png, "WebP": webp, "JPEG XL": jpegxl, "FLIF": flif}
"""Image formats, by name; each image is a file."""

"""A folder of images, in any format Pillow reads; the folder's subfolders are the labels."""

from __future__ import annotations

import io
import math
import os
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lucid.data.found import Found, Options, check_memory, listing
from lucid.data.labels import as_labels

__all__ = ["PARTS", "decode_image", "parts_of", "pixels_of", "read_images"]

PARTS = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}
_MODES = {"L": "grey", "RGB": "rgb", "RGBA": "rgba"}
_PILLOW = {"grey": "L", "rgb": "RGB", "rgba": "RGBA"}
_DEPTH = {"grey": 1, "rgb": 3, "rgba": 4}
_CHOICE = "channels='grey', 'rgb' or 'rgba' (without 'rgba', transparency is left out, not blended)"
_ORIENTATION = 0x0112  # the EXIF tag; 5 to 8 swap height and width


@dataclass(frozen=True)
class _Header:
    size: tuple[int, int]  # height, width, as it is seen
    mode: str


def parts_of(folder: Path) -> dict[str, Path]:
    """The parts that a folder's subfolders are, if all are named as parts and "train" is among them; else none."""
    children = [child for child in sorted(folder.iterdir()) if not child.name.startswith(".")]
    if not children or not all(child.is_dir() and child.name in PARTS for child in children):
        return {}
    found = {PARTS[child.name]: child for child in children}
    if "train" not in found:
        return {}
    if len(found) < len(children):
        raise ValueError(f"{str(folder)!r} holds two folders for validation: {listing([c.name for c in children])}")
    return {name: found[name] for name in ("train", "validation", "test") if name in found}


def read_images(folder: Path, options: Options) -> Found:
    """All images of a folder and its subfolders, sorted by path.

    Names that start with a dot are passed over; any other file that is not an image is an error.
    """
    options.only("a folder of images", "resize", "crop", "channels", "labels")
    paths = _image_paths(folder)
    headers = [_header(path) for path in paths]
    channels = options.channels or _common_mode(folder, headers)
    size = options.resize or _common_size(folder, headers)
    shape = (len(paths), *size, _DEPTH[channels])
    check_memory(math.prod(shape), f"{len(paths)} images of {size[0]}×{size[1]} pixels")
    x = np.empty(shape, np.uint8)

    def decode(i: int) -> None:
        x[i] = _pixels(paths[i], channels, options).reshape(x.shape[1:])

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for _ in pool.map(decode, range(len(paths))):
            pass
    labels = options.labels if options.labels is not None else _folder_labels(folder, paths)
    return Found(
        name=folder.resolve().name,
        x=torch.from_numpy(x),
        labels=None if labels is None else as_labels(labels, len(paths)),
        kind="image",
        layout="NHWC",
        levels=256,
        described=str(folder),
    )


def _image_paths(folder: Path) -> list[Path]:
    from PIL import Image

    Image.init()
    endings = set(Image.registered_extensions())
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    other = [str(path.relative_to(folder)) for path in found if path.suffix.lower() not in endings]
    if other and len(other) < len(found):
        raise ValueError(f"files in {str(folder)!r} are not images ({len(other)}): {listing(other)}. Move them away")
    if not found or other:
        holds = f"it holds {listing(other, 4)}" if other else "it is empty"
        raise ValueError(f"there are no images in {str(folder)!r}: {holds}")
    return found


def _header(path: Path) -> _Header:
    from PIL import Image

    def read() -> _Header:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                _check_kind(image, repr(str(path)))
                width, height = image.size
                turned = image.getexif().get(_ORIENTATION, 1) >= 5
                return _Header((width, height) if turned else (height, width), image.mode)

    return _told(repr(str(path)), read)


def _check_kind(image: Any, what: object) -> None:
    if getattr(image, "n_frames", 1) > 1:
        raise ValueError(f"{what} holds several pictures; save the ones to use as single files")
    if image.mode.startswith(("I", "F")):
        raise ValueError(
            f"{what} has mode {image.mode}, more than 8 bits a channel: save such images as an array, .npy, and "
            "declare their levels="
        )


def _pixels(path: Path, channels: str, options: Options) -> np.ndarray[Any, Any]:
    from PIL import Image

    def read() -> np.ndarray[Any, Any]:
        with Image.open(path) as image:
            return _converted(image, channels, options)

    return _told(repr(str(path)), read)


def _converted(image: Any, channels: str, options: Options) -> np.ndarray[Any, Any]:
    from PIL import Image, ImageOps

    # Either step copies the image even where it has nothing to do.
    seen = ImageOps.exif_transpose(image) if image.getexif().get(_ORIENTATION, 1) != 1 else image
    seen = seen if seen.mode == _PILLOW[channels] else seen.convert(_PILLOW[channels])
    if options.resize is not None:
        height, width = options.resize
        fit = ImageOps.fit if options.crop else Image.Image.resize
        seen = fit(seen, (width, height), Image.Resampling.LANCZOS)
    return np.asarray(seen)


def decode_image(content: bytes, what: object, channels: str | None, options: Options) -> np.ndarray[Any, Any]:
    """The pixels of one image that is in memory, as in a folder of images, (height, width, depth).

    Args:
        content: The bytes of the file.
        what: Its `str` is what the image is called in an error.
        channels: "grey", "rgb" or "rgba"; None to take its own mode.
        options: Those of `load`: `resize` and `crop` apply.

    Raises:
        ValueError: If it cannot be read, or its mode is none of these three.
    """
    from PIL import Image

    def read() -> np.ndarray[Any, Any]:
        with Image.open(io.BytesIO(content)) as image:
            return _pixels_of(image, what, channels, options)

    return _told(what, read)


def pixels_of(image: Any, what: object, channels: str | None, options: Options) -> np.ndarray[Any, Any]:
    """The same of an image of Pillow's."""
    return _told(what, lambda: _pixels_of(image, what, channels, options))


def _pixels_of(image: Any, what: object, channels: str | None, options: Options) -> np.ndarray[Any, Any]:
    from PIL import Image

    # Pillow itself refuses twice as many pixels, and at once.
    if image.width * image.height > (Image.MAX_IMAGE_PIXELS or math.inf):
        raise Image.DecompressionBombError(f"{image.width}×{image.height} pixels")
    _check_kind(image, what)
    if channels is None and image.mode not in _MODES:
        raise ValueError(f"{what} has the mode {image.mode}. Say what to read it as: {_CHOICE}")
    pixels = _converted(image, channels or _MODES[image.mode], options)
    return pixels.reshape(*pixels.shape[:2], -1)


def _told(what: object, read: Any) -> Any:
    """What `read` returns; whatever Pillow raises on a damaged or hostile file becomes an error that names it."""
    from PIL import Image

    try:
        return read()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{what} is too large to be read safely: {error}") from error
    except (OSError, SyntaxError, EOFError) as error:
        raise ValueError(f"{what} cannot be read as an image: {error}") from error


def _common_size(folder: Path, headers: list[_Header]) -> tuple[int, int]:
    sizes = Counter(header.size for header in headers)
    if len(sizes) == 1:
        return headers[0].size
    told = listing([f"{h}×{w} ({count})" for (h, w), count in sizes.most_common()], 4)
    raise ValueError(
        f"the images in {str(folder)!r} have {len(sizes)} sizes (height×width): {told}. Give resize=(height, width), "
        "and crop='centre' to cut off what does not fit instead of changing the proportions"
    )


def _common_mode(folder: Path, headers: list[_Header]) -> str:
    modes = Counter(header.mode for header in headers)
    if len(modes) == 1 and headers[0].mode in _MODES:
        return _MODES[headers[0].mode]
    told = listing([f"{mode} ({count})" for mode, count in modes.most_common()])
    raise ValueError(f"the images in {str(folder)!r} have the modes {told}. Say what to read them as: {_CHOICE}")


def _folder_labels(folder: Path, paths: list[Path]) -> list[str] | None:
    """The first folder below `folder` on the way to each image; None if the images lie in `folder` itself."""
    tops = [path.relative_to(folder).parts for path in paths]
    loose = sum(len(parts) == 1 for parts in tops)
    if loose == len(paths):
        return None
    if loose:
        raise ValueError(
            f"{loose} images lie in {str(folder)!r} itself and {len(paths) - loose} in its subfolders: put all of "
            "them into subfolders, which are then their labels, or none"
        )
    return [parts[0] for parts in tops]

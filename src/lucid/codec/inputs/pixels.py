"""One picture: the levels of its pixels, and what else a PNG says, kept beside them."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lucid.codec.errors import CodecError
from lucid.codec.layout import DataLayout

__all__ = ["Picture", "check_how", "file_of", "picture_of", "said_of"]

_MODES = {1: ("L", "1"), 3: ("RGB",), 4: ("RGBA",)}
_LOSSLESS = ("PNG", "BMP", "PPM")  # what is compressed with loss would only grow
_NAMES = {"L": "grey", "1": "black and white", "RGB": "RGB", "RGBA": "RGBA"}

Pixels = npt.NDArray[np.int64]


class Picture(NamedTuple):
    """What was read.

    Attributes:
        levels: (C, H, W); None where the model has no such pictures.
        how: What it takes to make it again, plain JSON.
        reason: Why it does not fit.
    """

    levels: Pixels | None
    how: dict[str, Any]
    reason: str = ""


def said_of(data: DataLayout) -> str:
    """The pictures a model codes, in words.

    Raises:
        ValueError: If it codes none.
    """
    shape = data.shape
    if len(shape) != 3 or shape[0] not in _MODES or (data.levels or 256) > 256:
        what = "×".join(str(n) for n in shape)
        raise ValueError(
            f"the model codes {what} numbers an example{f' of {data.levels} levels' if data.levels else ''}, and "
            "pictures have 1, 3 or 4 channels of 8 bits: give an array, .npy"
        )
    return f"{shape[1]}×{shape[2]} (height×width), {' or '.join(_NAMES[mode] for mode in _MODES[shape[0]])}"


def picture_of(path: Path, data: DataLayout) -> Picture:
    """The levels of an image file, if it is one that the model codes and that comes back as the same pixels.

    Args:
        path: Any file.
        data: What the model codes.
    """
    from PIL import Image

    Image.init()
    if path.suffix.lower() not in Image.registered_extensions():
        return Picture(None, {}, "no image")
    try:
        with Image.open(path, formats=None) as image:
            reason = _unfit(image, data)
            if reason:
                return Picture(None, {}, reason)
            pixels = np.asarray(image)
            how: dict[str, Any] = {"mode": image.mode, "kept": _kept(image)}
    except (OSError, SyntaxError, EOFError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return Picture(None, {}, "it cannot be read")
    pixels = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)
    found = _levels(pixels.astype(np.int64), how["mode"], data.levels)
    if found is None:
        grid = ", ".join(str(n) for n in _spread(data.levels or 2)[:4])
        return Picture(None, {}, f"its greys are not those of {data.levels} levels, {grid}, …")
    levels, how["scale"] = found
    return Picture(levels, {name: value for name, value in how.items() if value})


def _unfit(image: Any, data: DataLayout) -> str:
    """Why a picture is none of the model's; "" if it is."""
    channels, height, width = data.shape
    if image.format not in _LOSSLESS:
        return f"{image.format} is compressed already, mostly with loss: as pixels it would grow"
    if getattr(image, "n_frames", 1) > 1:
        return "it holds several pictures"
    if (image.height, image.width) != (height, width):
        return f"it is {image.height}×{image.width}"
    if image.mode not in _MODES[channels] or "transparency" in image.info:
        return f"its mode is {image.mode}" + (" with transparency" if "transparency" in image.info else "")
    return ""


def _levels(pixels: Pixels, mode: str, levels: int | None) -> tuple[Pixels, str] | None:
    """Pixels as levels, and whether these were spread over 0 … 255; None if they are not on either grid."""
    if mode == "1":
        return (pixels, "whole") if levels in (2, None) else None
    if levels in (256, None):
        return pixels, "whole"
    spread = _spread(levels)
    nearest = np.searchsorted(spread, pixels).clip(max=levels - 1)
    if (spread[nearest] == pixels).all():
        return nearest, "spread"
    return (pixels, "whole") if pixels.max() < levels else None


@cache
def _spread(levels: int) -> Pixels:
    """The greys of L levels from black to white, as `lucid.data.write` makes them."""
    return np.round(np.arange(levels, dtype=np.float64) / (levels - 1) * 255).astype(np.int64)


def file_of(levels: Pixels, how: Mapping[str, Any], num_levels: int | None, target: Path) -> None:
    """Write the picture as a PNG of the same pixels.

    Args:
        levels: (C, H, W).
        how: As `picture_of` said.
        num_levels: Of the model.
        target: Where to.

    Raises:
        CodecError: If no picture has these levels.
    """
    from PIL import Image, PngImagePlugin

    pixels = _spread(num_levels or 256)[levels] if how["scale"] == "spread" else levels
    if pixels.size and pixels.max() > (1 if how["mode"] == "1" else 255):
        raise CodecError("the file holds levels that no picture has: it is damaged")
    pixels = pixels[0] if how["mode"] in ("L", "1") else np.moveaxis(pixels, 0, 2)
    image = Image.fromarray(np.ascontiguousarray(pixels.astype(bool if how["mode"] == "1" else np.uint8)))
    kept: Mapping[str, Any] = how.get("kept", {})
    info = PngImagePlugin.PngInfo()
    for name, text in kept.get("text", {}).items():
        info.add_itxt(name, text)
    if "gamma" in kept:
        info.add(b"gAMA", struct.pack(">I", kept["gamma"]))
    options: dict[str, Any] = {name: base64.b64decode(kept[name]) for name in ("icc_profile", "exif") if name in kept}
    if "dpi" in kept:
        options["dpi"] = tuple(kept["dpi"])
    image.save(target, format="PNG", pnginfo=info, **options)


def check_how(how: object, data: DataLayout) -> Mapping[str, Any]:
    """What a file says of a picture.

    Raises:
        CodecError: If it cannot be.
    """
    sound = isinstance(how, dict) and set(how) <= {"mode", "scale", "kept"}
    if sound and isinstance(how, dict):
        kept = how.get("kept", {})
        sound = (
            how.get("mode") in _MODES.get(data.shape[0], ())
            and how.get("scale") in ("whole", "spread")
            and not (how["scale"] == "spread" and data.levels is None)
            and isinstance(kept, dict)
            and all(_is_sound(name, value) for name, value in kept.items())
        )
        if sound:
            return how
    raise CodecError(f"the description of the inputs is damaged: of a picture it says {str(how)[:80]!r}")


def _is_sound(name: object, value: object) -> bool:
    if name in ("icc_profile", "exif"):
        return isinstance(value, str) and _is_base64(value)
    if name == "gamma":
        return type(value) is int and 0 <= value < 2**31
    if name == "dpi":
        return isinstance(value, list) and len(value) == 2 and all(type(n) is float and 0 < n < 1e7 for n in value)
    texts = isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
    return name == "text" and texts and isinstance(value, dict) and all(0 < len(key) < 80 for key in value)


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True


def _kept(image: Any) -> dict[str, Any]:
    """What a PNG says beside its pixels: colour profile, EXIF, resolution, gamma, texts."""
    info: Mapping[str, Any] = image.info
    kept: dict[str, Any] = {}
    for name in ("icc_profile", "exif"):
        if isinstance(info.get(name), bytes):
            kept[name] = base64.b64encode(info[name]).decode()
    if "dpi" in info:
        kept["dpi"] = [float(n) for n in info["dpi"]]
    if isinstance(info.get("gamma"), float):
        kept["gamma"] = round(info["gamma"] * 100_000)
    texts = {str(name): str(text) for name, text in getattr(image, "text", {}).items()}
    if texts:
        kept["text"] = texts
    return kept

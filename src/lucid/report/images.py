"""Images: reconstructions beside inputs, samples, interpolations, as tiles of the page."""

from __future__ import annotations

import base64
import io

import torch
from torch import Tensor
from torch.nn import functional as F

from lucid.report.look import Look
from lucid.report.markup import Html, element, void

__all__ = ["interpolations", "reconstructions", "samples"]

_CELL = 68
_LARGEST = 96
_STEPS = 9
_CONTENT, _GAP = 814, 10  # the width of a section's content on a laptop, and the gap between tiles, in CSS pixels


def reconstructions(look: Look) -> Html:
    """Pairs: the input above, its reconstruction below."""
    tones = _Tones(look)
    x = look.x[: tones.how_many(2)]
    pairs = zip(tones.tiles(x), tones.tiles(look.reconstruct(x)), strict=True)
    tiles = [element("div", above, below, class_="pair") for above, below in pairs]
    label = f"{len(tiles)} {look.part} images, each above its reconstruction"
    return element("div", *tiles, class_="tiles", style=tones.cell, role="img", aria_label=label)


def samples(look: Look, temperature: float) -> Html:
    """Means of p(x|z) for latents drawn from the priors."""
    tones = _Tones(look)
    tiles = tones.tiles(look.sample(tones.how_many(4), temperature=temperature))
    label = f"{len(tiles)} images the model made at temperature {temperature:g}"
    return element("div", *tiles, class_="tiles", style=tones.cell, role="img", aria_label=label)


def interpolations(look: Look) -> Html:
    """Rows that lead from one test image to another."""
    tones = _Tones(look)
    line = look.interpolate(5, _STEPS)
    rows = [
        element("div", *tones.tiles(line[:, i]), class_="strip", style=f"{tones.cell};--n:{_STEPS}")
        for i in range(line.shape[1])
    ]
    label = (
        f"{len(rows)} rows of {_STEPS} images, each leading from one {look.part} image's reconstruction to another's"
    )
    return element("div", *rows, class_="strips", role="img", aria_label=label)


class _Tones:
    """Model space as pixels: declared levels span black to white; continuous data, the range of the inputs shown."""

    def __init__(self, look: Look) -> None:
        self.look = look
        protocol = look.protocol
        self.low, self.high = 0.0, 1.0
        if protocol.levels is None and protocol.binarisation == "none":
            shown = look.raw(look.x[:64])
            self.low, self.high = float(shown.min()), float(shown.max())
        longest = max(protocol.shape[-2:])
        scale = max(1, round(_CELL / longest))
        self.magnified = longest <= _LARGEST
        width = protocol.shape[-1] * scale if self.magnified else round(_LARGEST * protocol.shape[-1] / longest)
        self.cell = f"--cell:{width}px"
        self.columns = max(1, (_CONTENT + _GAP) // (width + _GAP))

    def how_many(self, rows: int) -> int:
        """Images that fill this many rows of a laptop's page."""
        return rows * self.columns

    def tiles(self, x: Tensor) -> list[Html]:
        """One image element for each example."""
        return [self._tile(pixels) for pixels in self._bytes(x)]

    def _bytes(self, x: Tensor) -> Tensor:
        """(N, H, W, channels) bytes."""
        protocol = self.look.protocol
        if protocol.levels is None and protocol.binarisation == "none":
            x = (self.look.raw(x) - self.low) / max(self.high - self.low, 1e-12)
        x = x.detach().float().cpu()
        longest = max(x.shape[-2:])
        if longest > _LARGEST:
            size = [max(1, round(n * _LARGEST / longest)) for n in x.shape[-2:]]
            x = F.interpolate(x, size=size, mode="bilinear", antialias=True)
        channels = x.shape[1] if x.shape[1] in (1, 3, 4) else 1
        return (x[:, :channels].clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)

    def _tile(self, pixels: Tensor) -> Html:
        from PIL import Image

        array = pixels.squeeze(-1).numpy()
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, "PNG", optimize=True)
        source = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
        height, width = array.shape[:2]
        return void(
            "img", src=source, alt="", width=width, height=height, class_="tile px" if self.magnified else "tile"
        )

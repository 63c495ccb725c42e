"""Which axis is which: arrays as users hold them, examples as models see them (channels first)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lucid.data.found import Kind

__all__ = ["arrange", "restore"]

# N examples, C channels, H rows, W columns, T time steps.
_KINDS: dict[str, Kind] = {
    "NHW": "image",
    "NHWC": "image",
    "NCHW": "image",
    "NT": "series",
    "NCT": "series",
    "NTC": "series",
}
_CHANNELS = (1, 3, 4)


def arrange(x: Tensor, kind: Kind | None, layout: str | None) -> tuple[Tensor, Kind, str | None]:
    """Examples with channels first.

    Without `kind` and `layout` the rank decides: (N, D) is a vector, (N, H, W) a grey image, and of four dimensions the
    one with 1, 3 or 4 entries, last or second, holds the channels. Series must be named: (N, T) or (N, C, T).

    Args:
        x: Values, dimension 0 the examples.
        kind: "image", "series", "table", "vector" (which flattens each example), or None.
        layout: One letter a dimension: NHW, NHWC, NCHW, NT, NCT or NTC; None to infer it.

    Returns:
        The values as (N, C, H, W), (N, C, T) or (N, D), their kind, and the layout they had (None for flat ones).

    Raises:
        ValueError: If the shape does not fit what was said, or does not say enough.
    """
    shape = tuple(x.shape)
    if x.dim() < 2:
        raise ValueError(
            f"the data must be (examples, features, ...); received shape {shape}. For one number an example give "
            "x.reshape(-1, 1), for a single example x.reshape(1, -1)"
        )
    if kind not in (None, "image", "series", "table", "vector"):
        raise ValueError(f"kind must be 'image', 'series', 'table' or 'vector'; received {kind!r}")
    if x.numel() == 0:
        raise ValueError(f"the data is empty: its shape is {shape}. It must hold at least one example and one feature")
    if layout is None and kind in ("table", "vector"):
        if kind == "table" and x.dim() != 2:
            raise ValueError(f"a table is (rows, columns); received shape {shape}")
        return x.reshape(len(x), -1), kind, None
    if layout is None:
        layout = _infer(shape, kind)
        if layout is None:
            return x, "vector", None
    known = _KINDS.get(layout)
    if known is None:
        raise ValueError(f"layout must be one of {', '.join(_KINDS)}; received {layout!r}")
    if kind not in (None, known):
        raise ValueError(f"layout {layout!r} belongs to the kind {known!r}, and kind says {kind!r}: leave one out")
    if len(layout) != x.dim():
        raise ValueError(f"layout {layout!r} names {len(layout)} dimensions and the data has {x.dim()}: {shape}")
    if "C" not in layout:
        return x.unsqueeze(1), known, layout
    return x.movedim(layout.index("C"), 1).contiguous(), known, layout


def _infer(shape: tuple[int, ...], kind: Kind | None) -> str | None:
    """The layout that the rank says; None for vectors."""
    if kind is None and len(shape) == 2:
        return None
    if kind == "series":
        if len(shape) in (2, 3):
            return "NT" if len(shape) == 2 else "NCT"
        raise ValueError(f"a series is (examples, time) or (examples, channels, time); received shape {shape}")
    if len(shape) == 3:
        return "NHW"
    if len(shape) != 4:
        raise ValueError(
            f"an image is (examples, height, width), with channels last or second; received shape {shape}. Reshape "
            "the data, or give kind='vector' to flatten each example"
        )
    last, second = shape[3] in _CHANNELS, shape[1] in _CHANNELS
    if last != second:
        return "NHWC" if last else "NCHW"
    which = "either of two dimensions could" if last else "no dimension with 1, 3 or 4 entries can"
    raise ValueError(f"the data has shape {shape}, and {which} be the channels: give layout='NCHW' or layout='NHWC'")


def restore(x: Tensor, layout: str | None, shape: Sequence[int]) -> Tensor:
    """The inverse of `arrange`: examples (N, *shape) in the layout they had."""
    if layout not in _KINDS or len(shape) != (3 if _KINDS[layout] == "image" else 2):
        return x
    return x.squeeze(1) if "C" not in layout else x.movedim(1, layout.index("C"))

"""`write`: model outputs, in raw space, to the file that the ending names."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lucid.data.layout import restore
from lucid.io.files import whole_file
from lucid.models import DataProtocol
from lucid.models.coding import frame_of

__all__ = ["to_pixels", "write", "write_table"]

_GAP = 2  # pixels between the images of a sheet
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def write(
    values: Tensor,
    path: str | os.PathLike[str],
    protocol: DataProtocol | None = None,
    columns: Sequence[str] | None = None,
    labels: Sequence[object] | None = None,
    across: int | None = None,
) -> None:
    """Write values to a file, whole or not at all; an existing file is replaced.

    - .npy, .npz (array "x"): the array, in the layout the data had; for everything.
    - .csv, .parquet: one row an example, named columns; for tables, vectors, series of one channel, latents.
    - .png: one sheet of all images, row by row; for images.
    - none, or "/" at the end: a new folder with one PNG an example; for images.

    Pictures show level 0 as black and the highest as white (up to 256 levels, and exactly where there are 256);
    continuous images show 0 as black and 1 as white, or the range that scaling="unit" measured, and what lies outside
    as these.

    Args:
        values: `(N, *protocol.shape)` in raw space; without a protocol (N, D), for instance latents.
        path: Where to; the folder above it must exist.
        protocol: What the values are.
        columns: Column names for .csv and .parquet, where the protocol has none; by default x0, x1, ….
        labels: One an example, a last column "label" of .csv and .parquet; the other endings have no room for them.
        across: Images in a row of a .png sheet; None makes it about square.

    Raises:
        ValueError: If the ending makes no sense for the values, or the values do not fit the protocol.
        FileExistsError: If a folder of images is there already.
        OSError: If it cannot be written.

    Example:
        >>> import tempfile, torch
        >>> from lucid.data import write
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(torch.tensor([[0.5, 2.0]]), Path(folder) / "z.csv", columns=["z0", "z1"])
        ...     print((Path(folder) / "z.csv").read_text().strip())
        "z0","z1"
        0.5,2
    """
    file = Path(path)
    _check(values, protocol)
    if not file.absolute().parent.is_dir():
        raise FileNotFoundError(f"cannot write {str(path)!r}: there is no folder {str(file.absolute().parent)!r}")
    values = values.detach().cpu()
    if str(path).endswith(("/", os.sep)) or not file.suffix:
        _write_folder(values, file, protocol)
    elif file.suffix in (".npy", ".npz"):
        _write_array(values, file, protocol)
    elif file.suffix in (".csv", ".parquet"):
        _write_table(values, file, protocol, columns, labels)
    elif file.suffix == ".png":
        _write_sheet(values, file, protocol, across)
    else:
        raise ValueError(
            f"cannot write {str(path)!r}: the ending must be .npy, .npz, .csv, .parquet or .png, or none for a folder "
            "of PNGs"
        )


def _check(values: Tensor, protocol: DataProtocol | None) -> None:
    if not isinstance(values, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"values must be a tensor; received {type(values).__name__}")
    if values.dim() < 2 or len(values) == 0:
        raise ValueError(
            f"values must be (examples, features, ...) with at least one example; received {tuple(values.shape)}"
        )
    if protocol is not None and tuple(values.shape[1:]) != protocol.shape:
        raise ValueError(
            f"values have the shape {tuple(values.shape[1:])} an example; the protocol says {protocol.shape}"
        )


def _write_array(values: Tensor, path: Path, protocol: DataProtocol | None) -> None:
    if protocol is not None:
        values = restore(values, protocol.reading.get("layout"), protocol.shape)
    array = (values.float() if values.dtype == torch.bfloat16 else values).contiguous().numpy()
    with whole_file(path) as temporary, temporary.open("wb") as file:
        if path.suffix == ".npy":
            np.lib.format.write_array(file, array, allow_pickle=False)
        else:
            np.savez(file, allow_pickle=False, x=array)


def _write_table(
    values: Tensor,
    path: Path,
    protocol: DataProtocol | None,
    columns: Sequence[str] | None,
    labels: Sequence[object] | None,
) -> None:
    import pyarrow as pa

    if protocol is not None and protocol.kind == "series" and protocol.shape[0] == 1:
        values = values.flatten(1)
    if values.dim() != 2:
        kind = f"array of rank {values.dim()}" if protocol is None else protocol.kind
        instead = ".npy, .npz or .png" if kind == "image" else ".npy or .npz"
        article = "an" if kind[0] in "ai" else "a"
        raise ValueError(
            f"a {path.suffix} file holds one row of numbers an example, which {article} {kind} is not: write {instead}"
        )
    own = protocol.columns if protocol is not None else ()
    names = own or tuple(columns or (f"x{i}" for i in range(values.shape[1])))
    if len(names) != values.shape[1]:
        raise ValueError(f"columns must have {values.shape[1]} names, one a number; received {len(names)}")
    if protocol is not None and protocol.typed_columns:
        table = _as_there(protocol, protocol.raw_table(values))
    else:
        table = pa.table({name: values[:, i].numpy() for i, name in enumerate(names)})
    if labels is not None:
        table = table.append_column("label", pa.array(labels))
    write_table(table, path)


def write_table(table: Any, path: str | os.PathLike[str]) -> None:
    """Write a `pyarrow.Table` to a .csv or .parquet file, whole or not at all; an existing file is replaced.

    Raises:
        ValueError: If the ending is neither.
    """
    from pyarrow import csv, parquet

    file = Path(path)
    if file.suffix not in (".csv", ".parquet"):
        raise ValueError(f"cannot write a table to {str(path)!r}: the ending must be .csv or .parquet")
    with whole_file(file) as temporary:
        if file.suffix == ".csv":
            csv.write_csv(_plain(table), temporary)
        else:
            parquet.write_table(table, temporary)


def _as_there(protocol: DataProtocol, table: Any) -> Any:
    """A table that, where its columns come from pandas, brings their types there along: .parquet has room for them."""
    if not any(column.pandas for column in protocol.typed_columns) or importlib.util.find_spec("pandas") is None:
        return table
    import pyarrow as pa

    return pa.Table.from_pandas(frame_of(protocol.typed_columns, table), preserve_index=False)


def _plain(table: Any) -> Any:
    """A table without declared categories, for which .csv has no room: their values instead."""
    import pyarrow as pa

    for i, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(i, field.name, table.column(i).cast(field.type.value_type))
    return table


def _write_sheet(values: Tensor, path: Path, protocol: DataProtocol | None, across: int | None) -> None:
    pixels = to_pixels(values, protocol)
    count, height, width, depth = pixels.shape
    across = across or math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    sheet = np.full((down * (height + _GAP) - _GAP, across * (width + _GAP) - _GAP, depth), 255, np.uint8)
    for i, image in enumerate(pixels):
        top, left = (i // across) * (height + _GAP), (i % across) * (width + _GAP)
        sheet[top : top + height, left : left + width] = image
    _save_png(sheet, path)


def _write_folder(values: Tensor, folder: Path, protocol: DataProtocol | None) -> None:
    pixels = to_pixels(values, protocol)
    if folder.exists():
        raise FileExistsError(f"{str(folder)!r} is there already: name a new folder, or remove it")
    folder.mkdir()
    digits = len(str(len(pixels) - 1))
    for i, image in enumerate(pixels):
        _save_png(image, folder / f"{i:0{digits}d}.png")


def _save_png(pixels: np.ndarray[Any, Any], path: Path) -> None:
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels))
    with whole_file(path) as temporary:
        image.save(temporary, format="PNG")


def to_pixels(values: Tensor, protocol: DataProtocol | None) -> np.ndarray[Any, Any]:
    """Images in raw space as 8-bit pictures, (N, H, W, C), C being 1, 3 or 4; `write` says what is black and white.

    Raises:
        ValueError: If the values are not images, or nothing says which value is white.
    """
    if protocol is None or protocol.kind != "image":
        kind = "numbers" if protocol is None else f"a {protocol.kind}"
        raise ValueError(f"pictures are for images, and these are {kind}: write .npy, .npz, .csv or .parquet")
    if protocol.shape[0] not in _MODES:
        raise ValueError(f"a PNG has 1, 3 or 4 channels, and these images {protocol.shape[0]}: write .npy or .npz")
    low, high = _black_and_white(values, protocol)
    scaled = ((values.double() - low) / (high - low)).clamp(0, 1)
    return (scaled * 255).round().to(torch.uint8).movedim(1, 3).numpy()


def _black_and_white(values: Tensor, protocol: DataProtocol) -> tuple[float, float]:
    if protocol.levels is not None:
        if protocol.levels > 256:
            raise ValueError(f"a PNG of ours has 8 bits, and these images {protocol.levels} levels: write .npy or .npz")
        return 0.0, float(protocol.levels - 1)
    shift, scale = protocol.shift, protocol.scale
    if protocol.reading.get("scaling") == "unit" and not isinstance(shift, tuple) and not isinstance(scale, tuple):
        return shift, shift + scale
    outside = float(((values < 0) | (values > 1)).double().mean())
    if outside > 0.5:
        raise ValueError(
            f"nothing says which value is black and which white: of these continuous values {outside:.0%} lie outside "
            "[0, 1]. Write .npy or .npz, or load the data with scaling='unit' or levels="
        )
    return 0.0, 1.0

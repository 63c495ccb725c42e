"""Small shards for the tests: each example tells its number, so that what was seen can be counted."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

SHAPE = (4, 5)


def picture(number: int) -> np.ndarray:
    """A picture whose first two pixels are a number below 65,536."""
    x = np.full(SHAPE, 200, np.uint8)
    x[0, 0], x[0, 1] = number // 256, number % 256
    return x


def numbers(x) -> list[int]:
    """The numbers of a batch in model space."""
    raw = (x * 255).round().long().flatten(1)
    return (raw[:, 0] * 256 + raw[:, 1]).tolist()


def all_numbers(batches) -> list[int]:
    return [number for x in batches for number in numbers(x)]


def encoded(x: np.ndarray, ending: str) -> bytes:
    file = io.BytesIO()
    if ending == "npy":
        np.save(file, x)
    else:
        Image.fromarray(x).save(file, {"jpg": "jpeg"}.get(ending, ending))
    return file.getvalue()


def tar_of(path: Path, members: Sequence[tuple[str, bytes]], form: int = tarfile.USTAR_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def tar_shards(folder: Path, sizes: Sequence[int], ending: str = "npy", first: int = 0) -> int:
    """Shards of these sizes, their examples numbered from `first` on; each with a label beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard, size in enumerate(sizes):
        examples = [(f"{first + i:06d}", picture(first + i)) for i in range(size)]
        members = [
            (f"{name}.{kind}", content)
            for name, x in examples
            for kind, content in ((ending, encoded(x, ending)), ("cls", b"3"))
        ]
        tar_of(folder / f"part-{shard:04d}.tar", members)
        first += size
    return first


def parquet_shards(folder: Path, sizes: Sequence[int], form: str = "array", group: int = 7) -> int:
    """The same as parquet: a column of lists, of images, or one for each pixel."""
    folder.mkdir(parents=True, exist_ok=True)
    first = 0
    for shard, size in enumerate(sizes):
        x = [picture(first + i) for i in range(size)]
        label = pa.array([3] * size, pa.int64())
        if form == "array":
            flat = pa.array(np.concatenate([*x, np.empty(0, np.uint8)], axis=None), pa.uint8())
            table = pa.table({"x": pa.FixedSizeListArray.from_arrays(flat, 20)})
        elif form == "image":
            kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
            images = [{"bytes": encoded(one, "png"), "path": None} for one in x]
            table = pa.table({"image": pa.array(images, kind), "label": label})
        else:
            flat = np.array(x, np.uint8).reshape(size, 20)
            table = pa.table({f"p{i}": flat[:, i] for i in range(20)})
        parquet.write_table(table, folder / f"part-{shard:04d}.parquet", row_group_size=group)
        first += size
    return first

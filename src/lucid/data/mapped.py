"""Which arrays stay in their files, and memory maps, which do."""

from __future__ import annotations

import mmap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lucid.data.found import Found, Options, check_memory, memory_share
from lucid.data.labels import as_labels
from lucid.data.on_disk import DiskArray, Region
from lucid.data.values import as_tensor

__all__ = ["left_in_file", "read_mapped"]


def left_in_file(name: str, region: Region | None, options: Options) -> DiskArray | None:
    """An array that stays in its file: because the user says so, or because it is large. None for one to be read.

    Args:
        name: What it is called where progress is told.
        region: Where it lies; None where its examples cannot be read one by one.
        options: Of these, `in_memory`.

    Raises:
        ValueError: If it is to stay and cannot.
    """
    if region is None and options.in_memory is False:
        raise ValueError(
            "in_memory=False needs examples that lie one after another in the file, which those of "
            f"{name!r} do not: save the array in C order, np.save(path, np.ascontiguousarray(x))"
        )
    share = memory_share()
    large = region is not None and share is not None and region.num_bytes > share
    if region is None or options.in_memory or not (large or options.in_memory is False):
        if region is not None:
            check_memory(region.num_bytes, name)
        return None
    return DiskArray.of(name, region, progress=options.progress)


def read_mapped(source: np.memmap[Any, Any], options: Options) -> Found:
    """A memory map, left in its file; one whose examples cannot be read from there is taken as it is.

    Raises:
        ValueError: If it cannot be read from its file and is too large to be copied.
    """
    options.only("a memory map", "labels", "layout", "in_memory")
    region = _mapped_region(source)
    if region is not None and options.in_memory is None:
        options = replace(options, in_memory=False)
    x = left_in_file("array", region, options)
    if x is None:
        if not source.flags.c_contiguous or not source.flags.writeable:
            check_memory(source.nbytes, "a copy of the memory map")
        x = as_tensor(source, "the data")
    labels = None if options.labels is None else as_labels(options.labels, x.shape[0] if x.dim() else 0)
    return Found("array", x, labels)


def _mapped_region(source: np.memmap[Any, Any]) -> Region | None:
    """Where a memory map, or a slice of one, lies in its file; None if changes stay in memory or examples are split."""
    view: Any = source
    item, size = source.dtype.itemsize, 1
    for length, stride in zip(source.shape[:0:-1], source.strides[:0:-1], strict=True):
        if stride != size * item and length > 1:
            return None
        size *= length
    while isinstance(view, np.ndarray):
        view = view.base
    stride = source.strides[0] if source.ndim and source.shape[0] > 1 else size * item
    if not isinstance(view, mmap.mmap) or source.filename is None or source.mode == "c" or stride < size * item:
        return None
    if source.mode != "r":
        source.flush()
    start = np.frombuffer(view, np.uint8).__array_interface__["data"][0]
    # A map begins at a multiple of what the system maps at once, at or before the array's own offset.
    begin = source.offset - source.offset % mmap.ALLOCATIONGRANULARITY
    offset = begin + source.__array_interface__["data"][0] - start
    path = Path(source.filename)
    found = Region.at(path, offset, source.dtype, source.shape)
    return replace(found, stride=stride)

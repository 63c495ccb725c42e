"""Data: from a name, a path or an object to compact tensors, and from these to batches on the device."""

from __future__ import annotations

from lucid.data.conditions import tells_labels
from lucid.data.dataset import Dataset, load
from lucid.data.filling import impute, multiple_imputations
from lucid.data.like import load_like
from lucid.data.named import NAMES
from lucid.data.portions import Portion, Share
from lucid.data.split import Split
from lucid.data.writing import to_pixels, write, write_table

__all__ = [
    "NAMES",
    "Dataset",
    "Portion",
    "Share",
    "Split",
    "impute",
    "load",
    "load_like",
    "multiple_imputations",
    "tells_labels",
    "to_pixels",
    "write",
    "write_table",
]

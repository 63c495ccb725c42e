"""Data: from a name, a path or an object to compact tensors, and from these to batches on the device."""

from __future__ import annotations

from lucid.data.dataset import Dataset, load
from lucid.data.like import load_like
from lucid.data.named import NAMES
from lucid.data.portions import Portion, Share
from lucid.data.split import Split
from lucid.data.writing import to_pixels, write

__all__ = ["NAMES", "Dataset", "Portion", "Share", "Split", "load", "load_like", "to_pixels", "write"]

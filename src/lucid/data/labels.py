"""Labels as int64 codes: whole numbers stay what they are, text becomes its place among the sorted names."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lucid.data.found import listing

__all__ = ["as_labels", "encode"]


def as_labels(values: Any, num_examples: int, what: str = "labels") -> np.ndarray[Any, Any]:
    """Labels as an array with one entry an example.

    Args:
        values: An array, tensor, list or column of integers or text.
        num_examples: How many there must be.
        what: What they are called in an error.

    Raises:
        TypeError, ValueError: If they are neither integers nor text, or not one an example.
    """
    array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
    if array.dtype.kind == "O" and all(isinstance(value, str) for value in array.flat):
        array = array.astype(str)
    if array.shape != (num_examples,):
        raise ValueError(f"{what} must be one for each of {num_examples} examples; received shape {array.shape}")
    if array.dtype.kind == "f" and bool((array == np.round(array)).all()):
        array = array.astype(np.int64)
    if array.dtype.kind not in "biuUT":
        raise TypeError(f"{what} must be integers or text; received dtype {array.dtype}")
    return array


def encode(labels: np.ndarray[Any, Any] | None, classes: tuple[str, ...] = ()) -> tuple[Tensor | None, tuple[str, ...]]:
    """Labels as int64 codes, and the names of the codes where the labels are text.

    Args:
        labels: One an example, or None.
        classes: Names of the codes where they are fixed already.

    Raises:
        ValueError: If a text label is not among `classes`.
    """
    if labels is None:
        return None, classes
    if labels.dtype.kind not in "UT":
        return torch.from_numpy(labels.astype(np.int64)), classes
    names, codes = np.unique(labels, return_inverse=True)
    found = [str(name) for name in names]
    if classes:
        unknown = [name for name in found if name not in classes]
        if unknown:
            raise ValueError(f"unknown labels: {listing(unknown)}; the protocol knows {listing(list(classes))}")
        codes = np.array([classes.index(name) for name in found])[codes]
    return torch.from_numpy(codes.astype(np.int64)), classes or tuple(found)

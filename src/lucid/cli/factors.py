"""Factors of variation from a file, for the examples of a part and of all parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from lucid.cli.errors import UsageError
from lucid.data import Dataset, Split
from lucid.data.tables import open_table
from lucid.evaluation import Factors

__all__ = ["FactorsOf", "read_factors"]


class FactorsOf(NamedTuple):
    """Factors by example.

    Attributes:
        part: Of the part that is measured.
        parts: Of the train, validation and test examples; None where the file holds those of the part alone.
    """

    part: Factors
    parts: tuple[Factors, Factors, Factors] | None


def read_factors(file: str, split: Split, dataset: Dataset | None) -> FactorsOf:
    """The factors in a file with a row for each example of the part, or of all parts, in the order of the source.

    Args:
        file: .csv or .parquet, a column for each factor; or .npy, (N,) or (N, F).
        split: The part that is measured.
        dataset: All parts, where there are.

    Raises:
        UsageError: If the file is not one of these, or holds another number of rows.
    """
    found = _read(Path(file))
    parts = None if dataset is None else (dataset.train, dataset.validation, dataset.test)
    whole = None if parts is None or any(part.size is None for part in parts) else sum(len(part) for part in parts)
    if parts is not None and found.num_examples == whole and len(split) != whole:
        train, validation, test = (found.take(part.rows) for part in parts)
        return FactorsOf(found.take(split.rows), (train, validation, test))
    if found.num_examples == len(split):
        return FactorsOf(found, None)
    either = f", or {whole:,} for all parts" if whole is not None else ""
    raise UsageError(
        f"--factors {file} must have a row for each example: {len(split):,} for the {split.part} part{either}; it has "
        f"{found.num_examples:,}"
    )


def _read(path: Path) -> Factors:
    if path.suffix == ".npy":
        values = np.load(path, allow_pickle=False)
        return Factors(torch.as_tensor(values))
    if path.suffix not in (".csv", ".parquet"):
        raise UsageError(f"--factors takes a .csv, .parquet or .npy file; received {path}")
    table = open_table(path)
    columns = [_column(table.column(name), name) for name in table.column_names]
    return Factors(
        torch.stack([torch.as_tensor(values, dtype=torch.float64) for values, _ in columns], 1),
        names=list(table.column_names),
        continuous=[continuous for _, continuous in columns],
    )


def _column(column: Any, name: str) -> tuple[Any, bool]:
    """The values as numbers, and whether they are a quantity."""
    import pyarrow as pa

    if column.null_count:
        raise UsageError(f"--factors: the column {name!r} has {column.null_count} missing values")
    if pa.types.is_floating(column.type):
        return np.array(column.to_numpy()), True
    # Categories, whole numbers, truth: several values, by number.
    return np.unique(np.asarray(column.to_pylist()), return_inverse=True)[1], False

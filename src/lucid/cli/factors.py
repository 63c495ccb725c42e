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
    columns = _read(Path(file))
    count = len(columns[0].values)
    parts = None if dataset is None else (dataset.train, dataset.validation, dataset.test)
    whole = None if parts is None or any(part.size is None for part in parts) else sum(len(part) for part in parts)
    if parts is not None and count == whole and len(split) != whole:
        train, validation, test = (_factors(file, columns, part) for part in parts)
        return FactorsOf(_factors(file, columns, split), (train, validation, test))
    if count == len(split):
        return FactorsOf(_factors(file, columns, split, rows=False), None)
    either = f", or {whole:,} for all parts" if whole is not None else ""
    raise UsageError(
        f"--factors {file} must have a row for each example: {len(split):,} for the {split.part} part{either}; it has "
        f"{count:,}"
    )


class _Column(NamedTuple):
    """One factor: its name, its values as numbers, and whether they are a quantity."""

    name: str
    values: Any
    continuous: bool


def _factors(file: str, columns: list[_Column], part: Split, *, rows: bool = True) -> Factors:
    """The factors of a part's examples, of which each must be one that can be told."""
    place = part.rows.numpy() if rows else slice(None)
    taken = [column.values[place] for column in columns]
    for column, values in zip(columns, taken, strict=True):
        where, met = f"--factors {file}: {column.name}", len(np.unique(values))
        if not np.isfinite(values).all():
            raise UsageError(f"{where} has values that are not finite")
        if met < 2:
            raise UsageError(f"{where} takes one value only in the {part.part} part: leave it out")
        if not column.continuous and met > len(values) // 2:
            raise UsageError(
                f"{where} takes {met:,} values over {len(values):,} examples of the {part.part} part, too many to "
                "learn from examples of each: if it is a quantity, write it with decimals"
            )
    try:
        return Factors(
            torch.stack([torch.as_tensor(values, dtype=torch.float64) for values in taken], 1),
            names=[column.name for column in columns],
            continuous=[column.continuous for column in columns],
        )
    except ValueError as error:
        raise UsageError(f"--factors {file}: of the {part.part} part, {error}") from error


def _read(path: Path) -> list[_Column]:
    if path.suffix not in (".csv", ".parquet", ".npy"):
        raise UsageError(f"--factors takes a .csv, .parquet or .npy file; received {path}")
    if not path.is_file():
        raise UsageError(f"--factors: there is no file {path}")
    if path.suffix == ".npy":
        return _array(path)
    try:
        table = open_table(path)
        columns = [_column(table.column(name), name) for name in table.column_names]
    except (ValueError, OSError) as error:
        raise UsageError(f"--factors {path} cannot be read: {error}") from error
    if not columns or not len(columns[0].values):
        raise UsageError(f"--factors {path} holds no values")
    return columns


def _array(path: Path) -> list[_Column]:
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise UsageError(f"--factors {path} is not an array of numbers that NumPy wrote") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
        raise UsageError(f"--factors {path} must hold numbers; write words to a .csv file")
    if values.ndim not in (1, 2) or not values.size:
        raise UsageError(f"--factors {path} must be (examples, factors); its shape is {values.shape}")
    columns = values[:, None] if values.ndim == 1 else values
    quantity = values.dtype.kind == "f"
    return [_Column(f"factor {i}", columns[:, i], quantity) for i in range(columns.shape[1])]


def _column(column: Any, name: str) -> _Column:
    """The values as numbers, and whether they are a quantity."""
    import pyarrow as pa

    if column.null_count:
        raise UsageError(f"--factors: the column {name!r} has {column.null_count} missing values")
    if pa.types.is_floating(column.type):
        return _Column(name, np.array(column.to_numpy()), True)
    # Categories, whole numbers, truth: several values, by number.
    return _Column(name, np.unique(np.asarray(column.to_pylist()), return_inverse=True)[1], False)

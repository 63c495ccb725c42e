"""One column of a table: its levels, the column again, and how a .csv file writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lucid.codec.errors import CodecError
from lucid.codec.inputs.grid import missing, to_levels
from lucid.codec.layout import DataLayout
from lucid.distributions import Column
from lucid.models.coding import numbers_of

__all__ = ["Spelling", "column_of", "levels_of_column", "spelling_of"]

LevelsArray = npt.NDArray[np.int64]


def levels_of_column(values: Any, column: Column | None, data: DataLayout, what: str) -> LevelsArray:
    """The levels of a column, −1 where a value is missing.

    Args:
        values: An Arrow array.
        column: What the model knows of it; None of a table of complete numbers.
        data: What the model codes.
        what: What the table is called in an error.

    Raises:
        ValueError: If the model does not know a value.
    """
    import pyarrow as pa

    if column is not None:
        numbers = numbers_of(column, values)
        return np.where(np.isnan(numbers), missing, numbers).astype(np.int64)
    types = pa.types
    if not (types.is_integer(values.type) or types.is_floating(values.type) or types.is_boolean(values.type)):
        raise ValueError(f"the model codes tables of complete numbers; {what} has a column of {values.type}")
    if values.null_count:
        raise ValueError(
            f"the model codes complete numbers, and a column of {what} has {values.null_count} missing values: fill "
            "them in, or train on a table that has missing values too"
        )
    numbers = torch.from_numpy(np.array(values.to_numpy(), dtype=np.float64))
    return to_levels(numbers, "whole", data, what).numpy()


def column_of(field: Any, column: Column | None, levels: LevelsArray, nan: bool) -> Any:
    """An Arrow array of a field's type from its levels.

    Args:
        field: Of the table's schema.
        column: What the model knows of it.
        levels: −1 where a value is missing.
        nan: Whether that is NaN there, and no null.

    Raises:
        CodecError: If no column of this type has these levels.
    """
    import pyarrow as pa

    kind, absent = field.type, levels == missing
    codes = np.where(absent, 0, levels)
    categories = () if column is None else column.categories
    try:
        if nan:
            named = np.array(categories, dtype=np.float64) if categories else None
            numbers = np.where(absent, np.nan, codes if named is None else named[codes])
            return pa.array(numbers).cast(kind)
        if not categories:
            return pa.array(codes, mask=absent).cast(kind)
        indices = pa.array(codes, mask=absent)
        if pa.types.is_dictionary(kind):
            named = pa.array(list(categories)).cast(kind.value_type)
            return pa.DictionaryArray.from_arrays(indices.cast(kind.index_type), named, ordered=kind.ordered)
        return pa.array(list(categories)).take(indices).cast(kind)
    except (pa.ArrowException, ValueError, IndexError) as error:
        raise CodecError(f"the column {field.name[:80]!r} cannot hold what the file says: {str(error)[:80]}") from error


@dataclass(frozen=True)
class Spelling:
    """How a .csv file writes the levels of a column.

    Attributes:
        levels: Those that are written otherwise than as the number itself.
        written: Their texts.
    """

    levels: tuple[int, ...]
    written: tuple[str, ...]

    def texts(self, levels: LevelsArray) -> Any:
        """The cells of a column."""
        import pyarrow as pa

        said = dict(zip(self.levels, self.written, strict=True))
        distinct, places = np.unique(levels, return_inverse=True)
        return pa.array([said.get(int(level), str(level)) for level in distinct], pa.string()).take(pa.array(places))

    def to_json(self) -> list[Any]:
        """Plain JSON values."""
        return [list(self.levels), list(self.written)]

    @staticmethod
    def from_json(said: object) -> Spelling:
        """What a file says of it.

        Raises:
            CodecError: If that cannot be.
        """
        if isinstance(said, list) and len(said) == 2 and all(isinstance(part, list) for part in said):
            levels, written = said
            same = len(levels) == len(written) and all(isinstance(text, str) for text in written)
            if same and all(type(level) is int and missing <= level < 2**62 for level in levels):
                return Spelling(tuple(levels), tuple(written))
        raise CodecError("the description of the inputs is damaged: the text of a column")


def spelling_of(texts: Any, levels: LevelsArray, what: str) -> Spelling:
    """How a column is written.

    Args:
        texts: An Arrow array of its cells.
        levels: Of the same rows.
        what: What the table is called in an error.

    Raises:
        ValueError: If one value is written in two ways, such as 1 and 1.0: one of them would be lost.
    """
    distinct, first = np.unique(levels, return_index=True)
    import pyarrow.compute as pc

    compute: Any = pc
    written = texts.combine_chunks() if hasattr(texts, "combine_chunks") else texts
    own = written.take(_indices(first)).to_pylist()
    again = written.take(_indices(first[np.searchsorted(distinct, levels)]))
    if not written.equals(again):
        row = int(np.flatnonzero(~np.array(compute.equal(written, again)))[0])
        raise ValueError(
            f"in {what} one value is written as {again[row].as_py()!r} and, in row {row}, as {written[row].as_py()!r}: "
            "a file of levels can bring back one of them only. Write it in one way, or save the table as .parquet"
        )
    other = [(int(level), text) for level, text in zip(distinct, own, strict=True) if text != str(level)]
    return Spelling(tuple(level for level, _ in other), tuple(text for _, text in other))


def _indices(places: LevelsArray) -> Any:
    import pyarrow as pa

    return pa.array(places)

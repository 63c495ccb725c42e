"""`impute`: a table with missing values in, the same table with them filled in out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lucid.data.conditions import tells_labels
from lucid.data.like import load_like
from lucid.data.tables import open_table
from lucid.distributions import Column
from lucid.models import DataProtocol, Imputation, LatentModel
from lucid.models.coding import column_of

__all__ = ["impute", "multiple_imputations"]


def impute(
    model: LatentModel, source: Any, *, num_samples: int = 1000, seed: int = 0, labels: str | None = None
) -> Any:
    """Fill in the missing values of a table: the mean of numbers, the most probable of categories, given the others.

    Nothing else changes: observed values, columns the model does not know, order and types stay as they are.

    Args:
        model: Trained on a table of these columns.
        source: A table: of pandas, pyarrow or polars, or the path of a .csv or .parquet file.
        num_samples: Importance draws per row, as for `model.impute`.
        seed: Of the draws.
        labels: The column of labels that a conditional model is told; by default the one it was told in training.

    Returns:
        A table of the type that was given; of a path, a `pyarrow.Table`.

    Raises:
        ValueError: If the model is not one of a table, or the table does not fit it.

    Example:
        >>> import pandas as pd
        >>> from lucid import data, models
        >>> frame = pd.DataFrame({"size": [1.5, None, 2.5, 9.0] * 10, "kind": ["a", "b", None, "a"] * 10})
        >>> filled = data.impute(models.create("mlp", data.load(frame), size=1), frame, num_samples=10)
        >>> int(filled.isna().sum().sum()), filled.dtypes.equals(frame.dtypes)
        (0, True)
    """
    x, found = _imputation(model, source, labels, num_samples, 0, seed)
    return _with(_table_of(source), _protocol_of(model), x.isnan(), found.point.cpu())


def multiple_imputations(
    model: LatentModel,
    source: Any,
    num_draws: int,
    *,
    num_samples: int = 1000,
    seed: int = 0,
    labels: str | None = None,
) -> list[Any]:
    """Several tables whose missing values are drawn: run an analysis on each, and what is not known shows in it.

    All missing values of a row are drawn together, from their joint distribution given the observed ones.

    Args:
        model: As for `impute`.
        source: Likewise.
        num_draws: How many tables, at least 1.
        num_samples: Importance draws per row.
        seed: Of the draws.
        labels: As for `impute`.

    Raises:
        ValueError: As `impute`, or if `num_draws` is less than 1.
    """
    if num_draws < 1:
        raise ValueError(f"num_draws must be at least 1; received {num_draws}")
    x, found = _imputation(model, source, labels, num_samples, num_draws, seed)
    table = _table_of(source)
    return [_with(table, _protocol_of(model), x.isnan(), values) for values in found.draws.cpu()]


def _imputation(
    model: LatentModel, source: Any, labels: str | None, num_samples: int, num_draws: int, seed: int
) -> tuple[Tensor, Imputation]:
    """The rows of a table in model space, and what fills them."""
    protocol = _protocol_of(model)
    if model.condition is None and labels is not None:
        raise ValueError(f"this model is told no labels: leave labels={labels!r} out")
    if model.condition is not None:
        labels = labels or protocol.label or None
    split = load_like(source, protocol, labels=labels)
    x, device = split.tensor(), next(model.parameters()).device
    told = split.required_labels().to(device) if tells_labels(model, split) else None
    generator = torch.Generator(device).manual_seed(seed)
    return x, model.impute(x.to(device), num_samples, num_draws, generator=generator, condition=told)


def _protocol_of(model: LatentModel) -> DataProtocol:
    if model.protocol is None or not model.protocol.schema:
        raise ValueError(
            "impute fills in tables of several kinds of columns, and this model is of other data: train on a table "
            "with missing values, or say what its columns are, load(…, columns={'name': 'real', …})"
        )
    return model.protocol


def _table_of(source: Any) -> Any:
    return open_table(Path(source)) if isinstance(source, str | os.PathLike) else source


def _with(table: Any, protocol: DataProtocol, missing: Tensor, x: Tensor) -> Any:
    """A copy of a table with values in the places of the missing ones."""
    raw = protocol.to_data(x).double().numpy()
    columns = [(c, missing[:, i].numpy(), raw[:, i]) for i, c in enumerate(protocol.schema) if missing[:, i].any()]
    if type(table).__module__.split(".")[0] == "pandas":
        frame = table.copy()
        places = {str(name): i for i, name in enumerate(frame.columns)}
        for column, rows, values in columns:
            frame.iloc[rows.nonzero()[0], places[column.name]] = column_of(column, values[rows]).to_pylist()
        return frame
    import pyarrow as pa

    arrow = pa.table(table)
    for column, rows, values in columns:
        place = arrow.column_names.index(column.name)
        arrow = arrow.set_column(place, column.name, _filled(arrow.column(place), column, rows, values))
    return arrow if isinstance(table, pa.Table) else type(table)(arrow)


def _filled(values: Any, column: Column, rows: Any, raw: Any) -> Any:
    """An Arrow column whose missing values are taken from raw numbers."""
    import pyarrow as pa
    import pyarrow.compute

    compute: Any = pyarrow.compute  # whose functions are made at run time
    known = values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values
    made = column_of(column, raw)
    made = made.cast(made.type.value_type) if pa.types.is_dictionary(made.type) else made
    together = compute.if_else(pa.array(rows), made.cast(known.type, safe=False), known.combine_chunks())
    if not pa.types.is_dictionary(values.type):
        return together
    categories = pa.array(list(column.categories), type=known.type)
    indices = compute.index_in(together, categories).cast(values.type.index_type)
    return pa.DictionaryArray.from_arrays(indices, categories, ordered=values.type.ordered)

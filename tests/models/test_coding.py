"""Columns as raw numbers, in model space, and back in their own types."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import lucid
from lucid.distributions import Column
from lucid.models import DataProtocol
from lucid.models.coding import column_of, numbers_of, to_model_space, to_raw_space

NAN = math.nan
DAY = dt.date(2024, 2, 29)

CASES: dict[str, tuple[Column, pa.Array, list[float]]] = {
    "doubles": (Column("c", "real"), pa.array([1.5, None, -2.0]), [1.5, NAN, -2.0]),
    "float32": (Column("c", "real", dtype="float"), pa.array([1.5, None], pa.float32()), [1.5, NAN]),
    "int64 with missing values": (Column("c", "count", dtype="int64"), pa.array([3, None, 0]), [3, NAN, 0]),
    "int8": (Column("c", "real", dtype="int8", whole=True), pa.array([-3, 100], pa.int8()), [-3, 100]),
    "booleans": (
        Column("c", "binary", categories=(False, True), dtype="bool"),
        pa.array([True, None, False]),
        [1, NAN, 0],
    ),
    "text": (
        Column("c", "categorical", categories=("a", "b", "c"), dtype="string"),
        pa.array(["c", None, "a"]),
        [2, NAN, 0],
    ),
    "declared categories": (
        Column("c", "ordinal", categories=("S", "M", "L"), dtype="dictionary"),
        pa.DictionaryArray.from_arrays(pa.array([2, None, 0], pa.int32()), pa.array(["S", "M", "L"]), ordered=True),
        [2, NAN, 0],
    ),
    "numbers as steps": (
        Column("c", "ordinal", categories=(3.0, 4.0, 8.0), dtype="int64"),
        pa.array([8, None, 3]),
        [2, NAN, 0],
    ),
    "days": (Column("c", "real", dtype="date32[day]", whole=True), pa.array([DAY, None]), [19782, NAN]),
    "times": (
        Column("c", "real", dtype="timestamp[ns]"),
        pa.array([dt.datetime(1970, 1, 2, 6), None], pa.timestamp("ns")),  # noqa: DTZ001  as files have it
        [1.25, NAN],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_column_comes_back_as_it_was(name: str) -> None:
    column, values, expected = CASES[name]
    numbers = numbers_of(column, values)
    np.testing.assert_array_equal(numbers, expected)
    back = column_of(column, numbers)
    assert back.type == values.type
    assert back.to_pylist() == values.to_pylist()


@pytest.mark.parametrize(
    ("column", "raw", "expected"),
    [
        (Column("c", "categorical", categories=("a", "b")), [-3.0, 0.4, 0.6, 9.0], ["a", "a", "b", "b"]),
        (Column("c", "real", dtype="int8"), [1e6, -1e6, 2.5, 0.4], [127, -128, 2, 0]),
        (Column("c", "real", dtype="double", whole=True), [1.7], [2.0]),
        (Column("c", "real", dtype="date32[day]", whole=True), [19781.7], [DAY]),
    ],
)
def test_what_a_model_makes_goes_to_the_nearest_value_a_column_can_hold(
    column: Column, raw: list[float], expected: list[object]
) -> None:
    if column.categories:
        column = Column("c", column.kind, categories=column.categories, dtype="string")
    assert column_of(column, np.array(raw)).to_pylist() == expected


@pytest.mark.parametrize(
    ("column", "values", "text"),
    [
        (Column("c", "positive"), [1.0, 0.0], "the positive column 'c' takes numbers above 0; row 1 holds 0"),
        (Column("c", "count"), [1.0, 2.5], "the count column 'c' takes 0, 1, 2, …; row 1 holds 2.5"),
        (Column("c", "real"), [math.inf], "the real column 'c' takes finite numbers; row 0 holds inf"),
        (
            Column("c", "categorical", categories=("a", "b"), dtype="string"),
            ["a", "d", "e"],
            "the column 'c' holds 'd', 'e', which are not among its categories 'a', 'b'",
        ),
        (Column("c", "real"), ["x"], "the column 'c' is real and must hold numbers; it holds string"),
    ],
)
def test_values_a_column_cannot_hold_are_refused(column: Column, values: list[Any], text: str) -> None:
    with pytest.raises(ValueError, match=text.replace("…", ".")):
        numbers_of(column, pa.array(values))


SCHEMA = (
    Column("size", "real", shift=3.0, scale=2.0, pandas="float64"),
    Column("income", "positive", shift=7.0, scale=0.5, pandas="float64"),
    Column("visits", "count", dtype="int64", pandas="Int64"),
    Column("grade", "ordinal", categories=("C", "B", "A"), dtype="dictionary", pandas="category"),
)


def protocol(**options: Any) -> DataProtocol:
    names = tuple(column.name for column in SCHEMA)
    return DataProtocol(**{"name": "t", "kind": "table", "shape": (4,), "columns": names, "schema": SCHEMA, **options})


def test_model_space_is_as_each_column_says() -> None:
    raw = torch.tensor([[5.0, math.exp(8.0), 4.0, 2.0], [NAN, NAN, NAN, NAN]], dtype=torch.float64)
    x = protocol().to_model(raw)
    torch.testing.assert_close(x[0], torch.tensor([1.0, 2.0, 4.0, 2.0], dtype=torch.float64))
    assert x[1].isnan().all()
    torch.testing.assert_close(protocol().to_data(x), raw, equal_nan=True)
    draws = x.expand(3, -1, -1)
    assert to_raw_space(SCHEMA, draws).shape == (3, 2, 4)
    torch.testing.assert_close(to_model_space(SCHEMA, raw.expand(3, -1, -1)), draws, equal_nan=True)


def test_a_frame_has_its_types_back() -> None:
    frame = protocol().to_frame(torch.tensor([[1.0, 2.0, 4.4, 1.7], [0.0, 0.0, NAN, NAN]]))
    assert [str(kind) for kind in frame.dtypes] == ["float64", "float64", "Int64", "category"]
    assert frame["grade"].cat.ordered
    assert frame["grade"].cat.categories.tolist() == ["C", "B", "A"]
    assert frame["visits"].tolist() == [4, pd.NA]
    assert frame["grade"].iloc[0] == "A"
    assert frame["income"].iloc[1] == pytest.approx(math.exp(7.0))


def test_the_protocol_of_other_data_has_no_table() -> None:
    other = DataProtocol(name="v", kind="vector", shape=(4,))
    with pytest.raises(ValueError, match=r"a table of 'v' has the columns \(none\); received values of shape \(1, 4\)"):
        other.to_table(torch.zeros(1, 4))


def test_a_schema_speaks_for_itself() -> None:
    with pytest.raises(ValueError, match=r"schema describes 4 columns: shape must be \(4,\)"):
        protocol(shape=(3,))
    with pytest.raises(ValueError, match="the columns of a schema have levels, shift and scale of their own"):
        protocol(levels=3)
    described = "1 real, 1 positive, 1 count, 1 ordinal; likelihood of the observed values, in scaled units"
    assert protocol().describe() == f"t; table 4; {described}"


def test_it_survives_a_file() -> None:
    assert lucid.io.build(lucid.io.describe(protocol())) == protocol()

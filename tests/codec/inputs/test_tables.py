"""Tables come back with the same columns, types and values, and .csv files with the very cells."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.codec.inputs.plain_codec import PlainCodec, prepared, table

from lucid.codec.inputs import pack, unpack
from lucid.models import DataProtocol

FRAME = pd.DataFrame(
    {
        "rooms": [1, 2, 3, 2, 40, None] * 20,
        "heated": [True, False, True, True, False, True] * 20,
        "kind": ["flat", "house", None, "flat", "hut, small", "house"] * 20,
        "grade": pd.Categorical(["A", "B", "C", "A", None, "B"] * 20, ["C", "B", "A"], ordered=True),
        "stars": [1, 2, 3, 4, 5, 3] * 20,
        "price": [1.5, 2.25, 7.0, 1.0, 0.5, 3.0] * 20,
    }
)
KINDS = {"rooms": "count", "heated": "binary", "kind": "categorical", "stars": "ordinal", "price": "ignore"}
CODEC = table(FRAME, columns=KINDS)


def there_and_back(path: Path, codec: PlainCodec, **options: object) -> Path:
    file, back = path.with_name("a.lucid"), path.with_name("back" + path.suffix)
    pack(codec, [path], file, block_examples=7)
    unpack(file, back, codec=codec, **options)
    return back


def test_parquet_of_all_kinds_with_a_column_the_model_does_not_know(tmp_path: Path) -> None:
    FRAME.to_parquet(tmp_path / "x.parquet")
    back = there_and_back(tmp_path / "x.parquet", CODEC)
    ours, theirs = parquet.read_table(back), parquet.read_table(tmp_path / "x.parquet")
    assert ours.schema.equals(theirs.schema, check_metadata=True)
    assert ours.equals(theirs)
    pd.testing.assert_frame_equal(pd.read_parquet(back), FRAME)


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.uint16(), pa.float32(), pa.float64()])
def test_parquet_types_are_kept(kind: pa.DataType, tmp_path: Path) -> None:
    counts = pa.array([1, 2, 3, 2, 40, None] * 3, kind)
    kinds = pa.array(["flat", "house", None, "flat", "hut, small", "house"] * 3).dictionary_encode()
    others = pa.array(["text", None, "x"] * 6, pa.large_string())
    columns = {"others": others, "kind": kinds, "stars": pa.array([1, 2, 3] * 6, pa.int16()), "rooms": counts}
    columns |= {"grade": pa.array(["A", "B"] * 9), "heated": pa.array([True, False, None] * 6)}
    given = pa.table(columns)
    parquet.write_table(given, tmp_path / "x.parquet")
    back = parquet.read_table(there_and_back(tmp_path / "x.parquet", CODEC))
    read = parquet.read_table(tmp_path / "x.parquet")
    assert back.schema.equals(read.schema)
    assert all(decoded(back, name).equals(decoded(read, name)) for name in read.column_names)


def decoded(given: pa.Table, name: str) -> pa.ChunkedArray:
    column = given.column(name)
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def test_nan_and_null_are_told_apart(tmp_path: Path) -> None:
    codec = table(FRAME, columns={**KINDS, "heated": "ignore", "kind": "ignore", "grade": "ignore", "stars": "ignore"})
    for values in ([1.0, float("nan"), 3.0], [1.0, None, 3.0]):
        given = pa.table({"rooms": pa.array(values, pa.float64())})
        parquet.write_table(given, tmp_path / "x.parquet")
        back = parquet.read_table(there_and_back(tmp_path / "x.parquet", codec))
        assert back.column("rooms").null_count == given.column("rooms").null_count
        assert back.to_pydict().__repr__() == given.to_pydict().__repr__()
        for name in ("a.lucid", "back.parquet"):
            (tmp_path / name).unlink()
    parquet.write_table(pa.table({"rooms": pa.array([1.0, float("nan"), None])}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="cannot be given back exactly: it holds negative zeros, or both NaN and"):
        pack(codec, [tmp_path / "x.parquet"], tmp_path / "a.lucid")


CSV = '''rooms,name,heated,kind,stars,grade
1,"Smith, J",true,flat,1,A
02,O'Neill,false,house,2,B
40,,true,"hut, small",3,
,"says ""no""",true,flat,5,C
'''


def test_csv_comes_back_cell_by_cell(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(CSV)
    back = there_and_back(tmp_path / "x.csv", CODEC)
    assert cells(back) == cells(tmp_path / "x.csv")
    assert back.read_text() == CSV


def cells(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_some_rows(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(CSV)
    back = there_and_back(tmp_path / "x.csv", CODEC, examples=(1, 3))
    assert cells(back) == [cells(tmp_path / "x.csv")[i] for i in (0, 2, 3)]


def test_a_value_in_two_spellings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(CSV.replace("\n1,", "\n2,"))
    with pytest.raises(ValueError, match=r"one value is written as '2' and, in row 1, as '02'.*save the table as"):
        pack(CODEC, [tmp_path / "x.csv"], tmp_path / "a.lucid")
    assert not (tmp_path / "a.lucid").exists()


def test_complete_numbers_of_declared_levels(tmp_path: Path) -> None:
    protocol = DataProtocol("t", "table", (2,), levels=5, columns=("a", "b"))
    (tmp_path / "x.csv").write_text("b,id,a\n0,7,4\n3,8,1\n")
    back = there_and_back(tmp_path / "x.csv", prepared(protocol))
    assert back.read_text() == "b,id,a\n0,7,4\n3,8,1\n"
    for text, message in (
        ("b,a\n0,5\n", r"holds 5 in example 0; the model has 5 levels: whole numbers 0 … 4"),
        ("b,a\n0,\n1,2\n", "a column of .* has 1 missing values: fill them in"),
        ("b,c\n0,1\n", "the model codes tables with the columns 'a', 'b'; .* has no 'a'. Its columns are 'b', 'c'"),
        ("b,a\n0,x\n", "the model codes tables of complete numbers; .* has a column of string"),
    ):
        (tmp_path / "x.csv").write_text(text)
        with pytest.raises(ValueError, match=message):
            pack(prepared(protocol), [tmp_path / "x.csv"], tmp_path / "b.lucid")


def test_values_the_model_has_not_seen_are_refused(tmp_path: Path) -> None:
    for old, new, message in (
        ("flat", "tent", "the column 'kind' holds 'tent', which is not among its categories"),
        ("40", "4.5", "the count column 'rooms' takes 0, 1, 2, …; row 2 holds 4.5"),
        ("rooms", "sheds", "has no 'rooms'"),
    ):
        (tmp_path / "x.csv").write_text(CSV.replace(old, new))
        with pytest.raises(ValueError, match=message):
            pack(CODEC, [tmp_path / "x.csv"], tmp_path / "a.lucid")


def test_large_counts_are_exact(tmp_path: Path) -> None:
    frame = pd.DataFrame({"n": np.array([0, 1, 2**30 + 1, 2**31 - 2] * 10)})
    codec = table(pd.DataFrame({"n": [0, 5, 90, None] * 10}), columns={"n": "count"})
    frame.to_parquet(tmp_path / "x.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(there_and_back(tmp_path / "x.parquet", codec)), frame)

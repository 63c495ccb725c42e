"""Tables of several kinds of columns: what they are taken for, and that they come out as they went in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from pandas.testing import assert_frame_equal
from pyarrow import parquet

from lucid import data
from lucid.data import load, load_like
from lucid.models import VAE, create

N = 300


def frame(n: int = N, *, missing: float = 0.15) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    found = pd.DataFrame(
        {
            "height": rng.normal(170, 10, n),
            "income": np.exp(rng.normal(8, 1, n)),
            "year": rng.integers(1960, 2000, n),
            "visits": pd.array(rng.negative_binomial(1, 0.1, n), dtype="Int64"),
            "rating": rng.integers(1, 6, n).astype(float),
            "flag": rng.random(n) < 0.4,
            "sex": rng.choice(["f", "m"], n),
            "kind": rng.choice(["a", "b", "c"], n),
            "size": pd.Categorical(rng.choice(["S", "M", "L"], n), categories=["S", "M", "L"], ordered=True),
            "colour": pd.Categorical(rng.choice(["red", "blue", "green"], n)),
            "when": pd.to_datetime("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="D"),
        }
    )
    for name in found.columns:
        if name not in ("flag", "year"):
            found.loc[rng.random(n) < missing, name] = None
    return found


KINDS = {
    "height": "real",
    "income": "positive",
    "year": "real",
    "visits": "count",
    "rating": "ordinal",
    "flag": "binary",
    "sex": "binary",
    "kind": "categorical",
    "size": "ordinal",
    "colour": "categorical",
    "when": "real",
}


def kinds_of(found: data.Dataset) -> dict[str, str]:
    return {column.name: column.kind for column in found.protocol.schema}


def small(found: data.Dataset) -> VAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = create("mlp", found, size=1)
    assert isinstance(model, VAE)
    return model


def test_every_column_is_taken_for_what_it_is() -> None:
    found = load(frame())
    assert kinds_of(found) == KINDS
    size = found.protocol.schema[8]
    assert size.categories == ("S", "M", "L")
    assert found.protocol.schema[4].categories == (1.0, 2.0, 3.0, 4.0, 5.0)


def test_missing_values_are_missing_in_model_space_and_nothing_else_is() -> None:
    given = frame()
    found = load(given)
    x = found.train.tensor()
    rows = given.iloc[found.train.rows.numpy()]
    assert np.array_equal(x.isnan().numpy(), rows.isna().to_numpy())
    codes = rows["size"].cat.codes.to_numpy()
    assert np.array_equal(x[:, 8].nan_to_num(-1).numpy(), codes)


def test_numbers_are_standardised_on_the_observed_values_of_the_training_part() -> None:
    given = frame()
    found = load(given)
    train = given.iloc[found.train.rows.numpy()]
    height, income = found.protocol.schema[:2]
    assert (height.shift, height.scale) == pytest.approx((train["height"].mean(), train["height"].std(ddof=0)))
    log = np.log(train["income"])
    assert (income.shift, income.scale) == pytest.approx((log.mean(), log.std(ddof=0)))
    unit = load(given, scaling="unit").train.tensor()[:, :2]
    low, high = unit.nan_to_num(0.5).amin(0), unit.nan_to_num(0.5).amax(0)
    torch.testing.assert_close(torch.stack([low, high]), torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    plain = load(given, scaling="none").protocol.schema
    assert all((column.shift, column.scale) == (0.0, 1.0) for column in plain)


def test_a_frame_comes_out_as_it_went_in() -> None:
    given = frame()
    found = load(given)
    back = found.protocol.to_frame(found.train.tensor())
    # Numbers pass through float32: seven digits.
    assert_frame_equal(back, given.iloc[found.train.rows.numpy()].reset_index(drop=True), rtol=1e-5)


def test_samples_have_the_types_of_the_table() -> None:
    given = frame()
    model = small(load(given))
    assert model.protocol is not None
    made = model.protocol.to_frame(model.sample(20, noise=True, generator=torch.Generator().manual_seed(0)))
    assert made.dtypes.equals(given.dtypes)
    assert made["visits"].min() >= 0
    assert set(made["kind"]) <= {"a", "b", "c"}
    assert bool((made["when"] == made["when"].dt.normalize()).all())


def test_files_and_frames_are_the_same_table(tmp_path: Path) -> None:
    given = frame()
    given.to_csv(tmp_path / "t.csv", index=False)
    parquet.write_table(pa.Table.from_pandas(given), tmp_path / "t.parquet")
    sources: list[Any] = [given, pa.Table.from_pandas(given), tmp_path / "t.parquet"]
    first, *others = (load(source) for source in sources)
    for other in others:
        assert torch.equal(other.train.tensor().nan_to_num(-9), first.train.tensor().nan_to_num(-9))
    # A .csv file has no room for declared categories: theirs are those of the alphabet.
    from_csv = load(tmp_path / "t.csv", columns={"size": ["S", "M", "L"]})
    assert torch.equal(from_csv.train.tensor().nan_to_num(-9), first.train.tensor().nan_to_num(-9))
    assert from_csv.source is not None
    assert load(**from_csv.source).protocol == from_csv.protocol


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_what_is_written_is_read_again_the_same(tmp_path: Path, ending: str) -> None:
    found = load(frame())
    file = tmp_path / f"t.{ending}"
    data.write(found.train.raw, file, found.protocol)
    again = load_like(file, found.protocol)
    assert torch.equal(again.raw.nan_to_num(-9), found.train.raw.nan_to_num(-9))
    if ending == "parquet":
        assert pd.read_parquet(file).dtypes.equals(frame().dtypes)


def test_what_the_user_says_holds() -> None:
    said = {"year": "count", "rating": "real", "kind": ["c", "b", "a"], "colour": "ignore"}
    found = load(frame(), columns=said)
    assert kinds_of(found) == {
        **{name: kind for name, kind in KINDS.items() if name != "colour"},
        "year": "count",
        "rating": "real",
        "kind": "ordinal",
    }
    assert found.protocol.schema[7].categories == ("c", "b", "a")


def test_complete_numbers_stay_what_they_were_unless_they_are_described() -> None:
    given = frame()[["year", "flag"]]
    assert load(given).protocol.schema == ()
    assert kinds_of(load(given, columns={})) == {"year": "real", "flag": "binary"}
    assert kinds_of(load(given, columns={"flag": "ignore"})) == {"year": "real"}


def test_a_column_that_is_ignored_is_not_even_converted() -> None:
    given = frame()
    given["mixed"] = [1, "x"] * (N // 2)
    assert kinds_of(load(given, columns={"mixed": "ignore"})) == KINDS
    assert load(given, columns=["height", "kind"]).protocol.columns == ("height", "kind")


def test_a_label_is_not_data() -> None:
    given = frame()
    given["group"] = ["u", "v"] * (N // 2)
    found = load(given, labels="group")
    assert "group" not in found.protocol.columns
    assert found.protocol.classes == ("u", "v")
    assert found.train.labels is not None


def test_parts_of_their_own_share_the_training_part_s_columns() -> None:
    given = frame()
    found = load({"train": given.iloc[:200], "test": given.iloc[200:]}, validation=20)
    assert kinds_of(found) == KINDS
    assert (found.train.size, found.validation.size, found.test.size) == (180, 20, 100)


def test_further_rows_are_read_by_the_columns_that_are_known() -> None:
    found = load(frame())
    some = frame().iloc[:7][["kind", *[name for name in KINDS if name != "kind"]]]
    assert torch.equal(
        load_like(some, found.protocol).raw.nan_to_num(-9), load_like(frame(), found.protocol).raw[:7].nan_to_num(-9)
    )
    other = frame().iloc[:3].assign(kind="d")
    with pytest.raises(ValueError, match="the column 'kind' holds 'd', which is not among its categories 'a', 'b'"):
        load_like(other, found.protocol)


def test_a_table_is_filled_in_where_values_are_missing_and_nowhere_else() -> None:
    given = frame()
    given["note"] = [f"row {i}" for i in range(N)]
    model = small(load(given, columns={"note": "ignore"}))
    filled = data.impute(model, given, num_samples=20)
    assert filled.dtypes.equals(given.dtypes)
    assert list(filled.columns) == list(given.columns)
    assert not filled.isna().any().any()
    for name in given.columns:
        seen = given[name].notna()
        assert filled.loc[seen, name].equals(given.loc[seen, name])
    assert given.isna().any().any()  # and the table that was given is left as it is


def test_arrow_tables_and_files_are_filled_in_too(tmp_path: Path) -> None:
    given = frame()
    model = small(load(given))
    parquet.write_table(pa.Table.from_pandas(given, preserve_index=False), tmp_path / "t.parquet")
    expected = data.impute(model, given, num_samples=20)
    in_memory = pa.Table.from_pandas(given, preserve_index=False)
    for source, types in (
        (in_memory, in_memory.schema.types),
        (tmp_path / "t.parquet", parquet.read_table(tmp_path / "t.parquet").schema.types),
    ):
        filled = data.impute(model, source, num_samples=20)
        assert isinstance(filled, pa.Table)
        assert sum(column.null_count for column in filled.columns) == 0
        assert filled.schema.types == types
        assert_frame_equal(filled.to_pandas(), expected)


def test_several_imputations_differ_where_values_were_missing() -> None:
    given = frame()
    model = small(load(given))
    one, other = data.multiple_imputations(model, given, 2, num_samples=20)
    seen = given.notna()
    assert one["height"][seen["height"]].equals(other["height"][seen["height"]])
    assert not one["height"].equals(other["height"])
    with pytest.raises(ValueError, match="num_draws must be at least 1; received 0"):
        data.multiple_imputations(model, given, 0)


def test_a_model_of_other_data_fills_in_nothing() -> None:
    model = small(load(frame()[["height", "income"]].dropna()))
    with pytest.raises(ValueError, match="this model is of other data: train on a table with"):
        data.impute(model, frame())

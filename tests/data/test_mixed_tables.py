"""Tables of several kinds of columns: what they are taken for, and that they come out as they went in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from pandas.testing import assert_frame_equal
from pyarrow import parquet

import lucid
from lucid import data
from lucid.data import load, load_like
from lucid.distributions import HeteroscedasticGaussian, OptimalScaleGaussian
from lucid.models import VAE, Condition, DataProtocol, create

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


def kind_of(values: Any) -> str:
    return load(pd.DataFrame({"x": values}), columns={}).protocol.schema[0].kind


@pytest.mark.parametrize("seed", range(20))
def test_counts_are_open_above(seed: int) -> None:
    """A scale has no room for what follows the greatest value that was seen."""
    rng = np.random.default_rng(seed)
    for rate in (0.7, 1.0, 3.0):
        assert kind_of(rng.poisson(rate, N)) == "count"
    assert kind_of(rng.poisson(8.0, N)) in ("count", "real")  # which may start at 2
    assert kind_of(rng.negative_binomial(1, 0.3, N)) == "count"
    assert kind_of(rng.choice([0, 1, 2, 3], N, p=[0.7, 0.2, 0.08, 0.02])) == "count"


@pytest.mark.parametrize("seed", range(20))
def test_steps_of_a_scale_are_ordinal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert kind_of(rng.integers(0, 4, N)) == "ordinal"
    assert kind_of(rng.integers(1, 11, N)) == "ordinal"
    assert kind_of(rng.choice([1, 2, 3, 4, 5], N, p=[0.5, 0.3, 0.1, 0.07, 0.03])) == "ordinal"  # answers, few of them 5
    assert kind_of(rng.choice([3, 4, 5, 6, 7, 8], N, p=[0.01, 0.05, 0.4, 0.4, 0.12, 0.02])) == "ordinal"


def test_a_scale_has_no_gaps() -> None:
    x = [0, 1, 2, 4, 5] * 60
    said = load(pd.DataFrame({"x": x, "tens": [10, 20, 40] * 100}), columns={"x": "ordinal", "tens": "ordinal"})
    assert [column.categories for column in said.protocol.schema] == [(0, 1, 2, 3, 4, 5), (10, 20, 30, 40)]
    assert said.train.tensor()[:, 0].max() == 5
    assert kind_of(x) != "ordinal"
    with pytest.raises(ValueError, match=r"holds '14', .* trained with columns=\{'x': 'count'\}, or 'real', takes"):
        load_like(pd.DataFrame({"x": [14], "tens": [10]}), said.protocol)


def numbers() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "i": rng.integers(-5, 40, N),
            "b": rng.random(N) < 0.4,
            "y": rng.normal(size=N),
            "small": rng.integers(0, 9, N).astype(np.uint8),
            "half": rng.normal(size=N).astype(np.float32),
            "nullable": pd.array(rng.integers(0, 9, N), dtype="Int64"),
        }
    )


def test_complete_numbers_come_out_with_their_types(tmp_path: Path) -> None:
    given = numbers()
    found = load(given)
    assert found.protocol.schema == ()
    back = found.protocol.to_frame(found.train.tensor())
    assert_frame_equal(back, given.iloc[found.train.rows.numpy()].reset_index(drop=True), rtol=1e-5, atol=1e-6)
    model = small(found)
    assert isinstance(model.likelihood, OptimalScaleGaussian)  # types are a matter of the output
    made = model.protocol.to_frame(model.sample(50, noise=True)) if model.protocol else given
    assert made.dtypes.equals(given.dtypes)
    assert set(made["b"]) == {False, True}
    assert set(made["small"]) <= set(range(256))
    parquet_file, csv_file = tmp_path / "t.parquet", tmp_path / "t.csv"
    for file in (parquet_file, csv_file):
        data.write(found.protocol.to_data(model.sample(50, noise=True)), file, found.protocol)
    assert pd.read_parquet(parquet_file).dtypes.equals(given.dtypes)
    kinds = pd.read_csv(csv_file).dtypes
    assert [kinds[name].kind for name in ("i", "b", "y", "small", "nullable")] == ["i", "b", "f", "i", "i"]


def test_integers_are_rounded_and_booleans_cut_at_a_half() -> None:
    protocol = DataProtocol(
        name="t", kind="table", shape=(2,), columns=("i", "b"), dtypes=(("int64", ""), ("bool", ""))
    )
    table = protocol.to_table(torch.tensor([[2.6, 0.4], [-1.4, 0.6], [0.4, -3.0], [0.0, 3.0]]))
    assert table.to_pydict() == {"i": [3, -1, 0, 0], "b": [False, True, False, True]}
    with pytest.raises(ValueError, match="dtypes are one for each of the 2 columns"):
        DataProtocol(name="t", kind="table", shape=(2,), columns=("i", "b"), dtypes=(("int64", ""),))


def test_types_travel_with_the_model(tmp_path: Path) -> None:
    model = small(load(numbers()))
    lucid.save(model, tmp_path / "m")
    assert lucid.load(tmp_path / "m").protocol == model.protocol


@pytest.mark.parametrize(("mark", "categories", "gaps"), [("", ("FR", "NA"), 0), ("NA", ("FR", "IT"), 25)])
def test_text_is_missing_where_the_file_says_so(
    tmp_path: Path, mark: str, categories: tuple[str, ...], gaps: int
) -> None:
    """NA is Namibia in a file that leaves missing numbers empty, and no country in one that writes NA for them."""
    countries = ["NA", "FR", "FR" if mark == "" else "IT", "FR"]
    notes = ["", "N", "N/A", "N", "N/A"]
    rows = [f"{countries[i % 4]},{mark if i % 3 == 0 else i},{notes[i % 5]}" for i in range(100)]
    (tmp_path / "t.csv").write_text("\n".join(["country,size,note", *rows]))
    found = load(tmp_path / "t.csv")
    country, _, note = found.protocol.schema
    assert (country.categories, note.categories) == (categories, ("N", "N/A"))
    everything = load_like(tmp_path / "t.csv", found.protocol).raw
    assert everything.isnan().sum(0).tolist() == [gaps, 34, 20]


def test_a_conditional_model_is_told_the_labels_of_the_table() -> None:
    given = frame().drop(columns=["flag", "year", "sex", "size", "colour", "when", "income", "visits"])
    given["group"] = np.where(np.arange(N) % 2 == 0, "u", "v")
    found = load(given, labels="group")
    assert found.protocol.label == "group"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = create("topdown", found, size=1, condition=Condition(num_classes=2))
    told = torch.arange(N) % 2
    further = load_like(given, found.protocol)
    generator = torch.Generator().manual_seed(0)
    expected = model.impute(further.tensor(), 4, generator=generator, condition=told).point
    filled = data.impute(model, given, num_samples=4)
    assert not filled.isna().any().any()
    seen = given["height"].notna()
    torch.testing.assert_close(
        torch.tensor(filled["height"].to_list()).double(), found.protocol.to_data(expected)[:, 0], rtol=1e-5, atol=1e-4
    )
    assert filled["height"][seen].equals(given["height"][seen])
    renamed = given.rename(columns={"group": "other"})
    assert (
        data.impute(model, renamed, num_samples=4, labels="other")
        .drop(columns="other")
        .equals(filled.drop(columns="group"))
    )
    with pytest.raises(ValueError, match="labels= names 'group'; the table has the columns"):
        data.impute(model, renamed, num_samples=4)
    with pytest.raises(ValueError, match="this model is told no labels: leave labels='group' out"):
        data.impute(small(load(given, labels="group")), given, labels="group")
    model.protocol = replace(found.protocol, label="")
    with pytest.raises(ValueError, match="the label of each example, and the data has none: name them"):
        data.impute(model, given)


def test_a_likelihood_of_numbers_is_not_for_categories() -> None:
    found = load(frame())
    with pytest.raises(ValueError, match="HeteroscedasticGaussian takes complete numbers, and 'table' has columns of"):
        create("mlp", found, size=1, likelihood=HeteroscedasticGaussian())

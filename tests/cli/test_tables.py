"""A table with missing values and text, from file to file, on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.cli.conftest import Lucid


@pytest.fixture
def people(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    n = 120
    frame = pd.DataFrame(
        {
            "height": rng.normal(170, 10, n).round(1),
            "sex": rng.choice(["f", "m"], n),
            "children": rng.integers(0, 4, n),
            "name": [f"person {i}" for i in range(n)],
            "size": rng.choice(["S", "M", "L"], n),
        }
    )
    for column in ("height", "sex", "size"):
        frame.loc[rng.random(n) < 0.2, column] = None
    frame.to_csv(tmp_path / "people.csv", index=False)
    return tmp_path / "people.csv"


def test_from_a_table_with_gaps_to_a_full_one(lucid: Lucid, people: Path) -> None:
    folder = people.parent
    said = lucid(
        *("train", people, "--out", folder / "run", "--steps", 20, "--size", 1, "--quiet"),
        *("--columns", "name=ignore,size=S<M<L"),
    )
    assert said.code == 0, said.err
    assert (folder / "run" / "report.html").is_file()  # which draws each column as what it is
    assert lucid("evaluate", folder / "run", "--num-samples", 2, "--no-report").code == 0

    said = lucid("impute", folder / "run", people, "--out", folder / "full.csv", "--num-samples", 5)
    assert (said.code, said.out) == (0, f"120 rows: {folder / 'full.csv'}\n")
    given, full = pd.read_csv(people), pd.read_csv(folder / "full.csv")
    assert not full.isna().any().any()
    assert full.dtypes.equals(given.dtypes)
    assert full.where(given.notna()).equals(given)

    said = lucid("impute", folder / "run", people, "--out", folder / "m.parquet", "--num-samples", 5, "--draws", 3)
    assert said.out.startswith("360 rows")
    drawn = pd.read_parquet(folder / "m.parquet")
    assert drawn["imputation"].value_counts().to_dict() == {1: 120, 2: 120, 3: 120}

    said = lucid("sample", folder / "run", "--num", 30, "--noise", "--out", folder / "samples.csv")
    assert said.code == 0, said.err
    samples = pd.read_csv(folder / "samples.csv")
    assert samples.dtypes.equals(given.drop(columns="name").dtypes)
    assert set(samples["size"]) <= {"S", "M", "L"}

    again = lucid("train", "--config", folder / "run" / "run.json", "--out", folder / "again", "--quiet", "--no-report")
    assert again.code == 0, again.err  # what the columns are is written down


def test_misuse_is_told(lucid: Lucid, people: Path) -> None:
    folder = people.parent
    said = lucid("train", people, "--out", folder / "run", "--steps", 2, "--quiet")
    assert said.code == 1
    assert "'name' holds 120 different texts in 120 rows" in said.err
    said = lucid("train", people, "--out", folder / "run", "--columns", "height,sex=binary")
    assert (said.code, "either names, A,B, or what columns are, A=count,B=real" in said.err) == (2, True)
    said = lucid("impute", folder / "run", people, "--out", folder / "full.npy")
    assert (said.code, "the ending must be .csv or .parquet" in said.err) == (2, True)
    said = lucid("impute", folder / "run", people, "--out", folder / "full.csv", "--draws", 0)
    assert (said.code, "--draws must be at least 1" in said.err) == (2, True)


def test_one_likelihood_is_not_for_columns_of_several_kinds(lucid: Lucid, people: Path) -> None:
    said = lucid(
        *("train", people, "--out", people.parent / "r", "--steps", 2, "--columns", "name=ignore"),
        *("--likelihood", "laplace"),
    )
    assert said.code == 2
    assert "people has columns of several kinds, or missing values" in said.err
    assert "leave --likelihood laplace out" in said.err


def test_columns_are_described_in_the_words_of_the_command_line(lucid: Lucid, people: Path) -> None:
    said = lucid("train", people, "--out", people.parent / "r", "--columns", "name=ignore,children=counts")
    assert said.code == 2
    assert "--columns: 'children=counts': a column is real, positive, count, binary" in said.err


def test_a_model_of_complete_numbers_imputes_nothing(lucid: Lucid, people: Path) -> None:
    folder = people.parent
    rng = np.random.default_rng(0)
    pd.DataFrame({"a": rng.normal(size=60), "n": rng.integers(0, 9, 60)}).to_csv(folder / "n.csv", index=False)
    train = ("train", folder / "n.csv", "--steps", 2, "--size", 1, "--quiet", "--no-report")
    assert lucid(*train, "--out", folder / "r").code == 0
    said = lucid("impute", folder / "r", folder / "n.csv", "--out", folder / "f.csv")
    assert said.code == 2
    assert "lucid train TABLE --columns NAME=real" in said.err
    assert lucid("sample", folder / "r", "--num", 9, "--out", folder / "s.csv").code == 0
    assert [kind.kind for kind in pd.read_csv(folder / "s.csv").dtypes] == ["f", "i"]


def test_a_conditional_model_imputes(lucid: Lucid, people: Path) -> None:
    folder = people.parent
    said = lucid(
        *("train", people, "--out", folder / "run", "--steps", 2, "--size", 1, "--quiet", "--no-report"),
        *("--columns", "name=ignore,sex=ignore", "--label", "children"),
        *("--model", "topdown", "--condition", "labels", "--batch-size", 8),
    )
    assert said.code == 0, said.err
    impute = ("impute", folder / "run", "--num-samples", 3, "--out", folder / "full.csv")
    said = lucid(*impute, people)
    assert said.code == 0, said.err
    assert not pd.read_csv(folder / "full.csv").drop(columns="sex").isna().any().any()
    pd.read_csv(people).rename(columns={"children": "young"}).to_csv(folder / "other.csv", index=False)
    assert "'children'" in lucid(*impute, folder / "other.csv").err
    assert lucid(*impute, folder / "other.csv", "--label", "young").code == 0


@pytest.mark.parametrize("likelihood", ["poisson", "negative-binomial"])
def test_counts_are_trained_as_they_are(lucid: Lucid, tmp_path: Path, likelihood: str) -> None:
    counts = np.random.default_rng(0).poisson(3, (60, 4))
    np.save(tmp_path / "counts.npy", counts)
    pd.DataFrame(counts, columns=list("abcd")).to_csv(tmp_path / "counts.csv", index=False)
    options = ("--likelihood", likelihood, "--steps", 2, "--size", 1, "--quiet", "--no-report")
    for file in ("counts.npy", "counts.csv"):
        run = tmp_path / f"{file}-run"
        said = lucid("train", tmp_path / file, *options, "--out", run)
        assert said.code == 0, said.err
        said = lucid("train", "--resume", run, "--steps", 4, "--quiet", "--no-report")
        assert said.code == 0, said.err
    for option, value in (("--levels", 20), ("--scaling", "unit")):
        said = lucid("train", tmp_path / "counts.npy", *options, "--out", tmp_path / "r", option, value)
        assert (said.code, f"counts 0, 1, 2, … as they are: leave {option} out" in said.err) == (2, True)

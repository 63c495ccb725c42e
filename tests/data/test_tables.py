"""Tables from files and from memory: columns, labels, standardising, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from lucid.data import load


def frame(n: int = 50) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "length": rng.normal(50, 7, n),
            "count": rng.integers(0, 9, n),
            "flag": rng.random(n) < 0.5,
            "species": rng.choice(["setosa", "virginica"], n),
        }
    )


def sources(tmp_path: Path) -> dict[str, Any]:
    table = frame()
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_parquet(tmp_path / "t.parquet", index=False)
    return {
        "csv": tmp_path / "t.csv",
        "parquet": tmp_path / "t.parquet",
        "pandas": table,
        "arrow": pa.Table.from_pandas(table),
    }


@pytest.mark.parametrize("kind", ["csv", "parquet", "pandas", "arrow"])
def test_every_way_to_a_table_gives_the_same(tmp_path: Path, kind: str) -> None:
    data = load(sources(tmp_path)[kind], labels="species")
    protocol = data.protocol
    assert protocol.kind == "table"
    assert protocol.columns == ("length", "count", "flag")
    assert protocol.classes == ("setosa", "virginica")
    rows = data.train.rows.numpy()
    expected = frame()[["length", "count", "flag"]].to_numpy(float)
    assert np.array_equal(data.train.raw.numpy(), expected[rows])
    x = data.train.tensor().double()
    torch.testing.assert_close(x.mean(0), torch.zeros(3).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(x.std(0, correction=0), torch.ones(3).double(), atol=1e-6, rtol=0)
    assert data.train.labels is not None
    assert data.train.labels.tolist() == [int(s == "virginica") for s in frame()["species"].to_numpy()[rows]]


def test_columns_choose_and_order(tmp_path: Path) -> None:
    data = load(sources(tmp_path)["csv"], columns=["count", "length"], scaling="none")
    assert data.protocol.columns == ("count", "length")
    assert (data.protocol.shift, data.protocol.scale) == (0.0, 1.0)
    assert data.source == {
        "source": str(tmp_path / "t.csv"),
        "scaling": "none",
        "columns": ["count", "length"],
    }
    assert load(**data.source).protocol == data.protocol


def test_a_table_of_levels() -> None:
    data = load(frame()[["count"]], levels=9)
    assert data.protocol.levels == 9
    assert data.train.raw.dtype == torch.uint8


def test_a_frame_s_index_is_not_data() -> None:
    table = frame().set_index("species")
    assert load(table).protocol.columns == ("length", "count", "flag")


def test_numbered_columns_are_named_by_their_numbers() -> None:
    assert load(pd.DataFrame(np.random.default_rng(0).normal(size=(20, 2)))).protocol.columns == ("0", "1")

"""`lucid impute`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lucid import data
from lucid.cli.errors import UsageError
from lucid.cli.opening import open_model, protocol_of

__all__ = ["impute"]


def impute(args: argparse.Namespace) -> int:
    """Fill in the missing values of a table."""
    out = Path(args.out)
    if out.suffix not in (".csv", ".parquet"):
        raise UsageError(f"--out {out}: the ending must be .csv or .parquet")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.absolute().parent}")
    for option, value in (("--num-samples", args.num_samples), ("--draws", args.draws)):
        if value is not None and value < 1:
            raise UsageError(f"{option} must be at least 1; received {value}")
    model = open_model(args.folder)
    protocol = protocol_of(model, args.folder)
    if not protocol.schema:
        raise UsageError(
            f"{args.folder} is a model of {protocol.name}, complete data of one kind: impute needs one that was "
            "trained on a table with missing values, or whose columns were described, lucid train TABLE --columns "
            "NAME=real,…"
        )
    if args.labels is not None and model.condition is None:
        raise UsageError("the model is told no labels: leave --label out")
    settings: dict[str, Any] = {"num_samples": args.num_samples, "seed": args.seed, "labels": args.labels}
    if args.draws is None:
        table = data.impute(model, args.data, **settings)
    else:
        table = _one_below_the_other(data.multiple_imputations(model, args.data, args.draws, **settings))
    data.write_table(table, out)
    print(f"{table.num_rows} rows: {out}")
    return 0


def _one_below_the_other(tables: list[Any]) -> Any:
    """All imputations in one table, a first column saying which."""
    import pyarrow as pa

    numbered = [
        table.add_column(0, "imputation", pa.array([number] * table.num_rows, pa.int32()))
        for number, table in enumerate(tables, start=1)
    ]
    return pa.concat_tables(numbered)

"""Tables of mixed columns with missing values: held-out density beside a Gaussian mixture, imputation beside
scikit-learn's IterativeImputer.

    python benchmarks/tables.py [--sets penguins cars movies] [--seeds 3] [--steps 1500] [--hidden 0.2] [--json FILE]

Density: the columns of numbers alone, in the standardised units of the data (positive ones in the logarithm), nats per
row. The mixture (1 to 12 components, four kinds of covariance, chosen by BIC) is fitted to the complete rows of
training and validation; ours trains on the training rows, incomplete ones too, and chooses its step on the validation
rows. Both are asked for the same complete rows of the test part; ours answers with IW-1000, a lower bound.

Imputation: a share of the observed values of the whole table is hidden at random, each method sees the rest, and is
asked for the hidden values. Errors of numbers are in units of the column's standard deviation. The IterativeImputer
(BayesianRidge, as it comes) sees K categories as K − 1 indicators (with all K it never leaves its first guess: each is
one minus the others), and the greatest of the filled-in numbers, the last being what the others lack of 1, is its
category.

Data: penguins (palmerpenguins), cars (vega-datasets), and movies (vega-datasets; the file
$LUCID_DATA/tables/movies.json, or the network). Each figure is a mean over the seeds ± its standard error.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # pyright: ignore[reportUnusedImport]
from sklearn.impute import IterativeImputer
from sklearn.mixture import GaussianMixture

from lucid import data, models
from lucid.distributions import Column
from lucid.training import fit

Frame = pd.DataFrame


def penguins() -> tuple[Frame, dict[str, Any]]:
    """344 penguins; 2 without any measure, 11 without sex."""
    from palmerpenguins import load_penguins

    return load_penguins(), {"year": "ordinal"}


def cars() -> tuple[Frame, dict[str, Any]]:
    """406 cars of 1970 to 1982; consumption or power of some is not known."""
    from vega_datasets import local_data

    return local_data.cars(), {"Name": "ignore"}


def movies() -> tuple[Frame, dict[str, Any]]:
    """3,201 films; running time is known of four in ten, ratings of most, takings on DVD of few."""
    file = Path(os.environ.get("LUCID_DATA", "~/.cache/lucid")).expanduser() / "tables" / "movies.json"
    if file.is_file():
        frame = pd.DataFrame(json.loads(file.read_text(encoding="utf-8")))
    else:
        from vega_datasets import data as remote

        frame = remote.movies()
    for name in ("US Gross", "Worldwide Gross"):
        frame[name] = frame[name].where(frame[name] > 0)  # takings of nothing are takings that nobody knows
    left_out = ("Title", "Director", "Distributor", "Release Date", "US DVD Sales")
    return frame.drop(columns=[name for name in left_out if name in frame]), {}


SETS: dict[str, Callable[[], tuple[Frame, dict[str, Any]]]] = {"penguins": penguins, "cars": cars, "movies": movies}


def trained(dataset: data.Dataset, steps: int, seed: int) -> models.LatentModel:
    """The preset as it comes; the step of the best validation."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = models.create("mlp", dataset)
    return fit(model, dataset, steps=steps, seed=seed, validate_every=100, progress=False).model


def density(frame: Frame, kinds: dict[str, Any], steps: int, seed: int) -> dict[str, float]:
    """Held-out log-density of the numbers of complete rows."""
    schema = data.load(frame, columns=kinds, seed=seed).protocol.schema
    numbers = {c.name: c.kind for c in schema if c.kind in ("real", "positive")}
    found = data.load(frame[list(numbers)], columns=numbers, validation=0.1, test=0.2, seed=seed)
    train, validation, test = (part.tensor() for part in (found.train, found.validation, found.test))
    known = torch.cat([train, validation])
    known, asked = (x[~x.isnan().any(1)] for x in (known, test))
    began = time.perf_counter()
    mixture = chosen_mixture(known.double().numpy(), seed)
    of_mixture = time.perf_counter() - began
    model = trained(found, steps, seed)
    estimate = model.log_likelihood(asked, 1000, generator=torch.Generator().manual_seed(seed))
    return {
        "rows": len(asked),
        "columns": len(numbers),
        "mixture": float(mixture.score(asked.double().numpy())),
        "ours": float(estimate),
        "mixture seconds": of_mixture,
        "ours seconds": time.perf_counter() - began - of_mixture,
    }


def chosen_mixture(x: np.ndarray[Any, Any], seed: int) -> GaussianMixture:
    """The Gaussian mixture of the lowest BIC."""
    fitted = [
        GaussianMixture(k, covariance_type=covariance, n_init=2, random_state=seed).fit(x)
        for k in range(1, 13)
        for covariance in ("full", "tied", "diag", "spherical")
    ]
    return min(fitted, key=lambda mixture: mixture.bic(x))


def imputation(frame: Frame, kinds: dict[str, Any], steps: int, seed: int, share: float) -> dict[str, float]:
    """Errors on values hidden at random."""
    everything = data.load(frame, columns=kinds, seed=seed)
    schema = everything.protocol.schema
    raw = data.load_like(frame, everything.protocol).raw
    hidden = (torch.rand(raw.shape, generator=torch.Generator().manual_seed(seed)) < share) & ~raw.isnan()
    rest = frame[[c.name for c in schema]].copy()
    for i, column in enumerate(schema):
        rest.loc[hidden[:, i].numpy(), column.name] = None
    described = {c.name: list(c.categories) if c.kind == "ordinal" else c.kind for c in schema}
    found = data.load(rest, columns=described, validation=0.1, test=0, seed=seed)
    began = time.perf_counter()
    model = trained(found, steps, seed)
    x = data.load_like(rest, found.protocol).tensor()
    filled = model.impute(x, 1000, generator=torch.Generator().manual_seed(seed))
    seconds = time.perf_counter() - began
    blank = torch.where(hidden, math.nan, raw).numpy()
    guesses = {
        "ours": recoded(found.protocol.to_data(filled.point).numpy(), found.protocol.schema, schema),
        "iterative": iterative(blank, schema, seed),
        "mean or mode": simple(blank, schema),
    }
    figures: dict[str, float] = {"ours seconds": seconds}
    for name, guess in guesses.items():
        figures |= {
            f"{name} {what}": value for what, value in errors(guess, raw.numpy(), hidden.numpy(), schema).items()
        }
    return figures


def recoded(values: Any, by: tuple[Column, ...], to: tuple[Column, ...]) -> Any:
    """Codes of categories as another schema has them: where a rare one is hidden whole, those after it move up."""
    values = values.copy()
    for i, (old, new) in enumerate(zip(by, to, strict=True)):
        if new.categories:
            codes = np.array([new.categories.index(name) for name in old.categories])
            values[:, i] = codes[values[:, i].round().astype(int)]
    return values


def errors(guess: Any, raw: Any, hidden: Any, schema: tuple[Column, ...]) -> dict[str, float]:
    """Root mean square of the columns' standardised errors, and the share of categories that are right."""
    squares: list[float] = []
    right: list[float] = []
    for i, column in enumerate(schema):
        there = hidden[:, i]
        if not there.any():
            continue
        if column.categories:
            right.append(float((guess[there, i].round() == raw[there, i]).mean()))
        else:
            spread = np.nanstd(raw[:, i])
            squares.append(float((((guess[there, i] - raw[there, i]) / spread) ** 2).mean()))
    return {"rmse": math.sqrt(float(np.mean(squares))), "accuracy": float(np.mean(right)) if right else math.nan}


def iterative(blank: Any, schema: tuple[Column, ...], seed: int) -> Any:
    """IterativeImputer on standardised numbers and indicators of categories."""
    parts = [_read(blank[:, i], column) for i, column in enumerate(schema)]
    wide = np.concatenate([part for part, _, _ in parts], axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        full: Any = IterativeImputer(random_state=seed, max_iter=20).fit_transform(wide)
    guess, first = np.empty_like(blank), 0
    for i, (part, shift, scale) in enumerate(parts):
        here = full[:, first : first + part.shape[1]]
        if schema[i].categories:
            guess[:, i] = np.column_stack([here, 1 - here.sum(1)]).argmax(1)
        else:
            guess[:, i] = here[:, 0] * scale + shift
        first += part.shape[1]
    return guess


def _read(values: Any, column: Column) -> tuple[Any, float, float]:
    if not column.categories:
        shift, scale = float(np.nanmean(values)), float(np.nanstd(values))
        return ((values - shift) / scale)[:, None], shift, scale
    indicators = (values[:, None] == np.arange(len(column.categories) - 1)).astype(float)
    indicators[np.isnan(values)] = np.nan
    return indicators, 0.0, 1.0


def simple(blank: Any, schema: tuple[Column, ...]) -> Any:
    """The mean of each column of numbers, the most frequent category of the others."""
    guess = np.empty_like(blank)
    for i, column in enumerate(schema):
        seen = blank[~np.isnan(blank[:, i]), i]
        guess[:, i] = np.bincount(seen.astype(int)).argmax() if column.categories else seen.mean()
    return guess


def told(values: list[float]) -> str:
    """Mean ± standard error."""
    error = f" ± {np.std(values, ddof=1) / math.sqrt(len(values)):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{error}"


def main() -> None:
    """Run the sets, print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--hidden", type=float, default=0.2, help="share of observed values that is hidden")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    for name in arguments.sets:
        frame, kinds = SETS[name]()
        seeds = range(arguments.seeds)
        dense = [density(frame, kinds, arguments.steps, seed) for seed in seeds]
        filled = [imputation(frame, kinds, arguments.steps, seed, arguments.hidden) for seed in seeds]
        results[name] = {"density": dense, "imputation": filled}
        print(f"\n{name}: {len(frame):,} rows, {arguments.seeds} seeds", flush=True)
        print(f"  held-out log-density, {dense[0]['columns']:.0f} columns of numbers (nats per row, larger is better)")
        for who in ("ours", "mixture"):
            seconds = np.mean([d[f"{who} seconds"] for d in dense])
            print(f"    {who:14}{told([d[who] for d in dense]):>18}   {seconds:.0f} s")
        print(f"  imputation of {arguments.hidden:.0%} hidden values     rmse (σ)        accuracy of categories")
        for who in ("ours", "iterative", "mean or mode"):
            cells = [told([f[f"{who} {what}"] for f in filled]) for what in ("rmse", "accuracy")]
            print(f"    {who:14}{cells[0]:>18}{cells[1]:>18}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

"""`lucid fit-prior` on a real run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Lucid

import lucid as package
from lucid.distributions import MixturePrior
from lucid.models import LatentModel


def test_the_bound_rises_and_the_run_is_left_as_it_is(lucid: Lucid, run: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (run / "model").iterdir()}
    out = tmp_path / "fitted"
    said = lucid(
        "fit-prior", run, "--prior", "mixture:components=20", "--out", out, "--steps", 300, "--num-samples", 10,
        "--json", tmp_path / "figures.json",
    )  # fmt: skip
    assert said.code == 0, said.err
    for word in ("ELBO", "· gap", "before", "after", "The deepest latent costs", "On held-out data", str(out)):
        assert word in said.out
    figures = json.loads((tmp_path / "figures.json").read_text())
    elbo = [figures[when]["elbo"]["value"] for when in ("before", "after")]
    gap = [figures[when]["gap"]["gap"]["value"] for when in ("before", "after")]
    assert elbo[1] > elbo[0] + 0.2
    # One draw an example, and one set of draws each: what the bound gains the gap loses, up to their noise.
    error = figures["before"]["gap"]["gap"]["standard_error"]
    assert gap[0] - gap[1] == pytest.approx(elbo[1] - elbo[0], abs=4 * error)
    model = package.load(out)
    assert isinstance(model, LatentModel)
    assert isinstance(model.top_prior, MixturePrior)  # pyright: ignore[reportAttributeAccessIssue]
    assert set(model.figures) == {"fit_prior"}
    assert {path: path.read_bytes() for path in (run / "model").iterdir()} == before
    sampled = lucid("sample", out, "--num", 4, "--out", tmp_path / "samples.npy")
    assert sampled.code == 0, sampled.err


def test_misuse(lucid: Lucid, run: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    for argv, words in (
        (
            (run, "--prior", "cauchy", "--out", tmp_path / "a"),
            "there is no prior 'cauchy'; there are standard, mixture",
        ),
        ((run, "--prior", "mixture:width=3", "--out", tmp_path / "a"), "there is no setting 'width'"),
        ((run, "--steps", 0, "--out", tmp_path / "a"), "--steps must be at least 1; received 0"),
        ((run, "--out", tmp_path / "full"), "already holds something: give --out a new folder"),
        ((tmp_path / "none", "--out", tmp_path / "a"), "is not a run: there is no such folder"),
        ((run,), "--out"),
    ):
        said = lucid("fit-prior", *argv)
        assert said.code == 2
        assert words in said.err
        assert not (tmp_path / "a").exists()

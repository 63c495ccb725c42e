"""`lucid fit-prior` on a real run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

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
    for word in (
        "ELBO",
        "· gap",
        "before",
        "after",
        "The deepest latent costs",
        "On the validation split the mixture prior gains +",
        str(out),
    ):
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
    gain = figures["gain"]
    assert gain["split"] == "validation"
    assert gain["value"] > 4 * gain["standard_error"] > 0
    _what_else_takes_the_model(lucid, out, figures, tmp_path)


def _what_else_takes_the_model(lucid: Lucid, out: Path, figures: dict[str, Any], tmp_path: Path) -> None:
    """The folder is a model's: what a model is enough for works, and what is not says what it is missing."""
    told = lucid("info", out)
    assert told.code == 0, told.err
    assert "prior         MixturePrior" in told.out
    gain = figures["gain"]
    assert f"{gain['value']:+.2f} ± {gain['standard_error']:.2f} nats (validation)" in told.out
    assert "test          log-likelihood" in told.out
    argv = ["evaluate", out, "--num-samples", 10, "--json", tmp_path / "e.json"]
    for more in ((), ("--data", "digits")):  # of which it is the test part too
        said = lucid(*argv, *more)
        assert said.code == 0, said.err
        found = json.loads((tmp_path / "e.json").read_text())
        assert found["split"] == "test"
        assert found["elbo"] == figures["after"]["elbo"]
    model = package.load(out)
    assert isinstance(model, LatentModel)
    assert set(model.figures) == {"fit_prior", "test"}
    assert lucid("info", out).out.count("log-likelihood") == 1
    for command in (("report", out), ("diagnose", out), ("fit-prior", out, "--out", tmp_path / "twice")):
        said = lucid(*command)
        assert said.code == 2
        assert f"{out} is not a run: it holds a model alone" in said.err


def test_what_to_measure_a_model_on_must_be_known(lucid: Lucid, run: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(run / "model", model)
    said = lucid("evaluate", model, "--num-samples", 2)
    assert (said.code, "which does not say where its data is: give --data DATA" in said.err) == (2, True)
    assert lucid("evaluate", model, "--num-samples", 2, "--data", "digits", "--split", "validation").code == 0
    loaded = package.load(model)
    assert isinstance(loaded, LatentModel)
    assert set(loaded.figures) == {"test", "validation"}
    said = lucid("evaluate", run, "--num-samples", 2, "--data", "digits")
    assert (said.code, "is a run, which knows its data: leave --data and --label out" in said.err) == (2, True)


def test_a_prior_that_is_no_better_is_not_written(lucid: Lucid, run: Path, tmp_path: Path) -> None:
    said = lucid("fit-prior", run, "--prior", "standard", "--out", tmp_path / "same", "--num-samples", 2)
    assert said.code == 1
    for words in ("the standard prior is no better", "on the validation split it gains +0.00 ± 0.00 nats", "--steps"):
        assert words in said.err
    assert not (tmp_path / "same").exists()


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

"""`lucid evaluate`: grids, seeds, processes, annealing, several trainings, and what is measured besides."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Lucid

import lucid as package
from lucid.cli import main
from lucid.data import load
from lucid.evaluation import Evaluation
from lucid.training import Run


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    """A run of one's own to write in."""
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    return folder


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same training with another seed."""
    folder = tmp_path_factory.mktemp("runs") / "other"
    argv = ["train", "digits", "--model", "mlp", "--size", "1", "--steps", "60", "--seed", "1", "--out", str(folder)]
    assert main([*argv, "--quiet", "--no-report"]) == 0
    return folder


def read(path: Path) -> Evaluation:
    return Evaluation.from_json(json.loads(path.read_text()))


def test_the_grid_of_draws_is_what_was_asked_for_and_a_bound_that_still_rises_is_said_to(
    lucid: Lucid, copied: Path, tmp_path: Path
) -> None:
    said = lucid("evaluate", copied, "--num-samples", "2,4", "--json", tmp_path / "e.json", "--no-report")
    assert said.code == 0
    found = read(tmp_path / "e.json")
    assert [at_k.num_samples for at_k in found.importance_weighted] == [2, 4]
    assert "warning: IW gap left, k = 4: not converged at k = 4" in " ".join(said.out.split())


def test_every_figure_lands_in_the_card_and_in_the_run(lucid: Lucid, copied: Path) -> None:
    argv = ["evaluate", copied, "--num-samples", 5, "--ais", 3, "--ais-steps", 3, "--ais-chains", 2]
    assert lucid(*argv, "--no-report").code == 0
    card = package.load(copied / "model").figures["test"]
    assert card == Run(copied).evaluation()
    found = Evaluation.from_json(card)
    names = [figure.name for figure in found.figures]
    for name in ("ELBO", "rate", "reconstruction", "IW gap left, k = 5", "AIS log-likelihood", "BDMC gap", "bits/dim"):
        assert name in names
    for figure in found.figures:
        assert figure.estimator
        assert figure.protocol == found.protocol
        assert figure.seed == 0
    told = lucid("info", copied).out
    assert "AIS log-likelihood" in told


def test_seeds_give_an_error_over_draws(lucid: Lucid, copied: Path) -> None:
    said = lucid("evaluate", copied, "--num-samples", 4, "--seeds", 3, "--seed", 7, "--no-report")
    assert said.code == 0
    assert "over seeds" in said.out
    found = Evaluation.from_json(Run(copied).evaluation() or {})
    over = {figure.name: figure for figure in found.over_seeds}["log-likelihood, k = 4"]
    assert over.details["seeds"] == [7, 8, 9]
    assert found.seed == 7
    values = np.array(over.details["values"])
    assert over.standard_error == pytest.approx(values.std(ddof=1) / math.sqrt(3), rel=1e-9)
    assert values[0] == found.log_likelihood.value


def test_several_trainings_are_one_table_with_an_error_over_them(
    lucid: Lucid, copied: Path, other: Path, tmp_path: Path
) -> None:
    said = lucid("evaluate", copied, other, "--num-samples", 4, "--json", tmp_path / "e.json")
    assert said.code == 0
    assert "2 trainings" in said.out
    record = json.loads((tmp_path / "e.json").read_text())
    each = [Evaluation.from_json(record["runs"][str(folder)]) for folder in (copied, other)]
    over = {figure["name"]: figure for figure in record["over_trainings"]}
    values = [one.elbo.value for one in each]
    assert over["ELBO"]["value"] == pytest.approx(sum(values) / 2, rel=1e-12)
    assert over["ELBO"]["standard_error"] == pytest.approx(abs(values[0] - values[1]) / 2, rel=1e-9)
    assert Run(other).evaluation() == record["runs"][str(other)]


def test_processes_change_nothing(lucid: Lucid, copied: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        argv = ["evaluate", copied, "--num-samples", 4, "--workers", workers, "--no-report"]
        assert lucid(*argv, "--json", tmp_path / f"{workers}.json").code == 0
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()


def test_factors_of_all_parts_serve_disentanglement_and_the_probe(lucid: Lucid, copied: Path, tmp_path: Path) -> None:
    digits = load("digits")
    whole = sum(len(part) for part in (digits.train, digits.validation, digits.test))
    labels = np.zeros(whole, np.int64)
    for part in (digits.train, digits.validation, digits.test):
        assert part.labels is not None
        labels[part.rows.numpy()] = part.labels.numpy()
    lines = "\n".join(f"{'even' if n % 2 == 0 else 'odd'},{n / 10}" for n in labels)
    (tmp_path / "factors.csv").write_text("parity,size\n" + lines + "\n")
    argv = ["evaluate", copied, "--num-samples", 2, "--also", "disentanglement,probe", "--no-report"]
    said = lucid(*argv, "--factors", tmp_path / "factors.csv")
    assert said.code == 0, said.err
    names = [figure["name"] for figure in (Run(copied).evaluation() or {})["figures"]]
    assert {"MIG", "modularity", "linear probe of parity", "linear probe of size"} <= set(names)


def test_factors_of_the_part_alone_are_taken_as_they_come(lucid: Lucid, copied: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", np.arange(180) % 4)
    argv = ["evaluate", copied, "--num-samples", 2, "--also", "disentanglement", "--no-report"]
    assert lucid(*argv, "--factors", tmp_path / "f.npy").code == 0
    said = lucid("evaluate", copied, "--num-samples", 2, "--also", "probe", "--factors", tmp_path / "f.npy")
    assert (said.code, "learns on the training part" in said.err) == (2, True)
    np.save(tmp_path / "short.npy", np.arange(17) % 4)
    said = lucid(*argv, "--factors", tmp_path / "short.npy")
    assert said.code == 2
    assert "must have a row for each example: 180 for the test part, or 1,797 for all parts; it has 17" in said.err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--num-samples", "ten"], "--num-samples takes a number of draws, or several"),
        (["--num-samples", "10,5"], "--num-samples must increase; received 10,5"),
        (["--seeds", "0"], "--seeds must be at least 1; received 0"),
        (["--workers", "0"], "--workers must be at least 1; received 0"),
        (["--ais", "1"], "--ais must be at least 2; received 1"),
        (["--ais", "5", "--ais-steps", "1"], "--ais-steps must be at least 2; received 1"),
        (["--ais-steps", "10"], "say how to anneal: give --ais N"),
        (["--features", "pixels"], "--features goes with --also samples or all"),
        (["--also", "fid"], "--also takes latents, disentanglement, samples, probe or all; received fid"),
        (["--factors", "f.csv"], "--factors goes with --also"),
        (["--also", "probe", "--factors", "f.txt"], "--factors takes a .csv, .parquet or .npy file; received f.txt"),
    ],
)
def test_misuse_is_said_in_a_line(lucid: Lucid, run: Path, argv: list[str], message: str) -> None:
    said = lucid("evaluate", run, *argv)
    assert said.code == 2
    assert message in said.err
    assert said.err.count("\n") == 1


def test_one_run_twice_is_refused(lucid: Lucid, run: Path) -> None:
    said = lucid("evaluate", run, run)
    assert (said.code, "each training is measured once" in said.err) == (2, True)

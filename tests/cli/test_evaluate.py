"""`lucid evaluate`: grids, seeds, processes, annealing, several trainings, and what is measured besides."""

from __future__ import annotations

import json
import math
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.cli.conftest import Lucid

import lucid as package
from lucid.cli import main
from lucid.cli.evaluate_kept import Card, stamped
from lucid.data import load
from lucid.evaluation import Evaluation, evaluate
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
    # What an earlier evaluation of the same run measured with another seed is kept beside it.
    names = [figure.name for figure in found.figures if figure.seed == 0]
    for name in ("ELBO", "rate", "reconstruction", "IW gap left, k = 5", "AIS log-likelihood", "BDMC gap", "bits/dim"):
        assert name in names
    for figure in found.figures:
        assert figure.estimator
        assert figure.protocol == found.protocol
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


def names_in(run: Path) -> list[str]:
    return [figure["name"] for figure in (Run(run).evaluation() or {})["figures"]]


@pytest.fixture
def nothing_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever measures anything fails."""

    def measure(*_: object, **__: object) -> None:
        raise AssertionError("this was to be refused before anything is measured")

    monkeypatch.setattr("lucid.cli.evaluate.measure", measure)


def bad_factors(folder: Path) -> dict[str, Path]:
    np.save(folder / "words.npy", np.array(["a", "b"] * 90))
    np.save(folder / "constant.npy", np.zeros(180, np.int64))
    np.save(folder / "many.npy", np.arange(180))
    (folder / "broken.npy").write_bytes(b"no array")
    names = ("words", "constant", "many", "broken", "missing")
    return {name: folder / f"{name}.npy" for name in names}


@pytest.mark.usefixtures("nothing_measured")
@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("words", "must hold numbers; write words to a .csv file"),
        ("constant", "takes one value only in the test part"),
        ("many", "takes 180 values over 180 examples of the test part, too many"),
        ("broken", "is not an array of numbers that NumPy wrote"),
        ("missing", "--factors: there is no file"),
    ],
)
def test_factors_are_read_before_anything_is_measured(
    lucid: Lucid, run: Path, tmp_path: Path, file: str, message: str
) -> None:
    said = lucid("evaluate", run, "--also", "all", "--factors", bad_factors(tmp_path)[file])
    assert (said.code, message in said.err) == (2, True), said.err
    assert "Errno" not in said.err
    assert "Factors(" not in said.err


@pytest.mark.usefixtures("nothing_measured")
def test_what_cannot_be_written_measured_or_compared_is_said_at_once(lucid: Lucid, run: Path, tmp_path: Path) -> None:
    said = lucid("evaluate", run, "--json", tmp_path)
    assert (said.code, "--json takes a file to write" in said.err) == (2, True)
    (tmp_path / "file").write_text("")
    said = lucid("evaluate", run, "--json", tmp_path / "file" / "e.json")
    assert (said.code, "is not a folder" in said.err) == (2, True)
    said = lucid("evaluate", run, "--also", "samples", "--features", "inception")
    assert (said.code, "--features takes pixels or efficientnet-lite0; received inception" in said.err) == (2, True)
    said = lucid("evaluate", run / "model", "--data", "digits", "--also", "probe")
    assert (said.code, "the data given is one part only: measure a run" in said.err) == (2, True)


@pytest.mark.usefixtures("nothing_measured")
def test_one_training_is_known_by_its_place_and_by_its_weights(lucid: Lucid, run: Path, copied: Path) -> None:
    said = lucid("evaluate", run, f"{run}/")
    assert (said.code, "each training is measured once" in said.err) == (2, True)
    said = lucid("evaluate", run, copied)
    assert (said.code, "hold the same weights" in said.err) == (2, True)


def test_a_part_that_fails_loses_itself_alone(
    lucid: Lucid, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise FloatingPointError("a posterior mean is not finite")

    monkeypatch.setattr("lucid.evaluation.further._MEASURES", dict.fromkeys(package.evaluation.FURTHER, broken))
    argv = ["evaluate", copied, "--num-samples", 2, "--no-report", "--json", tmp_path / "e.json"]
    said = lucid(*argv, "--also", "all")
    assert said.code == 0
    for part in package.evaluation.FURTHER:
        assert f"not measured: {part}: a posterior mean is not finite" in said.out
    assert "seconds: bounds" in said.out
    assert "log-likelihood, k = 2" in names_in(copied)
    assert lucid(*argv, "--also", "latents").code == 1


def test_an_interrupted_evaluation_keeps_what_it_has(
    lucid: Lucid, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        assert "log-likelihood, k = 3" in names_in(copied), "the bounds are kept before anything else begins"
        assert (tmp_path / "e.json").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr("lucid.cli.evaluate.ais_figures", stopped)
    argv = ["evaluate", copied, "--num-samples", 3, "--ais", 3, "--also", "latents", "--no-report"]
    said = lucid(*argv, "--json", tmp_path / "e.json")
    assert said.code == 130
    assert "not measured: ais: interrupted\n" in said.out
    assert "not measured: latents: interrupted before it began" in said.out
    assert "log-likelihood, k = 3" in said.out


def test_what_draws_nothing_is_measured_once(lucid: Lucid, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    def noted(name: str) -> object:
        return lambda *_: begun.append(name) or []

    measures = {name: noted(name) for name in package.evaluation.FURTHER}
    monkeypatch.setattr("lucid.evaluation.further._MEASURES", measures)
    assert lucid("evaluate", copied, "--num-samples", 2, "--seeds", 2, "--also", "all", "--no-report").code == 0
    assert (begun.count("probe"), begun.count("latents")) == (1, 2)


def test_dearer_figures_stay_until_the_weights_change(lucid: Lucid, copied: Path) -> None:
    ais = ["--ais", 3, "--ais-steps", 3, "--ais-chains", 2]
    assert lucid("evaluate", copied, "--num-samples", 5, *ais, "--no-report").code == 0
    assert lucid("evaluate", copied, "--num-samples", 2, "--seed", 9, "--no-report").code == 0
    found = {figure.name: figure for figure in Evaluation.from_json(Run(copied).evaluation() or {}).figures}
    assert (found["AIS log-likelihood"].seed, found["ELBO"].seed) == (0, 9)
    assert found["AIS log-likelihood"].details["measured"]
    assert (found["bits/dim"].num_samples, found["bits/dim, 5 draws"].num_samples) == (2, 5)
    told = " ".join(lucid("info", copied).out.split())
    assert "AIS log-likelihood" in told
    assert "seed 9" in told
    model = package.load(copied / "model")
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)
    package.save(model, copied / "model", model.figures)
    said = lucid("evaluate", copied, "--num-samples", 2, "--no-report")
    assert "figures of the test part that were measured on other weights" in said.out
    assert "AIS log-likelihood" not in names_in(copied)


def test_two_evaluations_at_once_keep_the_figures_of_both(copied: Path) -> None:
    model, split = Run(copied).model(), load("digits").test
    card = Card.of(copied / "model", copied / "evaluation.json")
    draws = [2, 3, 4, 5, 6, 7]
    found = [stamped(evaluate(model, split, num_samples=[k], split="test"), card) for k in draws]
    threads = [threading.Thread(target=card.keep, args=(one, model, True)) for one in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {f"log-likelihood, k = {k}" for k in draws} <= set(names_in(copied))
    assert package.load(copied / "model").figures["test"] == Run(copied).evaluation()


def test_the_table_says_how_each_figure_was_made(lucid: Lucid, copied: Path) -> None:
    out = lucid("evaluate", copied, "--num-samples", 2, "--seed", 4, "--no-report").out
    (row,) = (line for line in out.splitlines() if line.startswith("ELBO"))
    assert row.split()[4:9] == ["nats", "10", "180", "4", "a"]
    assert "\na: ELBO; standard error over examples" in out
    assert "-" not in row
    assert "nats per example" not in out

"""Misuse is one line on stderr and exit code 2; failure is one line and exit code 1; the traceback only on request."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Lucid

MISUSE = [
    ([], "the following arguments are required: COMMAND"),
    (["fly"], "invalid choice: 'fly'"),
    (["train"], "which data? give DATA"),
    (["train", "digits"], "where should the run go? give --out DIR"),
    (["train", "digits", "--out", "{tmp}/r", "--epochs", "many"], "argument --epochs: invalid int value: 'many'"),
    (["train", "digits", "--out", "{tmp}/r", "--epochs", "0"], "epochs must be at least 1; received 0"),
    (["train", "digits", "--out", "{tmp}/r", "--epochs", "2", "--steps", "3"], "give epochs or steps, not both"),
    (["train", "digits", "--out", "{tmp}/r", "--model", "covn"], "there is no preset 'covn'; did you mean conv?"),
    (["train", "digits", "--out", "{tmp}/r", "--size", "0"], "size must be a positive int; received 0"),
    (["train", "digits", "--out", "{tmp}/r", "--dropout", "1.5"], "dropout must be in [0, 1); received 1.5"),
    (["train", "digits", "--out", "{tmp}/r", "--skip", "0.5"], "skip must be greater than 1 and finite; received 0.5"),
    (["train", "digits", "--out", "{tmp}/r", "--ema", "1"], "ema must be between 0 and 1, such as 0.999, or None"),
    (["train", "digits", "--out", "{tmp}/r", "--clip", "0"], "clip must be positive and finite; received 0"),
    (["train", "digits", "--out", "{tmp}/r", "--accumulate", "200"], "accumulate must be at most batch_size"),
    (["train", "digits", "--out", "{tmp}/r", "--compile", "maybe"], "yes, no or auto; received 'maybe'"),
    (["train", "--resume", "{run}", "--profile"], "--profile measures a run that has not begun"),
    (["train", "digits", "--out", "{tmp}/r", "--precision", "int4"], "precision must be one of auto, float32"),
    (["train", "digits", "--out", "{tmp}/r", "--device", "tpu"], "argument --device: invalid choice: 'tpu'"),
    (["train", "digits", "--out", "{tmp}/r", "--seed", "-1"], "seed must be in 0"),
    (["train", "digits", "--out", "{tmp}/r", "--kl-weight", "-1"], "kl_weight must be non-negative and finite"),
    (
        ["train", "digits", "--out", "{tmp}/r", "--likelihood", "cauchy"],
        "there is no likelihood 'cauchy'",
    ),
    (
        ["train", "digits", "--out", "{tmp}/r", "--likelihood", "gaussian:scale=x"],
        "'x' in 'gaussian:scale=x' is neither a number",
    ),
    (
        ["train", "digits", "--out", "{tmp}/r", "--beta-schedule", "linear"],
        "'linear' needs steps, for example",
    ),
    (["train", "digits", "--out", "{tmp}/r", "--beta-schedule", "linear:steps=0"], "steps must be a positive number"),
    (["train", "digits", "--out", "{tmp}/r", "--objective", "adversarial"], "there is no objective 'adversarial'"),
    (["train", "digits", "--out", "{tmp}/r", "--objective", "geco"], "'geco' needs target, for example geco:target="),
    (["train", "digits", "--out", "{tmp}/r", "--objective", "kl-balancing"], "kl-balancing works while β warms up"),
    (["train", "digits", "--out", "{tmp}/r", "--beta-schedule", "step:at=3"], "there is no schedule 'step'; there are"),
    (["train", "digits", "--out", "{tmp}/r", "--resize", "big"], "a size is HEIGHTxWIDTH, for example 32x32"),
    (["train", "{tmp}/missing.npy", "--out", "{tmp}/r"], "there is no file or folder"),
    (["train", "digitz", "--out", "{tmp}/r"], "no data set of that name"),
    (["train", "--config", "{tmp}/no.toml", "--out", "{tmp}/r"], "there is no file"),
    (["train", "--config", "{tmp}/bad.toml", "--out", "{tmp}/r"], "cannot be read as TOML"),
    (["train", "--config", "{tmp}/odd.toml", "--out", "{tmp}/r"], "has unknown sections optimiser; there are data"),
    (["train", "--resume", "{tmp}/nothing"], "is not a run: there is no such folder"),
    (["train", "digits", "--resume", "{run}"], "--resume goes on with the run as it is: leave DATA out"),
    (["train", "--resume", "{run}", "--latents", "3"], "goes on with the run as it is: leave --latents out"),
    (["train", "--resume", "{run}", "--binarise", "static"], "goes on with the run as it is: leave --binarise out"),
    (["train", "digits", "--oout", "x"], "lucid train: unrecognized arguments: --oout x (see lucid train --help)"),
    (["train", "digits", "--out", "{run}"], "already holds a run: go on with it (--resume"),
    (["evaluate", "{tmp}"], "is not a run: it holds no run.json"),
    (["sample", "{run}", "--out", "{tmp}/s.npy"], "the following arguments are required: --num"),
    (["sample", "{run}", "--num", "0", "--out", "{tmp}/s.npy"], "--num must be at least 1; received 0"),
    (["sample", "{run}", "--num", "2", "--temperature", "-1", "--out", "{tmp}/s.npy"], "--temperature must be finite"),
    (["sample", "{tmp}", "--num", "2", "--out", "{tmp}/s.npy"], "is neither a run nor a model"),
    (["sample", "{run}", "--num", "2", "--out", "{tmp}/no/s.npy"], "there is no folder"),
    (["embed", "{run}", "digits", "--level", "3", "--out", "{tmp}/z.npy"], "--level must be in 0 … 0; received 3"),
    (["train", "digits", "--model", "conv", "--kind", "vector", "--out", "{tmp}/r"], "conv is for images"),
    (["sample", "{run}", "--num", "2", "--out", "{tmp}/s.docx"], "the ending must be .npy"),
    (["train", "digits", "--out", "{tmp}/text.png"], "--out must name a folder"),
    (
        ["train", "--config", "{tmp}/text.png", "--out", "{tmp}/r"],
        "--config takes a .toml file, the .yaml file of a recipe, or the run.json",
    ),
    (["evaluate", "{run}", "--num-samples", "0"], "--num-samples must be at least 1; received 0"),
    (["diagnose", "{run}", "--steps", "5"], "--steps must be at least 20, for a trial to find anything out"),
    (["diagnose", "{tmp}/nothing"], "is not a run: there is no such folder"),
    (["report", "{tmp}/nothing"], "is not a run: there is no such folder"),
    (["sample", "{run}", "--num", "2", "--condition", "3", "--out", "{tmp}/s.npy"], "this one takes no condition"),
    (["train", "digits", "--condition", "labels", "--out", "{tmp}/r"], "only the preset topdown takes a condition"),
    (["recipe", "{tmp}/no.yaml"], "there is no recipe"),
    (["recipe", "{tmp}/bad.yaml"], "is not a recipe: it lacks title, source, protocol"),
    (["train", "--config", "{tmp}/odd.toml", "--budget", "small", "--out", "{tmp}/r"], "chooses a variant of a recipe"),
]

FAILURE = [
    (["train", "{tmp}/nan.npy", "--out", "{tmp}/r"], "NaN"),
    (["train", "{tmp}/pickle.npy", "--out", "{tmp}/r"], "pickle"),
    (["train", "{tmp}/text.png", "--out", "{tmp}/r"], "has an ending that lucid does not read"),
    (["train", "digits", "--label", "x", "--out", "{tmp}/r"], "label"),
    (["evaluate", "{damaged}"], "model.safetensors"),
    (
        ["train", "--resume", "{run}", "--steps", "99", "--ema", "0.5"],
        "resumed with other ema (was None, now",
    ),
    (["reconstruct", "{run}", "{tmp}/other.npy", "--out", "{tmp}/r.npy"], "8"),
]


def bad_places(folder: Path, run: Path) -> dict[str, Path]:
    """The folders that the cases name, with the bad files in them."""
    (folder / "bad.toml").write_text("[data\n")
    (folder / "odd.toml").write_text("[optimiser]\n")
    (folder / "bad.yaml").write_text("data: {source: digits}\n")
    (folder / "text.png").write_text("no picture")
    np.save(folder / "nan.npy", np.array([[1.0, np.nan]] * 50))
    np.save(folder / "pickle.npy", np.array([{"a": 1}] * 50), allow_pickle=True)
    np.save(folder / "other.npy", np.zeros((4, 5, 5), np.uint8))
    damaged = folder / "damaged"
    shutil.copytree(run, damaged)
    weights = damaged / "model/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    return {"tmp": folder, "run": run, "damaged": damaged}


@pytest.fixture
def places(tmp_path: Path, run: Path) -> dict[str, Path]:
    """The same, in a folder of the test's own."""
    return bad_places(tmp_path, run)


def check(lucid: Lucid, argv: list[str], places: dict[str, Path], code: int, message: str) -> None:
    said = lucid(*(arg.format(**places) for arg in argv))
    assert message in said.err
    assert said.code == code
    assert said.err.count("\n") == 1
    assert said.err.startswith("lucid")
    assert "Traceback" not in said.err
    assert not (places["tmp"] / "r").exists()


@pytest.mark.parametrize(("argv", "message"), MISUSE, ids=[" ".join(argv)[:60] for argv, _ in MISUSE])
def test_misuse(lucid: Lucid, argv: list[str], message: str, places: dict[str, Path]) -> None:
    check(lucid, argv, places, 2, message)


@pytest.mark.parametrize(("argv", "message"), FAILURE, ids=[" ".join(argv)[:60] for argv, _ in FAILURE])
def test_failure(lucid: Lucid, argv: list[str], message: str, places: dict[str, Path]) -> None:
    check(lucid, argv, places, 1, message)


def test_the_traceback_is_shown_on_request(lucid: Lucid, tmp_path: Path) -> None:
    said = lucid("evaluate", "--debug", tmp_path)
    assert said.code == 2
    assert "Traceback (most recent call last)" in said.err


def test_the_installed_command_ends_with_the_exit_code() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lucid.cli", "evaluate", "nowhere"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == "lucid: nowhere is not a run: there is no such folder. `lucid train DATA --out nowhere` makes one\n"
    )

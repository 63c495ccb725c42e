"""Each command does what its help says, on a real run."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.cli.conftest import Lucid

import lucid as package
from lucid.cli import main
from lucid.cli.specs import _LIKELIHOODS
from lucid.models import LatentModel, Record, draws, drive
from lucid.training import Run, Settings


def test_version(lucid: Lucid) -> None:
    assert lucid("--version")[:2] == (0, f"lucid {package.__version__}\n")


@pytest.mark.parametrize(
    "command",
    [
        "train",
        "evaluate",
        "sample",
        "vary",
        "reconstruct",
        "embed",
        "diagnose",
        "fit-prior",
        "report",
        "recipe",
        "info",
    ],
)
def test_help_teaches(lucid: Lucid, command: str) -> None:
    said = lucid(command, "--help")
    assert said.code == 0
    assert said.out.startswith(f"usage: lucid {command}")


def test_a_run_leaves_what_was_promised(run: Path) -> None:
    for name in ("run.json", "metrics.jsonl", "model/config.json", "model/model.safetensors", "report.html"):
        assert (run / name).is_file(), name
    said = json.loads((run / "run.json").read_text())
    assert said["data"]["source"] == "digits"
    assert said["model"] == {"name": "mlp", "size": 1, "dropout": 0.1, "depth": 1}
    assert (said["training"]["steps"], said["training"]["batch_size"]) == (60, 128)


def test_evaluate_writes_the_figures_under_their_names(lucid: Lucid, run: Path, tmp_path: Path) -> None:
    said = lucid("evaluate", run, "--num-samples", 20, "--json", tmp_path / "e.json", "--no-report")
    assert said.code == 0
    assert "ELBO" in said.out
    figures = json.loads((tmp_path / "e.json").read_text())
    assert set(figures) >= {"elbo", "log_likelihood", "kl", "active_units", "bits_per_dim", "protocol"}
    for name in ("elbo", "log_likelihood"):
        assert set(figures[name]) >= {"value", "standard_error", "num_samples"}
    assert figures["log_likelihood"]["num_samples"] == 20
    assert figures["log_likelihood"]["value"] > figures["elbo"]["value"]
    assert figures["bits_per_dim"] == pytest.approx(-figures["log_likelihood"]["value"] / (64 * math.log(2)))
    assert figures["protocol"].startswith("digits; image 1×8×8; 17 levels")
    assert len(figures["kl"]) == 1
    kept = Run(run).model().figures["test"]  # with the figures that an earlier evaluation left
    assert {**kept, "figures": kept["figures"][: len(figures["figures"])]} == figures


def test_evaluation_is_reproducible(lucid: Lucid, run: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        lucid("evaluate", run, "--num-samples", 10, "--json", tmp_path / name, "--no-report", "--seed", 3)
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()


@pytest.mark.parametrize("folder", ["", "model"])
def test_sample_draws_on_the_levels_of_the_data(lucid: Lucid, run: Path, tmp_path: Path, folder: str) -> None:
    said = lucid("sample", run / folder, "--num", 7, "--out", tmp_path / "s.npy", "--noise")
    assert said[:2] == (0, f"7 examples: {tmp_path / 's.npy'}\n")
    samples = np.load(tmp_path / "s.npy")
    assert len(samples) == 7
    assert samples.dtype == np.uint8
    assert samples.max() <= 16


def test_samples_depend_on_the_seed_alone(lucid: Lucid, run: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        lucid("sample", run, "--num", 3, "--out", tmp_path / f"{name}.npy", "--seed", seed)
    a, b, c = (np.load(tmp_path / f"{name}.npy") for name in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a model of five levels, which has just begun."""
    folder = tmp_path_factory.mktemp("runs") / "deep"
    argv = ["train", "digits", "--model", "topdown", "--steps", "2", "--batch-size", "8", "--validation", "16"]
    assert main([*argv, "--test", "16", "--out", str(folder), "--quiet", "--device", "cpu", "--no-report"]) == 0
    return folder


def test_a_temperature_for_each_level(lucid: Lucid, deep: Path, run: Path, tmp_path: Path) -> None:
    for name, temperature in (("one", "0.5"), ("same", "0.5,0.5,0.5,0.5,0.5"), ("fine", "0,0,1,1,1"), ("plain", "1")):
        said = lucid("sample", deep, "--num", 3, "--temperature", temperature, "--out", tmp_path / f"{name}.npz")
        assert said.code == 0, said.err
    one, same, fine, plain = (np.load(tmp_path / f"{name}.npz")["x"] for name in ("one", "same", "fine", "plain"))
    assert np.array_equal(one, same)
    assert not np.array_equal(fine, plain)
    model = Run(deep).model()
    expected = model.sample(3, temperature=[0, 0, 1, 1, 1], generator=torch.Generator().manual_seed(0))
    assert model.protocol is not None
    assert np.array_equal(fine.reshape(3, -1), model.protocol.to_data(expected).flatten(1).numpy())
    for folder, given, message in (
        (deep, "0.5,1", "the model has 5 levels, received 2 numbers"),
        (run, "0.5,1", "the model has one level, received 2 numbers"),
        (run, "cool", "takes a number, or one for each level"),
        (run, "0.5,inf", "must be finite and not negative; received inf"),
    ):
        said = lucid("sample", folder, "--num", 3, "--temperature", given, "--out", tmp_path / "x.npy")
        assert said.code == 2
        assert message in said.err


def test_variations_keep_what_the_deepest_latents_decided(lucid: Lucid, deep: Path, tmp_path: Path) -> None:
    argv = ["vary", deep, "digits", "--num", 5, "--examples", 3]
    assert lucid(*argv, "--levels", 5, "--out", tmp_path / "kept.npy").code == 0
    assert lucid("reconstruct", deep, "digits", "--out", tmp_path / "rebuilt.npy").code == 0
    kept, rebuilt = (np.load(tmp_path / f"{name}.npy") for name in ("kept", "rebuilt"))
    assert np.array_equal(kept, np.repeat(rebuilt[:3], 5, axis=0))  # an example's variations stand together
    said = lucid(*argv, "--levels", 2, "--out", tmp_path / "open.png")
    assert said[:2] == (0, f"5 variations of each of 3 examples, one after the other: {tmp_path / 'open.png'}\n")
    with Image.open(tmp_path / "open.png") as sheet:
        assert sheet.size == (48, 28)  # five across, three down, two pixels between
    assert lucid(*argv, "--levels", 2, "--out", tmp_path / "open.npy").code == 0
    assert len(np.unique(np.load(tmp_path / "open.npy")[:5], axis=0)) == 5
    for option, value, message in (
        ("--levels", 6, "--levels must be in 0 … 5, the latents that are kept; received 6"),
        ("--num", 0, "--num must be at least 1; received 0"),
    ):
        said = lucid("vary", deep, "digits", "--levels", 1, option, value, "--out", tmp_path / "x.npy")
        assert said.code == 2
        assert message in said.err


def test_pictures_are_pictures(lucid: Lucid, run: Path, tmp_path: Path) -> None:
    lucid("sample", run, "--num", 9, "--out", tmp_path / "s.png")
    with Image.open(tmp_path / "s.png") as sheet:
        assert sheet.size == (28, 28)  # three by three, two pixels between
    lucid("embed", run, "digits", "--out", tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as drawn:
        assert min(drawn.size) > 300


def test_reconstructions_resemble_their_inputs(lucid: Lucid, run: Path, tmp_path: Path) -> None:
    x = Run(run).dataset().test.raw.numpy()[:, 0]
    np.save(tmp_path / "x.npy", x)
    said = lucid("reconstruct", run, tmp_path / "x.npy", "--out", tmp_path / "r.npy")
    assert said.code == 0, said.err
    rebuilt = np.load(tmp_path / "r.npy").reshape(x.shape).astype(float)
    assert np.abs(rebuilt - x).mean() < 0.7 * np.abs(x.mean(0) - x).mean()


@pytest.mark.parametrize("ending", ["csv", "parquet", "npy"])
def test_embeddings_are_written_by_the_ending(lucid: Lucid, run: Path, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"z.{ending}"
    assert lucid("embed", run, "digits", "--out", out).code == 0
    if ending == "npy":
        assert np.load(out).shape == (180, 8)
        return
    import pandas as pd

    table = pd.read_csv(out) if ending == "csv" else pd.read_parquet(out)
    assert list(table.columns) == [*(f"z{i}" for i in range(8)), "label"]
    assert sorted(table["label"].unique()) == list(range(10))


def test_info_says_what_a_run_is(lucid: Lucid, run: Path) -> None:
    said = lucid("info", run)
    assert said.code == 0
    for expected in ("60 steps", "VAE, 1 latent level", "DiscretisedLogistic(levels=17)", "17 levels", "nats (IW-"):
        assert expected in said.out
    for line in (
        "prior       N(0, I)",
        "posterior   DiagonalPosterior",
        "objective   ELBO(Constant(beta=1.0)",
        "latents     8\n",
    ):
        assert line in said.out
    assert "torch" in lucid("info").out


def test_info_says_what_a_top_down_run_is(lucid: Lucid, deep: Path) -> None:
    said = lucid("info", deep)
    assert said.code == 0, said.err
    shapes = [tuple(latent.value.shape[1:]) for latent in record_of_samples(Run(deep).model()).latents]
    assert shapes == [(16, 8, 8)] * 3 + [(16, 4, 4)] + [(16, 1, 1)]
    assert "latents     3 of 16×8×8, 16×4×4, 16×1×1" in said.out
    assert "objective   ELBO(Constant(beta=1.0)" in said.out


def record_of_samples(model: LatentModel) -> Record:
    return drive(model.walk(num_examples=1), draws())


def test_report_is_written_again(lucid: Lucid, run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "report.html").unlink()
    assert lucid("report", copy)[:2] == (0, f"{copy / 'report.html'}\n")
    assert (copy / "report.html").stat().st_size > 20_000


def test_a_finished_run_says_so_and_can_be_extended(lucid: Lucid, run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    said = lucid("train", "--resume", copy)
    assert (said.code, "has finished: 60 of 60 steps" in said.out) == (0, True)
    said = lucid("train", "--resume", copy, "--steps", 70, "--quiet", "--no-report")
    assert (said.code, "trained 70 steps" in said.out) == (0, True)


def test_a_profile_says_where_the_time_goes_and_leaves_nothing(
    lucid: Lucid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = lucid("train", "digits", "--profile", "--size", 1, "--precision", "float32")
    assert said.code == 0, said.err
    for phrase in ("one training step on cpu in float32", "encoders.0", "backward pass", "examples/s", "MiB"):
        assert phrase in said.out
    assert not list(tmp_path.iterdir())


def test_every_setting_of_training_can_be_said(lucid: Lucid, tmp_path: Path) -> None:
    argv = ["train", "digits", "--out", tmp_path / "r", "--steps", 4, "--size", 1, "--quiet", "--no-report"]
    argv += ["--optimizer", "adamax", "--clip", 5, "--skip", "none", "--max-skips", 7, "--ema", 0.9, "--accumulate", 2]
    argv += [
        "--recompute",
        "--early-stopping",
        3,
        "--compile",
        "no",
        "--checkpoint-seconds",
        1,
        "--keep-checkpoints",
        2,
    ]
    said = lucid(*argv)
    assert said.code == 0, said.err
    training = json.loads((tmp_path / "r/run.json").read_text())["training"]
    expected = {"optimizer": "adamax", "clip": 5.0, "skip": None, "max_skips": 7, "ema": 0.9, "accumulate": 2}
    expected |= {"recompute": True, "early_stopping": 3, "compile": False, "checkpoint_seconds": 1.0}
    assert {name: training[name] for name in expected} == expected
    assert {setting.name for setting in fields(Settings)} == set(training)


def test_a_run_that_stopped_early_has_finished(lucid: Lucid, tmp_path: Path) -> None:
    argv = ["train", "digits", "--out", tmp_path / "r", "--steps", 40, "--size", 1, "--quiet", "--no-report"]
    argv += ["--validate-every", 1, "--early-stopping", 1, "--learning-rate", 10, "--decay", "none", "--warmup", 0]
    said = lucid(*argv)
    assert "stopped early after step" in said.out
    again = lucid("train", "--resume", tmp_path / "r")
    assert again.code == 0
    assert "has finished: it stopped early" in again.out
    more = lucid("train", "--resume", tmp_path / "r", "--early-stopping", 50, "--quiet", "--no-report")
    assert "trained 40 steps" in more.out


def test_what_was_killed_after_its_last_line_of_metrics_has_not_finished(
    lucid: Lucid, run: Path, tmp_path: Path
) -> None:
    """The figures of the last step are written before its checkpoint: they do not say that the run has ended."""
    copy = tmp_path / "r"
    shutil.copytree(run, copy)
    said = json.loads((copy / "run.json").read_text())
    del said["finished"]
    (copy / "run.json").write_text(json.dumps(said))
    assert "trained 60 steps" in lucid("train", "--resume", copy, "--quiet", "--no-report").out


def test_after_a_restart_the_same_command_goes_on(
    lucid: Lucid, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(run, tmp_path / "r")
    argv = ["train", "digits", "--out", tmp_path / "r", "--steps", 64, "--quiet", "--no-report"]
    assert "already holds a run" in lucid(*argv).err
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert "trained 64 steps" in lucid(*argv).out


def test_a_run_of_defaults_is_resumed_too(lucid: Lucid, tmp_path: Path) -> None:
    train = ["train", "digits", "--out", tmp_path / "r", "--steps", 3, "--quiet", "--no-report"]
    assert lucid(*train).code == 0
    said = lucid("train", "--resume", tmp_path / "r", "--steps", 5, "--quiet", "--no-report")
    assert (said.code, "trained 5 steps" in said.out) == (0, True)


def test_a_likelihood_takes_settings_and_the_data_s_channels(lucid: Lucid, tmp_path: Path) -> None:
    spec = "mixture-of-logistics:components=3,autoregressive=no"
    train = ["train", "digits", "--out", tmp_path / "r", "--steps", 1, "--quiet", "--no-report", "--size", 1]
    said = lucid(*train, "--likelihood", spec)
    assert said.code == 0, said.err
    likelihood = Run(tmp_path / "r").model().likelihood
    assert repr(likelihood) == "MixtureOfLogistics(levels=17, channels=1, components=3, autoregressive=False)"


@pytest.mark.parametrize("likelihood", sorted(_LIKELIHOODS))
def test_every_likelihood_can_be_named(lucid: Lucid, tmp_path: Path, likelihood: str) -> None:
    counts = likelihood in ("poisson", "negative-binomial", "zero-inflated-negative-binomial")
    more = ["--binarise", "dynamic"] if likelihood == "bernoulli" else ["--scaling", "none"] if counts else []
    train = ["train", "digits", "--out", tmp_path / "r", "--steps", 1, "--quiet", "--no-report", "--size", 1]
    said = lucid(*train, "--likelihood", likelihood, *more)
    assert said.code == 0, said.err
    assert type(Run(tmp_path / "r").model().likelihood) is _LIKELIHOODS[likelihood]


def test_a_description_file_is_overridden_by_the_command_line(lucid: Lucid, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(
        '[data]\nsource = "digits"\nbinarisation = "dynamic"\n[model]\nname = "mlp"\nsize = 1\n'
        'beta_schedule = "linear:steps=4"\n[training]\nepochs = 9\nbatch_size = 64\n'
    )
    argv = ["train", "--config", tmp_path / "run.toml", "--out", tmp_path / "a", "--steps", 5, "--quiet", "--no-report"]
    assert lucid(*argv).code == 0
    said = json.loads((tmp_path / "a/run.json").read_text())
    assert (said["training"]["epochs"], said["training"]["steps"], said["training"]["batch_size"]) == (None, 5, 64)
    model = Run(tmp_path / "a").model()
    assert type(model.likelihood).__name__ == "Bernoulli"
    again = ["train", "--config", tmp_path / "a/run.json", "--out", tmp_path / "b", "--quiet", "--no-report"]
    assert lucid(*again).code == 0
    weights = [(tmp_path / name / "model/model.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]


def test_a_table_goes_in_and_comes_out(lucid: Lucid, tmp_path: Path) -> None:
    from sklearn.datasets import load_wine

    load_wine(as_frame=True)["frame"].to_csv(tmp_path / "wine.csv", index=False)
    train = ["train", tmp_path / "wine.csv", "--label", "target", "--out", tmp_path / "run", "--steps", 30, "--quiet"]
    assert lucid(*train).code == 0
    assert "OptimalScaleGaussian" in lucid("info", tmp_path / "run").out
    assert lucid("evaluate", tmp_path / "run", "--num-samples", 5, "--json", tmp_path / "e.json").code == 0
    assert json.loads((tmp_path / "e.json").read_text())["bits_per_dim"] is None
    assert lucid("sample", tmp_path / "run", "--num", 5, "--out", tmp_path / "new.csv").code == 0
    header, *rows = (tmp_path / "new.csv").read_text().splitlines()
    assert header.split(",")[0] == '"alcohol"'
    assert len(rows) == 5

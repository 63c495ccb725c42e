"""Every recipe: a protocol with its source, a model of the size it states, a run that begins, a right verdict."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lucid import cli, data
from lucid.cli.train import _model
from lucid.data import Dataset
from lucid.evaluation import Evaluation, Measurement
from lucid.training import BUDGETS, Figure, Recipe, Settings, fit, read_recipe
from lucid.training.recipe import located

FOLDER = Path(__file__).parent.parent / "recipes"
RECIPES = sorted(FOLDER.glob("*.yaml"))
SHAPES = {"mnist": (28, 28), "fashion-mnist": (28, 28), "cifar10": (32, 32, 3)}
VARIANTS = [pytest.param(path, budget, id=f"{path.stem}-{budget}") for path in RECIPES for budget in BUDGETS]
LARGE = 5_000_000
"""Parameters beyond which two steps on a CPU are no quick test."""


def recipe_of(path: Path, budget: Any) -> Recipe:
    """The recipe; skipped by name where it needs a package that is not here."""
    package = re.search(r"package:(\w+)/", path.read_text(encoding="utf-8"))
    if package is not None:
        pytest.importorskip(package[1])
    return read_recipe(path, budget)


def stand_in(recipe: Recipe) -> Dataset:
    """Noise in the place of images, prepared as the recipe says: a test needs no download. Tables as they are."""
    said = dict(located(recipe.run)["data"])
    if said["source"] not in SHAPES:
        return data.load(**said)
    source = said.pop("source")
    x = torch.randint(0, 256, (40, *SHAPES[source]), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return data.load(x, name=source, kind="image", levels=256, validation=4, test=4, **said)


def count(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_there_is_a_recipe_for_each_protocol() -> None:
    assert {path.stem for path in RECIPES} >= {
        *("dynamic-mnist-mlp", "dynamic-mnist-ladder", "dynamic-mnist-ladder-cpu", "dynamic-mnist-topdown"),
        *("dynamic-mnist-vamp", "static-mnist-ladder-3", "fashion-mnist", "cifar10-topdown", "tables-penguins"),
    }


@pytest.mark.parametrize(("path", "budget"), VARIANTS)
def test_a_recipe_says_whose_protocol_it_is_and_how_a_run_is_repeated(path: Path, budget: Any) -> None:
    recipe = recipe_of(path, budget)
    assert recipe.source.link.startswith("https://")
    assert 2010 < recipe.source.year <= 2026
    assert len(recipe.protocol) > 100
    assert recipe.published or "no published figure" in recipe.protocol
    assert "seed" in recipe.run["training"]
    assert recipe.evaluation["split"] == "test"
    assert "seed" in recipe.evaluation
    assert all(figure.tolerance > 0 for figure in recipe.expected)
    Settings.of(**recipe.run["training"])
    assert f"recipes/{path.name}" in path.read_text(encoding="utf-8").splitlines()[0]  # the command


@pytest.mark.parametrize(("path", "budget"), VARIANTS)
def test_the_model_has_as_many_parameters_as_stated(path: Path, budget: Any) -> None:
    recipe = recipe_of(path, budget)
    assert recipe.parameters is not None
    assert count(_model(stand_in(recipe), recipe.run["model"], 0)) == recipe.parameters


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_its_small_variant_trains(path: Path) -> None:
    recipe = recipe_of(path, "small")
    assert recipe.parameters is not None
    assert recipe.parameters < LARGE
    found = stand_in(recipe)
    settings = replace(Settings.of(**recipe.run["training"]), steps=2, epochs=None, batch_size=4, device="cpu")
    model = _model(found, recipe.run["model"], 0)
    result = fit(model, found, settings=settings, progress=False)
    assert result.steps == 2
    assert result.skipped == 0
    assert math.isfinite(result.best_loss)


# The logs

LOGS = sorted((FOLDER / "logs").glob("*.json"))


@pytest.mark.parametrize(("path", "budget"), VARIANTS)
def test_what_is_expected_was_reached_by_a_run_that_is_logged(path: Path, budget: Any) -> None:
    """With the settings that the recipe still has, on a device that the log names."""
    recipe = recipe_of(path, budget)
    logs = [log for log in map(read_log, LOGS) if (log["recipe"], log["budget"]) == (recipe.name, budget)]
    if not recipe.expected:
        return
    assert logs, f"{path.name} expects a figure of its {budget} run, and recipes/logs has none"
    for log in logs:
        assert log["run"] == recipe.run
        assert log["parameters"] == recipe.parameters
        assert log["device"]
        found = recipe.compare(Evaluation.from_json(log["evaluation"]))
        assert all(one.reproduced for one in found), log["date"]


def test_every_log_is_of_a_recipe_that_expects_its_figures() -> None:
    for log in map(read_log, LOGS):
        assert recipe_of(FOLDER / f"{log['recipe']}.yaml", log["budget"]).expected


def read_log(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


# The verdict


def evaluation(elbo: float, likelihood: float, bits: float | None = None) -> Evaluation:
    return Evaluation(
        elbo=Measurement(elbo, 0.1, 10, "ELBO"),
        log_likelihood=Measurement(likelihood, 0.1, 100, "IW-100", 5.0),
        importance_weighted=(Measurement(likelihood, 0.1, 100, "IW-100", 5.0),),
        kl=(1.0,), reconstruction=1.0, active_units=(1,), latent_units=(1,),
        bits_per_dim=bits, bits_per_dim_note="none: a density", num_examples=10, protocol="", split="test", seed=0,
    )  # fmt: skip


def with_expected(*figures: Figure) -> Recipe:
    return replace(read_recipe(RECIPES[0]), expected=figures)


@pytest.mark.parametrize(
    ("measured", "reached", "reproduced"),
    [(80.0, True, True), (80.3, True, True), (80.31, False, False), (79.7, True, True), (79.0, True, False)],
)
def test_a_figure_is_reproduced_within_its_tolerance_on_either_side(
    measured: float, reached: bool, reproduced: bool
) -> None:
    """A bound that is far too good is as suspicious as one that is too bad."""
    recipe = with_expected(Figure("minus_elbo", 80.0, 0.3 + 1e-9))
    (one,) = recipe.compare(evaluation(-measured, -70.0))
    assert one.measured == measured
    assert (one.reached, one.reproduced) == (reached, reproduced)


def test_each_figure_is_read_from_its_own_estimate() -> None:
    recipe = with_expected(*(Figure(name, 1.0) for name in ("minus_elbo", "minus_log_likelihood", "bits_per_dim")))
    assert [one.measured for one in recipe.compare(evaluation(-3.0, -2.0, 1.5))] == [3.0, 2.0, 1.5]
    assert [one.figure.unit for one in recipe.compare(evaluation(-3.0, -2.0, 1.5))] == ["nats", "nats", "bits/dim"]
    with pytest.raises(ValueError, match="names bits_per_dim, and there is none: none: a density"):
        recipe.compare(evaluation(-3.0, -2.0))


def test_a_figure_is_one_that_is_measured() -> None:
    with pytest.raises(ValueError, match="a figure is named minus_elbo, minus_log_likelihood, bits_per_dim"):
        Figure("nll", 80.0)
    with pytest.raises(ValueError, match="must not be negative"):
        Figure("minus_elbo", 80.0, -1.0)
    with pytest.raises(ValueError, match="finite number"):
        Figure("minus_elbo", math.nan)


# The file

TINY = """
title: Digits
source: {title: A test, year: 2026, link: "https://example.org"}
protocol: The digits, as they are.
data: {source: digits}
model: {name: mlp, size: 1, latents: 4}
training: {epochs: 1, batch_size: 64, seed: 0}
evaluation: {num_samples: 10}
published: [{name: bits_per_dim, value: 1.0, note: nobody's}]
expected: [{name: minus_elbo, value: 120.0, tolerance: 60.0}]
small:
  training: {steps: 3}
  evaluation: {examples: 20}
  expected: [{name: minus_elbo, value: 10.0, tolerance: 1.0}]
"""


def tiny(tmp_path: Path, text: str = TINY) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_small_variant_replaces_single_settings(tmp_path: Path) -> None:
    full, small = (read_recipe(tiny(tmp_path), budget) for budget in BUDGETS)
    assert full.run["training"] == {"epochs": 1, "batch_size": 64, "seed": 0}
    assert small.run["training"] == {"steps": 3, "batch_size": 64, "seed": 0}  # one length, the variant's
    assert small.run["model"] == full.run["model"]
    assert small.evaluation == {"num_samples": 10, "examples": 20}
    assert [figure.value for figure in small.expected] == [10.0]
    without = TINY[: TINY.rindex("  expected:")]
    assert read_recipe(tiny(tmp_path, without), "small").expected == ()  # what the full one reached says nothing of it


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {source: digits}", "is not a recipe: it lacks title, source, protocol, model, training"),
        ("- a list", "must hold settings under names"),
        ("a: [", "cannot be read as YAML"),
        (TINY.replace("num_samples: 10", "draws: 10"), "evaluation in .* has 'draws'; it takes split, num_samples"),
        (TINY.replace("year: 2026", "when: 2026"), "is not a recipe"),
        (TINY[: TINY.index("small:")], "has no variant small"),
    ],
)
def test_what_is_not_a_recipe_is_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_recipe(tiny(tmp_path, text), "small")


def test_data_may_be_a_file_that_a_package_brings_along(tmp_path: Path) -> None:
    text = TINY.replace("source: digits", "source: package:sklearn/datasets/data/iris.csv")
    recipe = read_recipe(tiny(tmp_path, text))
    assert recipe.run["data"]["source"] == "package:sklearn/datasets/data/iris.csv"  # the same on every machine
    source = Path(located(recipe.run)["data"]["source"])
    assert source.is_file()
    assert source.parts[-4:] == ("sklearn", "datasets", "data", "iris.csv")
    with pytest.raises(ValueError, match=r"x\.csv of the Python package no_such, which is not here: pip"):
        located({"data": {"source": "package:no_such/x.csv"}})


def test_nothing_in_a_recipe_is_executed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read as YAML"):
        read_recipe(tiny(tmp_path, f"title: !!python/object/apply:os.mkdir ['{tmp_path}/made']\n{TINY}"))
    assert not (tmp_path / "made").exists()


# The command


def test_the_command_trains_measures_compares_and_leaves_a_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out, log = tiny(tmp_path), tmp_path / "run", tmp_path / "logs" / "tiny.json"
    command = ["recipe", str(path), "--out", str(out), "--quiet", "--device", "cpu", "--log", str(log)]
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert "expected minus_elbo 120 ± 60: PASS" in said
    assert "published bits_per_dim 1 bits/dim, nobody's: missed by" in said
    written = json.loads(log.read_text(encoding="utf-8"))
    assert written == json.loads((out / "recipe.json").read_text(encoding="utf-8"))
    assert written["steps"] == 23
    assert written["device"].endswith("CPU")
    assert written["expected"][0]["reached"] is True
    assert written["expected"][0]["measured"] == pytest.approx(-written["evaluation"]["elbo"]["value"], abs=1e-4)
    assert cli.main(command) == 0  # the run is there: it is measured again
    assert "has finished" in capsys.readouterr().out


def test_a_run_of_other_settings_is_not_taken_for_one_of_the_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["recipe", str(tiny(tmp_path)), "--out", str(tmp_path / "run"), "--quiet", "--device", "cpu"]
    assert cli.main(command) == 0
    tiny(tmp_path, TINY.replace("batch_size: 64", "batch_size: 32"))
    assert cli.main(command) == 2
    assert "has another batch_size (64) than the recipe (32): choose another --out" in capsys.readouterr().err


def test_a_missed_figure_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["recipe", str(tiny(tmp_path)), "--budget", "small", "--out", str(tmp_path / "run"), "--quiet"]
    assert cli.main([*command, "--device", "cpu"]) == 1
    said = capsys.readouterr().out
    assert "expected minus_elbo 10 ± 1: FAIL" in said
    assert "20 examples, split test (first 20)" in said


def test_the_command_refuses_a_model_of_another_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny(tmp_path, f"parameters: 7\n{TINY}")
    assert cli.main(["recipe", str(path), "--out", str(tmp_path / "run"), "--quiet", "--device", "cpu"]) == 1
    assert "the recipe says 7 parameters, and the model has" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()  # before anything was trained


def test_a_recipe_describes_a_run_for_train_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny(tmp_path)
    command = ["train", "--config", str(path), "--no-report", "--quiet", "--device", "cpu", "--out"]
    assert cli.main([*command, str(tmp_path / "full")]) == 0
    assert cli.main([*command, str(tmp_path / "small"), "--budget", "small"]) == 0
    assert capsys.readouterr().out.count("trained 23 steps") == 1
    assert json.loads((tmp_path / "small" / "run.json").read_text(encoding="utf-8"))["training"]["steps"] == 3
    assert cli.main(["train", "--config", str(tmp_path / "small" / "run.json"), "--budget", "small"]) == 2
    assert "--budget chooses a variant of a recipe" in capsys.readouterr().err


def test_a_recipe_is_found_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipes").mkdir()
    tiny(tmp_path / "recipes")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["recipe", "tinny"]) == 2
    assert "there is no recipe tinny; in ./recipes there are tiny" in capsys.readouterr().err
    assert cli.main(["recipe", "tiny", "--budget", "small", "--quiet", "--device", "cpu"]) == 1
    assert (tmp_path / "runs" / "recipes" / "tiny-small" / "recipe.json").is_file()

"""Training under every objective: resumed to the bit, described, its state kept; and collapse shown live."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.objectives.test_contract import OBJECTIVES
from tests.training.helpers import Watcher, dataset, same_weights, vae, vectors
from tests.training.updates import portion, update_of

from lucid import data, nn
from lucid.evaluation import unit_statistics
from lucid.models import VAE, VAEConfig
from lucid.objectives import ELBO, GECO, BetaTC, Capacity, DReG, Linear
from lucid.training import ProgressBar, Run, Settings, fit
from lucid.training.engine import Engine
from lucid.training.progress import _kl_in_words, _units_in_words
from lucid.training.step import TrainingStep
from lucid.training.units import count_units
from lucid.training.window import Averages

SETTINGS: dict[str, Any] = {"steps": 20, "batch_size": 20, "validate_every": 7, "log_every": 3, "precision": "float32"}


def stop_at(step: int) -> Watcher:
    return Watcher(lambda now: os.kill(os.getpid(), signal.SIGTERM) if now == step else None)


def objective_of(name: str) -> Any:
    return BetaTC(160) if name == "beta-tc" else OBJECTIVES[name]()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_run_that_was_stopped_goes_on_to_the_bit(name: str, tmp_path: Path) -> None:
    unbroken = fit(vae(), dataset(), objective=objective_of(name), out=tmp_path / "a", progress=False, **SETTINGS)
    stopped = fit(vae(), dataset(), objective=objective_of(name), out=tmp_path / "b", progress=stop_at(9), **SETTINGS)
    assert stopped.interrupted
    again = {"objective": objective_of(name), "out": tmp_path / "b", "resume": True, "progress": False}
    resumed = fit(vae(), dataset(), **again, **SETTINGS)
    assert same_weights(unbroken.model, resumed.model)
    assert resumed.best_loss == unbroken.best_loss
    lines = [Run(tmp_path / run).metrics() for run in "ab"]
    changing = ("seconds", "examples_per_second")
    assert [{k: v for k, v in line.items() if k not in changing} for line in lines[0]] == [
        {k: v for k, v in line.items() if k not in changing} for line in lines[1]
    ]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_run_says_what_it_minimised(name: str, tmp_path: Path) -> None:
    objective = objective_of(name)
    fit(vae(), dataset(), objective=objective, out=tmp_path, progress=False, **(SETTINGS | {"steps": 2}))
    assert repr(Run(tmp_path).objective()) == repr(objective)
    with pytest.raises(ValueError, match="cannot be resumed with other objective"):
        fit(vae(), dataset(), objective=ELBO(0.123), out=tmp_path, resume=True, progress=False, **SETTINGS)


def test_an_objective_made_of_functions_is_not_made_again(tmp_path: Path) -> None:
    objective = ELBO(lambda _step: 0.5)
    fit(vae(), dataset(), objective=objective, out=tmp_path, progress=False, **(SETTINGS | {"steps": 2}))
    assert Run(tmp_path).objective() is None


# The state of an objective


def test_training_leaves_the_objective_that_was_given_alone() -> None:
    objective = GECO(1.0, rate=0.05)
    fit(vae(), dataset(), objective=objective, progress=False, **SETTINGS)
    assert (float(objective.log_multiplier), int(objective.num_batches)) == (0.0, 0)


def test_the_multiplier_is_told_and_moves_in_training_alone(tmp_path: Path) -> None:
    # −log p(x|z) is far above the target: λ grows by the most a step allows, e^0.1.
    fit(vae(), dataset(), objective=GECO(-1e4, rate=1.0), out=tmp_path, progress=False, **SETTINGS)
    lines = {line["step"]: line for line in Run(tmp_path).metrics() if line["split"] == "train"}
    for step, line in lines.items():
        assert line["multiplier"] == pytest.approx(torch.tensor(0.1 * step).exp().item(), rel=1e-4)
        assert line["beta"] == pytest.approx(1 / line["multiplier"])
    validations = [line for line in Run(tmp_path).metrics() if line["split"] == "validation"]
    assert validations[0]["loss"] == pytest.approx(
        sum(validations[0]["kl"]) + 10 * (validations[0]["reconstruction"] + 1e4), rel=1e-4
    )


@pytest.mark.parametrize("on_device", [False, True])
def test_an_update_that_is_left_out_leaves_the_multiplier_where_it_was(on_device: bool) -> None:
    objective = GECO(1.0, rate=0.05)
    update = update_of(vae().train(), objective=objective, on_device=on_device)
    update(portion(vectors(16)), 1.0, 0)
    kept = {name: value.clone() for name, value in objective.state_dict().items()}
    assert int(kept["num_batches"]) == 1
    update(portion(torch.full((16, 6), float("nan"))), 1.0, 1)
    assert all(torch.equal(value, kept[name]) for name, value in objective.state_dict().items())
    update(portion(vectors(16)), 1.0, 2)
    assert int(objective.num_batches) == 2


@pytest.mark.parametrize("name", ["elbo", "iwae", "dreg", "miwae", "ciwae"])
def test_means_over_examples_do_not_depend_on_how_a_batch_is_divided(name: str) -> None:
    found: list[torch.Tensor] = []
    for parts in (1, 3):
        model = two_levels().double()
        update = update_of(model, objective=OBJECTIVES[name](), accumulate=parts, precision="float64", batch_size=16)
        update.gradients(portion(vectors(16).double()), 0.5, 3)
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("name", ["iwae", "dreg", "geco", "infovae"])
def test_activations_computed_twice_change_nothing(name: str) -> None:
    found = [
        fit(vae(), dataset(), objective=objective_of(name), recompute=again, progress=False, **SETTINGS).model
        for again in (False, True)
    ]
    assert same_weights(*found)


def test_capacity_is_told_beside_its_weight_and_its_schedule_foreseen(tmp_path: Path) -> None:
    objective = Capacity(Linear(steps=100, end=5.0), gamma=3.0)
    result = fit(vae(), dataset(), objective=objective, out=tmp_path, progress=False, **SETTINGS)
    line = Run(tmp_path).metrics()[0]
    assert (line["beta"], line["capacity"]) == (3.0, pytest.approx(5.0 * (line["step"] - 1) / 100))
    assert any("the capacity schedule needs 100 steps and the run has 20" in note for note in result.notes)


def test_gradients_within_the_step_are_not_compiled() -> None:
    with pytest.raises(ValueError, match="DReG takes gradients within the step, which cannot be compiled"):
        fit(vae(), dataset(), objective=DReG(2), compile=True, progress=False, **SETTINGS)


# Collapse, live


def two_levels() -> VAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts: dict[str, Any] = {
            "encoders": [nn.Linear(6, 8), nn.Linear(4, 4)],
            "decoders": [nn.Linear(4, 6), nn.Linear(2, 4)],
            "priors": [nn.Linear(2, 8)],
        }
        return VAE(VAEConfig(**parts))


@pytest.mark.parametrize("make", [vae, two_levels])
def test_active_units_are_counted_at_each_validation(make: Any, tmp_path: Path) -> None:
    told: list[tuple[list[int], list[int]]] = []

    class Told(Watcher):
        def units(self, active: Sequence[int], total: Sequence[int]) -> None:
            told.append((list(active), list(total)))

    # Without decay or further steps the last validation is of the weights that are left.
    result = fit(make(), dataset(), out=tmp_path, progress=Told(lambda _: None), **SETTINGS)
    lines = [line for line in Run(tmp_path).metrics() if line["split"] == "validation"]
    assert [line["step"] for line in lines] == [7, 14, 20]
    assert told == [(line["active_units"], line["latent_units"]) for line in lines]
    assert result.best_step == 20
    draws = 1 if result.model.depth == 1 else 10
    expected = unit_statistics(result.model, [dataset().validation.tensor()], num_samples=draws)
    assert lines[-1]["active_units"] == [level.num_active for level in expected]
    assert lines[-1]["latent_units"] == [level.variance.numel() for level in expected]
    assert sum(lines[-1]["active_units"]) > 0


@pytest.mark.parametrize(("make", "examples"), [(vae, 1000), (two_levels, 500)])
def test_it_looks_at_the_first_examples_and_at_no_more(make: Any, examples: int) -> None:
    model, seen = make(), []
    split = data.load(vectors(2000), validation=1500, test=0).validation
    inner = TrainingStep(model, ELBO())

    def step(x: torch.Tensor, *more: Any) -> Any:
        seen.append(x)
        return inner(x, *more)

    found = count_units(step, inner, model, split, engine=Engine(Settings(device="cpu"), model), batch_size=77)
    torch.testing.assert_close(torch.cat(seen), split.tensor(limit=examples))
    assert all(0 < active <= total for active, total in zip(found.active, found.total, strict=True))
    assert inner.training, "the mode is put back"


def test_a_collapse_is_seen_in_the_metrics(tmp_path: Path) -> None:
    # β of 1000 leaves nothing in the latents.
    settings = SETTINGS | {"steps": 300, "validate_every": 100, "learning_rate": 0.02, "weight_decay": 0.0}
    fit(vae(), dataset(), objective=ELBO(1000.0), out=tmp_path, progress=False, **settings)
    last = [line for line in Run(tmp_path).metrics() if line["split"] == "validation"][-1]
    assert last["active_units"] == [0]
    assert last["latent_units"] == [3]


def test_counting_units_changes_nothing_of_the_training() -> None:
    often = fit(vae(), dataset(), objective=ELBO(), progress=False, **(SETTINGS | {"validate_every": 5}))
    rarely = fit(vae(), dataset(), objective=ELBO(), progress=False, **(SETTINGS | {"validate_every": 20}))
    assert often.best_step == rarely.best_step == 20
    assert same_weights(often.model, rarely.model)


def test_the_line_stays_one_line_however_many_levels() -> None:
    assert _kl_in_words([1.0, 0.25]) == "1.00 0.25"
    assert _units_in_words([14, 0], [16, 8]) == "14/16 0/8"
    assert _kl_in_words([0.5] * 30 + [0.05] * 10) == "15.50 in 40 levels, 10 collapsed"
    assert _units_in_words([3] * 40, [16] * 40) == "120/640"


def test_the_bar_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    bar = ProgressBar()
    bar.begin(0, 10)
    bar._next = 0.0
    bar.units([14, 0], [16, 8])
    bar.update(5, Averages(3.0, -2.0, 1.0, [0.5, 0.5]), 1.0, 100.0, 0)
    bar.end()
    assert "kl 0.50 0.50  au 14/16 0/8  β 1" in capsys.readouterr().err.replace("\n", " ")

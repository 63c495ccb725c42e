"""The loop: early stopping, and going on after it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.helpers import dataset, same_weights, vae
from torch import Tensor

from lucid import io
from lucid.training import Run, fit


def frozen(parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
    """Weights stay as they are, so no validation after the first is better."""
    return torch.optim.SGD(parameters, lr=0.0)


SETTINGS: dict[str, Any] = {
    "batch_size": 40,
    "validate_every": 5,
    "log_every": 5,
    "optimizer": frozen,
    "progress": False,
}


@pytest.mark.parametrize("patience", [1, 3])
def test_a_run_ends_after_so_many_validations_without_a_new_best(patience: int, tmp_path: Path) -> None:
    result = fit(vae(), dataset(), steps=100, early_stopping=patience, out=tmp_path, **SETTINGS)
    last = 5 * (1 + patience)
    assert (result.steps, result.best_step, result.total_steps, result.interrupted) == (last, 5, 100, False)
    assert result.notes == (f"stopped early after step {last}: no better since step 5",)
    assert Run(tmp_path).finished() == (last, True)
    assert [line["step"] for line in Run(tmp_path).metrics() if line["split"] == "validation"][-1] == last
    assert (tmp_path / "checkpoints" / f"step-{last:08d}.safetensors").exists()
    assert same_weights(io.load(tmp_path / "model"), result.model)


def test_without_it_a_run_goes_to_its_end() -> None:
    result = fit(vae(), dataset(), steps=30, **SETTINGS)
    assert (result.steps, result.notes) == (30, ())


def test_a_new_best_begins_the_count_anew() -> None:
    """A model that learns all the way is not stopped by a patience of one or two validations in which noise wins."""
    settings = SETTINGS | {"optimizer": None, "learning_rate": 0.01, "validate_every": 20}
    result = fit(vae(), dataset(), steps=100, early_stopping=2, **settings)
    assert result.best_step > 40


def test_a_resumed_run_that_had_stopped_goes_on_if_it_is_given_more_patience(tmp_path: Path) -> None:
    """It then goes as far as if that had been given at once; otherwise it is at its end."""
    stopped = fit(vae(), dataset(), steps=100, early_stopping=2, out=tmp_path, **SETTINGS)
    again = fit(vae(), dataset(), steps=100, early_stopping=2, out=tmp_path, resume=True, **SETTINGS)
    assert (stopped.steps, again.steps) == (15, 15)
    assert again.notes == stopped.notes
    assert Run(tmp_path).finished() == (15, True)
    patient = fit(vae(), dataset(), steps=100, early_stopping=5, out=tmp_path, resume=True, **SETTINGS)
    assert patient.steps == fit(vae(), dataset(), steps=100, early_stopping=5, **SETTINGS).steps == 30
    whole = fit(vae(), dataset(), steps=100, out=tmp_path, resume=True, **SETTINGS)
    assert (whole.steps, Run(tmp_path).finished()) == (100, (100, False))


def test_a_finished_run_that_is_resumed_is_at_its_end(tmp_path: Path) -> None:
    first = fit(vae(), dataset(), steps=10, out=tmp_path, **SETTINGS)
    metrics = (tmp_path / "metrics.jsonl").read_bytes()
    again = fit(vae(seed=9), dataset(), steps=10, out=tmp_path, resume=True, **SETTINGS)
    assert (again.steps, again.best_loss, again.best_step) == (10, first.best_loss, first.best_step)
    assert same_weights(first.model, again.model)
    assert (tmp_path / "metrics.jsonl").read_bytes() == metrics


def test_auto_begins_a_run_or_goes_on_with_it(tmp_path: Path) -> None:
    for steps in (5, 10):
        assert fit(vae(), dataset(), steps=steps, out=tmp_path / "run", resume="auto", **SETTINGS).steps == steps
    assert Run(tmp_path / "run").finished() == (10, False)

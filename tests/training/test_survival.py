"""What reviewers found that a run must live through, or refuse in words, and did not."""

from __future__ import annotations

import math
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.helpers import Watcher, dataset, same_weights, vae, vectors
from tests.training.updates import Spoiling
from torch import Tensor, nn

from lucid import data
from lucid.models import VAE, VAEConfig
from lucid.training import Settings, fit

QUIET: dict[str, Any] = {"progress": False}


def test_an_extended_run_whose_beta_ends_elsewhere_chooses_its_best_anew(tmp_path: Path) -> None:
    """Losses at different β cannot be compared."""

    def schedule(step: int) -> float:
        return min(1.0, (step + 1) / 100)

    settings: dict[str, Any] = {"batch_size": 20, "validate_every": 10, "learning_rate": 0.01, **QUIET}
    first = fit(vae(beta_schedule=schedule), dataset(), out=tmp_path, steps=10, **settings)
    again = fit(vae(beta_schedule=schedule), dataset(), out=tmp_path, steps=100, resume=True, **settings)
    assert (first.best_step, again.best_step > 10) == (10, True)
    assert any("chosen anew" in note for note in again.notes)


def test_a_schedule_is_asked_for_the_steps_of_the_run_alone() -> None:
    table = [0.1 * step for step in range(10)]
    assert fit(vae(beta_schedule=lambda step: table[step]), dataset(), steps=10, **QUIET).steps == 10


def test_a_buffer_that_artefacts_do_without_is_resumed(tmp_path: Path) -> None:
    class Centring(nn.Module):
        mean: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 6)
            self.register_buffer("mean", torch.zeros(6), persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            self.mean.lerp_(x.detach().float().mean(0), 0.1)
            return self.linear(x - self.mean)

    def model() -> VAE:
        torch.manual_seed(0)
        return VAE(VAEConfig(encoders=[Centring()], decoders=[nn.Linear(3, 6)]))

    settings: dict[str, Any] = {"steps": 20, "batch_size": 20, "precision": "float32"}
    unbroken = fit(model(), dataset(), progress=False, **settings)
    watcher = Watcher(lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == 9 else None)
    stopped = fit(model(), dataset(), out=tmp_path, progress=watcher, **settings)
    assert (stopped.interrupted, stopped.signal) == (True, signal.SIGTERM)
    resumed = fit(model(), dataset(), out=tmp_path, resume=True, progress=False, **settings)
    assert same_weights(unbroken.model, resumed.model)


def test_the_time_of_a_run_holds_the_wait_for_its_data() -> None:
    class Slow(torch.utils.data.Dataset[Tensor]):
        def __len__(self) -> int:
            return 60

        def __getitem__(self, index: int) -> Tensor:
            time.sleep(0.002)
            return vectors(60)[index]

    result = fit(vae(), data.load(Slow(), validation=0, test=0), steps=3, batch_size=20, **QUIET)
    assert result.seconds > 0.1


def test_a_damaged_checkpoint_is_told_in_the_notes_of_a_quiet_run(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"batch_size": 20, "checkpoint_seconds": 0, **QUIET}
    fit(vae(), dataset(), out=tmp_path, steps=5, **settings)
    newest = max((tmp_path / "checkpoints").glob("step-*.safetensors"))
    content = bytearray(newest.read_bytes())
    content[-5] ^= 1
    newest.write_bytes(content)
    result = fit(vae(), dataset(), out=tmp_path, steps=6, resume=True, **settings)
    assert any(note.startswith("damaged checkpoint") and "step-00000004" in note for note in result.notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: fit(vae(), data.load(vectors(40), validation=0, test=0), early_stopping=2, **QUIET), "no validation"),
        (
            lambda: fit(vae().requires_grad_(False), dataset(), steps=2, **QUIET),
            "no parameter that requires a gradient",
        ),
        (lambda: Settings(recompute=True, strategy="sharded"), "choose one"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_step(change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        change()


def test_a_small_last_batch_is_not_cut_into_single_rows() -> None:
    """24 rows in parts of 8, and a rest of 8: one part, for which a normalised layer has statistics."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 6))
    model = VAE(VAEConfig(encoders=[encoder], decoders=[nn.Linear(3, 6)]))
    source = data.load(vectors(32), validation=0, test=0)
    assert fit(model, source, epochs=2, batch_size=24, accumulate=3, **QUIET).steps == 4


def test_a_resumed_run_does_not_take_a_long_gradient_for_one_that_is_not_finite(tmp_path: Path) -> None:
    """One broken update before the interruption, and a merely long one after it: nothing is traced for the latter."""
    factors = [1.0] * 40
    factors[5], factors[35] = math.nan, 1e4
    settings: dict[str, Any] = {"steps": 40, "batch_size": 40, "precision": "float32", "validate_every": 100}
    first = Watcher(lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == 30 else None)
    fit(vae(), dataset(), out=tmp_path, progress=first, objective=Spoiling(factors), **settings)
    assert sum("not finite" in message for message in first.messages) == 1
    then = Watcher(lambda _step: None)
    rest = Spoiling(factors[30:])
    result = fit(vae(), dataset(), out=tmp_path, progress=then, objective=rest, resume=True, **settings)
    assert (result.skipped, [message for message in then.messages if "not finite" in message]) == (2, [])

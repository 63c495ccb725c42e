"""The average of the weights: its formula, and that what is validated, kept and saved is the average."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.helpers import Watcher, dataset, same_weights, vae, vectors
from tests.training.updates import Spoiling
from torch import Tensor

from lucid import data, io, nn
from lucid.models import VAE, VAEConfig
from lucid.training import fit
from lucid.training.average import WeightAverage


class Weights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, dtype=torch.float64))
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)
        self.register_buffer("statistic", torch.zeros(2))


def moved(model: Weights, steps: int, average: WeightAverage, first: int = 0) -> list[Tensor]:
    """The weights after each of some steps of a random walk, each taken into the average."""
    taken: list[Tensor] = []
    for step in range(first, first + steps):
        with torch.no_grad():
            model.weight.add_(torch.randn(3, generator=torch.Generator().manual_seed(step), dtype=torch.float64))
            model.statistic += 1  # type: ignore[operator]
        average.update(step)
        taken.append(model.weight.detach().clone())
    return taken


@pytest.mark.parametrize("decay", [0.3, 0.9, 0.999])
def test_it_is_the_sum_of_all_weights_each_times_what_was_kept_of_it_since(decay: float) -> None:
    """After T updates w_0 Π_t d_t + Σ_t w_t (1 − d_t) Π_{s>t} d_s, where d_t = min(d, (1 + t)/(10 + t))."""
    model = Weights()
    with torch.no_grad():
        model.weight.fill_(5.0)
    average = WeightAverage(model, decay)
    taken = moved(model, 60, average)
    kept = [min(decay, (1 + t) / (10 + t)) for t in range(60)]
    expected = 5.0 * math.prod(kept) + sum(
        weight * (1 - kept[t]) * math.prod(kept[t + 1 :]) for t, weight in enumerate(taken)
    )
    torch.testing.assert_close(average.state()["weight"], expected, rtol=1e-12, atol=1e-12)


def test_only_trained_parameters_are_averaged() -> None:
    assert WeightAverage(Weights(), 0.9).state().keys() == {"weight"}


def test_in_place_the_model_is_the_average_and_afterwards_itself_bit_for_bit() -> None:
    model = Weights()
    average = WeightAverage(model, 0.9)
    moved(model, 20, average)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    held = average.state()["weight"].clone()
    address = model.weight.data_ptr()

    def validation() -> None:
        with average.in_place():
            assert torch.equal(model.weight, held)
            assert torch.equal(model.statistic, before["statistic"])  # type: ignore[arg-type]
            raise ValueError("within")

    with pytest.raises(ValueError, match="within"):
        validation()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(average.state()["weight"], held)
    assert model.weight.data_ptr() == address  # what the optimizer holds


def test_a_restored_average_goes_on_as_if_it_had_not_stopped() -> None:
    unbroken = WeightAverage(model := Weights(), 0.99)
    moved(model, 30, unbroken)
    stopped = WeightAverage(model := Weights(), 0.99)
    moved(model, 12, stopped)
    resumed = WeightAverage(model, 0.99)
    resumed.restore({name: value.clone() for name, value in stopped.state().items()})
    moved(model, 18, resumed, first=12)
    assert torch.equal(resumed.state()["weight"], unbroken.state()["weight"])


def checkpoint(folder: Path) -> dict[str, Tensor]:
    tensors, _ = io.read_verified(max((folder / "checkpoints").glob("step-*.safetensors")))
    return tensors


def test_a_run_trains_the_same_weights_and_keeps_their_average(tmp_path: Path) -> None:
    """Validation swaps the average in and out four times: what is trained is bit for bit what it is without one."""
    settings: dict[str, Any] = {"steps": 40, "batch_size": 40, "validate_every": 10, "progress": False}
    fit(vae(), dataset(), **settings, out=tmp_path / "plain")
    result = fit(vae(), dataset(), **settings, ema=0.95, out=tmp_path / "ema")
    plain, ema = checkpoint(tmp_path / "plain"), checkpoint(tmp_path / "ema")
    assert all(torch.equal(ema[name], value) for name, value in plain.items() if not name.startswith("best."))
    assert result.best_step == 40
    for name, parameter in result.model.named_parameters():
        assert torch.equal(parameter, ema[f"average.{name}"])
        assert torch.equal(parameter, ema[f"best.{name}"])
        assert not torch.equal(parameter, ema[f"model.{name}"])
    assert same_weights(io.load(tmp_path / "ema" / "model"), result.model)


def test_validation_measures_the_average(tmp_path: Path) -> None:
    """With a decay of nearly 1 from the start on, the average is where the run began, however far the weights are."""
    averages = WeightAverage.update
    settings: dict[str, Any] = {"steps": 60, "validate_every": 60, "learning_rate": 0.01, "progress": False}
    untrained = fit(vae(), dataset(), **(settings | {"learning_rate": 1e-12}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WeightAverage, "update", lambda self, _updates: averages(self, 10**9))
        averaged = fit(vae(), dataset(), **settings, ema=1 - 1e-12)
    trained = fit(vae(), dataset(), **settings)
    assert averaged.best_loss == pytest.approx(untrained.best_loss, rel=1e-3)
    assert trained.best_loss < averaged.best_loss - 0.2


def test_without_validation_the_artefact_holds_the_average(tmp_path: Path) -> None:
    source = data.load(vectors(64), validation=0, test=0)
    result = fit(vae(), source, steps=20, ema=0.9, out=tmp_path, progress=False)
    saved = checkpoint(tmp_path)
    for name, parameter in io.load(tmp_path / "model").named_parameters():
        assert torch.equal(parameter, saved[f"average.{name}"])
        assert torch.equal(parameter, result.model.get_parameter(name))


def test_without_validation_tied_weights_are_averaged_too(tmp_path: Path) -> None:
    encoder, decoder = nn.Linear(6, 6), nn.Sequential(nn.Linear(3, 6), nn.Linear(6, 6))
    decoder[1].weight = encoder.weight
    model = VAE(VAEConfig(encoders=[encoder], decoders=[decoder]))
    source = data.load(vectors(64), validation=0, test=0)
    fit(model, source, steps=20, ema=0.9, learning_rate=0.02, out=tmp_path, progress=False)
    average = checkpoint(tmp_path)["average.encoders.0.weight"]
    assert torch.equal(model.encoders[0].weight, average)  # type: ignore[arg-type]
    assert torch.equal(io.load(tmp_path / "model").get_parameter("encoders.0.weight"), average)


def test_an_interrupted_run_resumes_with_its_average(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"steps": 30, "batch_size": 40, "validate_every": 12, "ema": 0.95}
    unbroken = fit(vae(), dataset(), **settings, progress=False)

    def stop(step: int) -> None:
        if step == 17:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(vae(), dataset(), **settings, checkpoint_seconds=0.0, out=tmp_path, progress=Watcher(stop))
    resumed = fit(vae(seed=9), dataset(), **settings, out=tmp_path, resume=True, progress=False)
    assert same_weights(unbroken.model, resumed.model)


def test_a_batch_that_is_left_out_leaves_the_average_alone(tmp_path: Path) -> None:
    source = data.load(vectors(64), validation=0, test=0)
    held: list[dict[str, Tensor]] = []
    for steps in (3, 4):
        settings: dict[str, Any] = {"steps": steps, "warmup": 0, "decay": "none", "ema": 0.9, "progress": False}
        fit(vae(), source, objective=Spoiling([1.0] * 3 + [math.nan]), out=tmp_path / str(steps), **settings)
        held.append(checkpoint(tmp_path / str(steps)))
    for name, value in held[0].items():
        if name.endswith(("weight", "bias")):
            assert torch.equal(held[1][name], value), name

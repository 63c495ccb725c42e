"""In which numbers a run computes, where, and that half precision trains and resumes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.helpers import Watcher, dataset, same_weights, vae
from tests.training.updates import Spoiling
from torch import Tensor

from lucid.training import Settings, fit
from lucid.training.checkpoints import Checkpoints
from lucid.training.engine import Engine
from lucid.training.precision import device_of, has_bfloat16, precision_of

CPU = torch.device("cpu")
LARGE = torch.nn.Linear(400, 400)
"""160,000 parameters: with batches of 128, twenty million products."""


def with_capabilities(patch: pytest.MonkeyPatch, *names: str) -> None:
    patch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, **dict.fromkeys(names, True)})


@pytest.mark.parametrize("capability", ["avx512_bf16", "amx_bf16", "arm_bf16"])
def test_auto_is_bfloat16_where_the_processor_computes_in_it(capability: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_capabilities(monkeypatch, capability)
    assert precision_of(Settings(), CPU, LARGE) == "bf16-mixed"
    with_capabilities(monkeypatch)
    assert not has_bfloat16(CPU)
    assert precision_of(Settings(), CPU, LARGE) == "float32"


def test_auto_stays_in_float32_where_half_precision_costs_more_than_it_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    with_capabilities(monkeypatch, "avx512_bf16")
    assert precision_of(Settings(), CPU, vae()) == "float32"
    assert precision_of(Settings(batch_size=64), CPU, LARGE) == "float32"


def test_the_names_of_capabilities_are_those_torch_uses() -> None:
    assert any("bf16" in name for name in torch.cpu.get_capabilities())


def test_auto_is_float64_for_a_model_that_is() -> None:
    assert precision_of(Settings(), CPU, vae().double()) == "float64"
    assert precision_of(Settings(precision="float32"), CPU, vae().double()) == "float32"


def test_auto_never_imitates_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def supported(including_emulation: bool = True) -> bool:
        asked.append(including_emulation)
        return False

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert precision_of(Settings(), torch.device("cuda", 0), LARGE) == "float32"
    assert asked == [False]


def test_what_a_device_cannot_is_refused() -> None:
    with pytest.raises(ValueError, match="an mps device has no float64; float32 and bf16-mixed run on it"):
        precision_of(Settings(precision="float64"), torch.device("mps"), vae())


def test_each_process_of_a_machine_has_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_of(Settings(), 1) == torch.device("cuda", 1)
    with pytest.raises(ValueError, match="process 2 of this machine has no CUDA device of its own: there are 2"):
        device_of(Settings(device="cuda"), 2)
    assert device_of(Settings(device="cpu"), 2) == CPU


@pytest.mark.parametrize(
    ("precision", "weights", "inside"),
    [
        ("float32", torch.float32, torch.float32),
        ("float64", torch.float64, torch.float64),
        ("bf16-mixed", torch.float32, torch.bfloat16),
        ("fp16-mixed", torch.float32, torch.float16),
    ],
)
def test_networks_compute_in_what_was_chosen(precision: Any, weights: torch.dtype, inside: torch.dtype) -> None:
    engine = Engine(Settings(precision=precision), vae())
    layer = engine.place(torch.nn.Linear(3, 3))
    with engine.autocast():
        out = layer(torch.randn(2, 3, dtype=engine.dtype))
    assert (layer.weight.dtype, out.dtype) == (weights, inside)


# fp16 and the scale of its loss


def scale_of(folder: Path) -> dict[str, Any]:
    checkpoint = Checkpoints(folder / "checkpoints", tell=pytest.fail).newest()
    assert checkpoint is not None
    return checkpoint.said["scaler"]


def test_fp16_trains_and_its_scale_is_in_the_checkpoint(tmp_path: Path) -> None:
    before = vae()
    result = fit(vae(), dataset(), steps=100, learning_rate=0.01, precision="fp16-mixed", out=tmp_path, progress=False)
    held = dataset().test.tensor()
    assert float(result.model.elbo(held, num_samples=50)) > float(before.eval().elbo(held, num_samples=50)) + 0.5
    scaler = scale_of(tmp_path)
    # Halved at each update that overflowed, and at no other.
    assert scaler["scale"] == 2.0 ** (16 - result.skipped)
    assert scaler["_growth_tracker"] <= 100


def test_an_overflow_halves_the_scale_and_says_nothing(tmp_path: Path) -> None:
    """The scale is tried out by letting it overflow: that is no news."""
    watcher = Watcher(lambda _step: None)
    settings: dict[str, Any] = {"steps": 12, "precision": "fp16-mixed", "skip": None}
    objective = Spoiling([1.0, 1e9, 1e9, 1e9])
    result = fit(vae(), dataset(), **settings, objective=objective, out=tmp_path, progress=watcher)
    assert result.skipped >= 3
    assert scale_of(tmp_path)["scale"] == 2.0 ** (16 - result.skipped)
    assert not any("left out" in message for message in watcher.messages)


def test_a_run_in_fp16_resumes_exactly(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"steps": 20, "precision": "fp16-mixed", "validate_every": 8}
    unbroken = fit(vae(), dataset(), **settings, progress=False, out=tmp_path / "a", objective=Spoiling([1e9] * 2))

    def stop(step: int) -> None:
        if step == 11:
            raise KeyboardInterrupt

    more: dict[str, Any] = {"checkpoint_seconds": 0.0, "out": tmp_path / "b", "progress": Watcher(stop)}
    with pytest.raises(KeyboardInterrupt):
        fit(vae(), dataset(), **settings, **more, objective=Spoiling([1e9] * 2))
    # The calls of the objective begin anew with the process, so nothing is spoilt any more.
    more = {"out": tmp_path / "b", "resume": True, "progress": False}
    resumed = fit(vae(seed=9), dataset(), **settings, **more, objective=Spoiling())
    assert same_weights(unbroken.model, resumed.model)
    assert resumed.skipped == unbroken.skipped >= 2
    assert scale_of(tmp_path / "a") == scale_of(tmp_path / "b")


def test_the_scale_does_not_change_the_gradient() -> None:
    """Up to rounding: what the optimizer sees is unscaled before it is judged, clipped and used."""

    class Seeing(torch.optim.SGD):
        seen: list[Tensor]

        def step(self, closure: Any = None) -> Any:
            self.seen = [p.grad.clone() for group in self.param_groups for p in group["params"]]
            return super().step(closure)

    made: list[Seeing] = []

    def optimizer(parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        made.append(Seeing(parameters, lr=0.1))
        return made[-1]

    for precision in ("float32", "fp16-mixed"):
        fit(vae(), dataset(), steps=1, precision=precision, optimizer=optimizer, clip=1.0, progress=False)
    for exact, scaled in zip(made[0].seen, made[1].seen, strict=True):
        torch.testing.assert_close(scaled, exact, rtol=0.02, atol=0.005)

"""Runs that were made to collapse: `diagnose` must name how, from trials, and its remedy must pay what it says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.report import collapsed

from lucid import data, nn
from lucid.models import VAE, VAEConfig
from lucid.objectives import ELBO
from lucid.report import Diagnosis, diagnose
from lucid.training import Run, fit, fresh_copy

STEPS = collapsed.STEPS


def found_in(make: Callable[[], VAE], folder: Path) -> Diagnosis:
    run = collapsed.train(make, folder / make.__name__)
    return diagnose(run, make=lambda: collapsed.seeded(make), steps=STEPS)


@pytest.mark.parametrize(
    ("make", "cause", "reason", "options"),
    [
        (collapsed.heavy, "objective", "weight", ("--beta-schedule linear:hold=60,steps=90",)),
        (collapsed.coarse, "objective", "scale", ("--likelihood optimal-scale-gaussian",)),
        (collapsed.deaf, "decoder", "deaf", ()),
        (collapsed.mute, "encoder", "mute", ()),
        (collapsed.cold, "schedule", "cold start", ("--beta-schedule linear:hold=60,steps=90",)),
    ],
)
def test_the_cause_is_named(
    make: Callable[[], VAE], cause: str, reason: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    found = found_in(make, tmp_path)
    (verdict,) = found.verdicts
    assert (verdict.cause, verdict.reason, verdict.options) == (cause, reason, options)
    assert verdict.levels == found.use.collapsed == tuple(range(len(found.use.levels)))
    for gain in (verdict.gain, verdict.gain_over_run):
        assert gain is None or (gain.value > 2 and gain.sure)
    words = found.explain()
    assert cause in words.lower() or reason == "cold start"
    assert "nats of ELBO" in words
    assert json.loads(json.dumps(found.to_json()))["verdicts"][0]["cause"] == cause


def test_a_healthy_run_is_told_to_be_healthy_and_nothing_is_trained(tmp_path: Path) -> None:
    run = collapsed.train(_bare, tmp_path / "run")
    told: list[str] = []
    found = diagnose(run, steps=STEPS, tell=told.append)
    assert found.healthy
    assert (found.verdicts, found.trials, found.since) == ((), (), (None,))
    assert told == ["measuring the levels"]
    assert "is healthy: its latents are in use" in found.explain()
    assert found.gap.explain() in found.explain()


def _bare() -> VAE:
    model = collapsed.heavy()
    model.config.kl_weight = 1.0
    return model


def test_the_run_is_left_as_it_is_and_the_diagnosis_is_reproducible(tmp_path: Path) -> None:
    run = collapsed.train(collapsed.heavy, tmp_path / "run", steps=60)
    before = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in run.rglob("*") if path.is_file()}
    one, other = (diagnose(run, steps=20).to_json() for _ in range(2))
    assert one == other
    assert {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in run.rglob("*") if path.is_file()} == before


def test_without_trials_it_says_what_and_not_why(tmp_path: Path) -> None:
    run = collapsed.train(collapsed.heavy, tmp_path / "run", steps=100)
    found = diagnose(run, trials=False)
    assert not found.healthy
    assert (found.verdicts, found.trials) == ((), ())
    assert "leave --no-trial out" in found.explain()
    first = next(line for line in Run(run).metrics() if line["split"] == "validation")
    assert found.since[0] is not None
    assert found.since[0].step is not None
    assert found.since[0].step >= first["step"]


def test_the_objective_is_the_runs_own_or_must_be_given_again(tmp_path: Path) -> None:
    def trained(objective: ELBO, name: str) -> Path:
        settings = {"steps": 60, "progress": False, "compile": False}
        fit(collapsed.seeded(_bare), data.load("digits"), out=tmp_path / name, objective=objective, **settings)
        return tmp_path / name

    (verdict,) = diagnose(trained(ELBO(30.0), "described"), steps=100).verdicts
    assert verdict.reason == "weight"
    opaque = trained(ELBO(lambda _step: 30.0), "opaque")
    with pytest.raises(ValueError, match=r"minimised ELBO\(.*given from Python: pass it again \(objective=…\)"):
        diagnose(opaque, steps=20)
    assert diagnose(opaque, trials=False).use.collapsed == (0,)


def test_weights_that_cannot_be_drawn_anew_ask_for_make() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.bias

    model = VAE(VAEConfig(encoders=[nn.Sequential(nn.Linear(6, 4), Own())], decoders=[nn.Linear(2, 6)]))
    with pytest.raises(ValueError, match=r"encoders.0.1 has weights that cannot be drawn anew: pass make="):
        fresh_copy(model)

"""The contestants of `benchmarks/training.py` minimise the same thing, and the command measures them."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lucid.models import VAE, VAEConfig, draws, drive

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module
    for name in [name for name in sys.modules if name.split(".")[0] in ("training", "training_loops")]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["mlp", "conv", "hierarchical", "tiny", "published"])
def test_hand_written_loss_is_the_negative_elbo_of_lucids_model(loops: Any, name: str) -> None:
    workload = loops("training_loops.workloads").WORKLOADS[name]
    torch.manual_seed(0)
    parts = workload.parts()
    x = torch.rand(4, *workload.shape).round()
    config = VAEConfig(parts.encoders, parts.decoders, parts.priors or None, "bce")
    torch.manual_seed(1)
    by_hand = loops("training_loops.by_hand").objective(parts)(parts, x)
    torch.manual_seed(1)
    record = drive(VAE(config).walk(x), draws())
    torch.testing.assert_close(by_hand, -record.elbo().mean(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["mlp", "hierarchical"])
def test_trivial_loss_trains_every_parameter(loops: Any, name: str) -> None:
    workload = loops("training_loops.workloads").WORKLOADS[name]
    parts = workload.parts()
    loops("training_loops.by_hand").trivial_loss(parts, torch.rand(2, *workload.shape)).backward()
    assert all(parameter.grad is not None for parameter in parts.all().parameters())


def test_each_turn_is_compared_with_the_hand_written_turn_right_before_it(loops: Any) -> None:
    report = loops("training_loops.turns").Report
    taken: list[str] = []

    class Worker:
        def __init__(self, name: str) -> None:
            self.name = name

        def turn(self) -> Any:
            taken.append(self.name)
            return report(seconds=len(taken), loss=0.0, peak_mebibytes=0.0, notes=[])

    workers = {name: Worker(name) for name in ("hand-written", "bare", "pythae")}
    pairs = loops("training").interleaved(workers, 5)
    for name in ("bare", "pythae"):
        assert len(pairs[name]) == 5
        for reference, own in pairs[name]:
            assert taken[reference.seconds - 1] == "hand-written"
            assert taken[own.seconds - 1] == name
            assert own.seconds == reference.seconds + 1


def test_command_writes_a_row_for_each_contestant(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    command = [sys.executable, str(BENCHMARKS / "training.py"), "--workload", "tiny", "--contestant", "bare"]
    done = subprocess.run(
        [*command, "--rounds", "2", "--threads", "1", "--json", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = {row["contestant"]: row for row in json.loads(file.read_text())}
    assert rows.keys() == {"hand-written", "bare"}
    assert rows["hand-written"]["ratio"] == 1
    assert rows["bare"]["ratio"] > 0
    # Bernoulli on 64 pixels: near 64·log 2 = 44 nats and below it after 900 steps.
    assert 20 < rows["hand-written"]["loss"] < 45

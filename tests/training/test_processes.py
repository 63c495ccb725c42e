"""Several processes train the model that one would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.training import processes
from torch import Tensor

from lucid import io
from lucid.data import Share
from lucid.training import Run
from lucid.training.checkpoints import Checkpoints


def torchrun(count: int, *arguments: object, restarts: int = 0) -> subprocess.CompletedProcess[str]:
    """The functions of `processes`, in `count` processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    command += [f"--max-restarts={restarts}", "--monitor-interval=0.1", "-m", "tests.training.processes"]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)
    # PyTorch's gloo threads abort now and then when the interpreter exits, after everything has been done and written.
    assert done.returncode == 0 or "(SIGABRT)" in done.stderr, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """What one process finds."""
    folder = tmp_path_factory.mktemp("one")
    processes.everything(folder)
    return io.read_tensors(folder / "found.safetensors")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """What two processes find."""
    folder = tmp_path_factory.mktemp("two")
    torchrun(2, "everything", folder)
    return io.read_tensors(folder / "found.safetensors")


@pytest.mark.parametrize("kind", ["gradient", "measured", "trained", "best", "told"])
@pytest.mark.parametrize("strategy", processes.STRATEGIES)
def test_two_processes_find_what_one_does(
    one: dict[str, Tensor], two: dict[str, Tensor], strategy: str, kind: str
) -> None:
    """Gradients of full, uneven and nearly empty batches, in one part or three; figures; weights after 21 steps, of a
    conditional model too.

    In float64, to rounding: sums are taken in another order.
    """
    names = [name for name in one if name.startswith(f"{kind}/{strategy}")]
    assert names
    assert one.keys() == two.keys()
    for name in names:
        torch.testing.assert_close(
            two[name], one[name], rtol=1e-9, atol=1e-11, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_accumulated_gradients_are_those_of_the_whole_batch(one: dict[str, Tensor]) -> None:
    for name in (name for name in one if name.startswith("gradient/data-parallel/33/3/")):
        torch.testing.assert_close(one[name], one[name.replace("/33/3/", "/33/1/")], rtol=1e-9, atol=1e-12)


def test_the_gradients_are_not_all_alike(one: dict[str, Tensor]) -> None:
    """What is compared above depends on the rows, so that a process that took other rows would be seen."""
    name = "encoders.0.0.weight"
    assert not torch.allclose(one[f"gradient/sharded/31/1/{name}"], one[f"gradient/sharded/33/1/{name}"], rtol=1e-3)


@pytest.mark.parametrize("of", [1, 2, 3, 7])
def test_every_row_of_a_batch_is_one_processs(of: int) -> None:
    for whole in range(20):
        rows = [row for rank in range(of) for row in range(*Share(rank, of).rows(whole))]
        assert rows == list(range(whole))


def test_only_the_first_process_writes_and_a_killed_one_is_replaced(tmp_path: Path) -> None:
    """Kill one of two processes in the middle: torchrun starts both again, and the run ends as the unbroken one."""
    torchrun(2, "written", tmp_path / "unbroken")
    done = torchrun(2, "killed", tmp_path / "broken", 18, restarts=1)
    assert "SIGKILL" in done.stderr or "-9" in done.stderr  # it did happen
    states = [Checkpoints(tmp_path / name / "checkpoints", tell=print).newest() for name in ("unbroken", "broken")]
    assert states[0] is not None
    assert states[1] is not None
    assert states[0].tensors.keys() == states[1].tensors.keys()
    for name, value in states[0].tensors.items():
        assert torch.equal(value, states[1].tensors[name]), name
    lines = [[line["loss"] for line in Run(tmp_path / name).metrics()] for name in ("unbroken", "broken")]
    assert lines[0] == pytest.approx(lines[1], rel=1e-12)

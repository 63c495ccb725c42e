"""Several processes give the figures of one, to the last bit, and count each example once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from tests import linear_gaussian as oracles
from tests import linear_ladder
from tests.evaluation.exact import ListedSplit, data, linear_gaussian
from torch import Tensor

import lucid.nn as nn
from lucid.data import Share
from lucid.evaluation import Evaluation, Team, evaluate
from lucid.evaluation.sharing import added
from lucid.models import VAE, VAEConfig

SETTINGS: dict[str, Any] = {"num_samples": [2, 7], "elbo_samples": 3, "batch_size": 10, "max_rows": 64}


def of_a_team(size: int, model: VAE, x: Tensor) -> list[Evaluation]:
    """A team of threads: each has its share, and they add up their numbers at a barrier."""
    barrier, given = threading.Barrier(size), [torch.zeros(0)] * size
    found: list[Any] = [None] * size

    def work(rank: int) -> None:
        def total(numbers: Tensor) -> Tensor:
            given[rank] = numbers
            barrier.wait(timeout=30)
            summed = torch.stack(given).sum(0)
            barrier.wait(timeout=30)
            return summed

        found[rank] = evaluate(model, x, team=Team(Share(rank, size), total), **SETTINGS)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return found


@pytest.mark.parametrize("size", [2, 3, 7])  # of 5 chunks: the last has processes with nothing to do
def test_a_team_finds_what_one_process_finds(size: int) -> None:
    model, x = linear_gaussian().eval(), data(43)
    alone = evaluate(model, x, **SETTINGS)
    assert alone.num_examples == 43
    assert of_a_team(size, model, x) == [alone] * size


def test_a_team_finds_the_units_of_deep_models_too() -> None:
    oracle = linear_ladder.arbitrary(3)
    model, x = oracle.model().eval(), oracles.randn(23, 5, seed=0)
    alone = evaluate(model, x, **SETTINGS)
    assert len(alone.active_units) == 3
    assert of_a_team(2, model, x) == [alone, alone]


def test_new_processes_find_what_one_process_finds() -> None:
    model = linear_gaussian()
    split = ListedSplit(data(43))
    told: list[tuple[int, int | None]] = []
    found = evaluate(model, split, workers=2, progress=lambda *at: told.append(at), **SETTINGS)
    assert found == evaluate(model, split, **SETTINGS)
    assert told[-1] == (43, 43)


def test_a_model_that_cannot_be_copied_is_refused_in_words() -> None:
    class Local(nn.Linear):
        pass

    model = VAE(VAEConfig(encoders=[Local(4, 4)], decoders=[nn.Linear(2, 4)]))
    with pytest.raises(ValueError, match=r"cannot be done with these .*define their classes and functions at the top"):
        evaluate(model, data(20).float(), workers=2, **SETTINGS)


def test_settings_that_do_not_go_together_are_refused() -> None:
    model, x = linear_gaussian(), data(5)
    with pytest.raises(ValueError, match="workers must be at least 1; received 0"):
        evaluate(model, x, workers=0)
    with pytest.raises(ValueError, match="leave it at 1 where a team measures together"):
        evaluate(model, x, workers=2, team=Team(Share(), lambda numbers: numbers))
    with pytest.raises(ValueError, match="computes on the CPU, and the model is on meta"):
        evaluate(linear_gaussian().to("meta"), x, workers=2)


def test_processes_of_torchrun_find_what_one_finds(tmp_path: Path) -> None:
    """Two processes of 5 chunks; each writes what it was given, and both are what one process finds."""
    script = tmp_path / "job.py"
    script.write_text(
        "import json, os, sys\n"
        "from tests.evaluation.exact import data, linear_gaussian\n"
        "from lucid.evaluation import evaluate\n"
        "from lucid.training import evaluating_together\n"
        "with evaluating_together() as team:\n"
        f"    found = evaluate(linear_gaussian(), data(43), team=team, **{SETTINGS!r})\n"
        "with open(os.path.join(sys.argv[1], f'{team.share.rank}.json'), 'w') as file:\n"
        "    json.dump(found.to_json(), file)\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(
        [*command, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False, env=environment()
    )
    # PyTorch's gloo threads abort now and then when the interpreter exits, after everything has been written.
    assert done.returncode == 0 or "(SIGABRT)" in done.stderr, done.stderr[-3000:]
    alone = evaluate(linear_gaussian(), data(43), **SETTINGS)
    for rank in range(2):
        assert Evaluation.from_json(json.loads((tmp_path / f"{rank}.json").read_text())) == alone


class Watched:
    """Something that notes which thread copies it, and when."""

    def __init__(self) -> None:
        self.copied_by: list[threading.Thread] = []

    def __getstate__(self) -> dict[str, Any]:
        self.copied_by.append(threading.current_thread())
        return {"copied_by": []}


def nothing_found(share: Share, watched: Watched) -> Any:
    """What a further process finds."""
    assert share.rank == 1
    assert isinstance(watched, Watched)
    return torch.ones(2, dtype=torch.float64).numpy()


def test_model_and_data_are_copied_before_this_process_computes_with_them() -> None:
    """PyTorch moves a tensor to shared memory to copy it: meanwhile, a product with it would be of freed memory."""
    watched = Watched()
    before: list[threading.Thread] = []

    def own(share: Share) -> Tensor:
        before.extend(watched.copied_by)
        return torch.zeros(2, dtype=torch.float64)

    assert added(own, nothing_found, (watched,), 2, None).tolist() == [1.0, 1.0]
    assert before == watched.copied_by == [threading.main_thread()]


def environment() -> dict[str, str]:
    """That of these tests, one thread a process."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}

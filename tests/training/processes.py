"""What `test_processes.py` starts under torchrun, in as many processes as it says: python -m tests.training.processes.

Every process does the same; what the first finds is written to the folder it is given.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from tests.conditional import ConditionalGaussian, labelled
from tests.training.helpers import Watcher
from torch import Tensor

from lucid import data, io, nn
from lucid.data import Dataset
from lucid.models import VAE, VAEConfig
from lucid.objectives import ELBO
from lucid.training import Settings, Silent, fit
from lucid.training import engine as engine_room
from lucid.training.loop import Loop

RUN: dict[str, Any] = {
    "steps": 21,
    "batch_size": 32,
    "learning_rate": 0.01,
    "validate_every": 7,
    "log_every": 3,
    "precision": "float64",
    "ema": 0.9,
    "clip": 1.0,
    "warmup": 2,
}
STRATEGIES = ("data-parallel", "sharded")
SIZES = (1, 2, 3, 31, 33)
"""Of validation parts, and of batches: of 1 row the first of two processes has none."""


def dataset(validation: int = 13) -> Dataset:
    """Grey values binarised at each visit; 65 training examples leave a last batch of one."""
    pixels = torch.randint(0, 256, (65 + validation, 6), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    return data.load(pixels, levels=256, binarisation="dynamic", validation=validation, test=0)


def model(dropout: float = 0.0) -> VAE:
    """Two levels with a learned prior and a visible sigmoid: what several processes could get wrong."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        encoders = [
            nn.Sequential(nn.Linear(6, 16), nn.SiLU(), nn.Dropout(dropout), nn.Linear(16, 8)),
            nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 4)),
        ]
        decoders = [
            nn.Sequential(nn.Linear(4, 16), nn.SiLU(), nn.Linear(16, 6), nn.Sigmoid()),
            nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 4)),
        ]
        priors = [nn.Linear(2, 8)]
    return VAE(VAEConfig(encoders=encoders, decoders=decoders, priors=priors, reconstruction_loss="bce"))


def loop(settings: dict[str, Any], validation: int = 13) -> Loop:
    """A loop that writes nothing."""
    more: dict[str, Any] = {"out": None, "progress": Silent(), "tensorboard": False, "description": {}}
    return Loop(model(), dataset(validation), Settings.of(**settings), ELBO(0.5), None, **more)


def gradients(strategy: str, rows: int, accumulate: int) -> dict[str, Tensor]:
    """Of the mean loss over a batch, whole, by parameter."""
    one = loop({**RUN, "batch_size": max(rows, 2), "strategy": strategy, "accumulate": accumulate})
    x = dataset().train.tensor(limit=rows).double()
    first, end = one.engine.share.rows(rows)
    one.update.gradients(data.Portion(x[first:end], first, rows), 0.5, 7)
    return {name: engine_room.whole(p.grad) for name, p in one.model.named_parameters() if p.grad is not None}


def measured(strategy: str, size: int) -> Tensor:
    """Loss, reconstruction and both KL over a validation part of that size."""
    one = loop({**RUN, "strategy": strategy, "batch_size": 8}, validation=size)
    averages = one.measure(one.data.validation, [0.5])[0]
    return torch.tensor([averages.loss, averages.reconstruction, *averages.kl], dtype=torch.float64)


def everything(folder: Path) -> None:
    """All figures of every strategy, by name, in one file."""
    engine_room._UNIT = 60  # so that some layers of the small model are sharded by themselves
    found: dict[str, Tensor] = {}
    for strategy in STRATEGIES:
        for rows in SIZES:
            for accumulate in (1, 3):
                if accumulate <= rows:
                    here = gradients(strategy, rows, accumulate)
                    found |= {f"gradient/{strategy}/{rows}/{accumulate}/{name}": g for name, g in here.items()}
            found[f"measured/{strategy}/{rows}"] = measured(strategy, rows)
        result = fit(model(), dataset(), out=folder / strategy, strategy=strategy, progress=False, **RUN)
        found |= {f"trained/{strategy}/{name}": value.clone() for name, value in result.model.state_dict().items()}
        found[f"best/{strategy}"] = torch.tensor(result.best_loss)
        told = fit(
            ConditionalGaussian(), labelled(81), strategy=strategy, progress=False, **RUN
        )  # the last batch: a row
        found |= {f"told/{strategy}/{name}": value.clone() for name, value in told.model.state_dict().items()}
        found[f"told/{strategy}/best"] = torch.tensor(told.best_loss)
    if engine_room.is_main_process():
        io.write_tensors(folder / "found.safetensors", found)


def written_by_others(folder: Path) -> None:
    """Leave a trace of every file that a process other than the first opens for writing in the run folder."""

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).startswith(str(folder)) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            os.write(2, f"process {os.environ['RANK']} opened {arguments[0]}\n".encode())
            os._exit(3)

    if not engine_room.is_main_process():
        sys.addaudithook(watch)
    fit(model(dropout=0.3), dataset(), out=folder, progress=False, checkpoint_seconds=0, **RUN)


def killed(folder: Path, at: int) -> None:
    """A run whose second process dies without a word, the first time it comes to step `at`."""

    def strike(step: int) -> None:
        if step == at and os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            os.kill(os.getpid(), signal.SIGKILL)

    # Only the first process has a display; the others look at the steps of their own.
    count = Loop.portions

    def portions(self: Loop) -> Any:
        for portion in count(self):
            strike(self.position.step)
            yield portion

    Loop.portions = portions
    fit(
        model(dropout=0.3), dataset(), out=folder, resume="auto", progress=Watcher(lambda _step: None),
        checkpoint_seconds=0, **RUN,
    )  # fmt: skip


def main() -> None:
    """Do what is asked: WHAT FOLDER [STEP]."""
    torch.set_num_threads(1)
    what, folder = sys.argv[1], Path(sys.argv[2])
    if what != "killed" and "RANK" in os.environ:
        dist.init_process_group("gloo")  # several runs one after the other: none of them ends it
    if what == "everything":
        everything(folder)
    elif what == "written":
        written_by_others(folder)
    else:
        killed(folder, int(sys.argv[3]))
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()

"""Time of a training step, contestants side by side in one interleaved run.

    python benchmarks/training.py [--quick] [--workload NAME] [--threads N] [--json FILE]

Every contestant trains the same network on the same random 0/1 data, in a process of its own, a few steps at a time, in
turn. A row is the median over the rounds of the ratio of its time per step to that of `hand-written` in the same round,
so that a machine whose speed drifts drifts for all; and the peak memory of its process. A peer that is not installed is
left out, and said so.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lucid
from lucid import models
from lucid.training.loop import Loop
from lucid.training.metrics import MetricsWriter
from lucid.training.progress import Silent
from lucid.training.settings import Settings

BATCH, FEATURES = 128, 784
LEARNING_RATE = 1e-3
STEPS = 20
"""Steps of a contestant's turn."""

Advance = Callable[[int], None]
"""Trains a number of steps."""


class Workload(NamedTuple):
    """A network to train: how its two halves are made, and how many latents are between them."""

    title: str
    latents: int
    encoder: Callable[[], nn.Module]
    decoder: Callable[[], nn.Module]


def relu_layers(*widths: int) -> nn.Module:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for inner, outer in pairwise(widths):
        layers += [nn.Linear(inner, outer), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def gated_layers(inputs: int, outputs: int) -> nn.Module:
    """Two hidden layers of 300 gated units."""
    return nn.Sequential(
        *(nn.Linear(inputs, 600), nn.GLU(), nn.Linear(300, 600), nn.GLU(), nn.Linear(300, outputs))
    )  # fmt: skip


WORKLOADS = {
    "mlp": Workload(
        "MLP 784-512-2×64", 64, lambda: relu_layers(FEATURES, 512, 128), lambda: relu_layers(64, 512, FEATURES)
    ),
    "published": Workload(
        "MLP of two gated layers of 300, 40 latents",
        40,
        lambda: gated_layers(FEATURES, 80),
        lambda: gated_layers(40, FEATURES),
    ),
}


def random_images(n: int) -> Tensor:
    """0/1 images, (n, 784), uint8."""
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(n, FEATURES, generator=generator) < 0.2).to(torch.uint8)


def bare(workload: Workload, data: Tensor) -> Advance:
    """The networks alone with a trivial loss: the limit."""
    enc, dec = workload.encoder(), workload.decoder()
    x = data[:BATCH].float()
    parameters = [*enc.parameters(), *dec.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True)

    def advance(steps: int) -> None:
        for _ in range(steps):
            loss = dec(enc(x)[:, : workload.latents]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return advance


def hand_written(workload: Workload, data: Tensor) -> Advance:
    """What an expert writes by hand: index batches, fused Adam, the closed-form KL."""
    enc, dec = workload.encoder(), workload.decoder()
    optimizer = torch.optim.Adam([*enc.parameters(), *dec.parameters()], lr=LEARNING_RATE, fused=True)
    order = torch.randperm(len(data))
    position = 0

    def advance(steps: int) -> None:
        nonlocal position, order
        for _ in range(steps):
            if position + BATCH > len(data):
                order, position = torch.randperm(len(data)), 0
            x = data[order[position : position + BATCH]].float()
            position += BATCH
            mu, logvar = enc(x).chunk(2, 1)
            z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
            reconstruction = F.binary_cross_entropy_with_logits(dec(z), x, reduction="sum")
            kl = -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum()
            loss = (reconstruction + kl) / BATCH
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return advance


def lucid_fit(precision: Any) -> Callable[[Workload, Tensor], Advance]:
    """`lucid.training.fit` as a user gets it, metrics and checks included, in one precision."""

    def prepare(workload: Workload, data: Tensor) -> Advance:
        config = models.VAEConfig(
            encoders=[workload.encoder()], decoders=[workload.decoder()], reconstruction_loss="bce"
        )
        dataset = lucid.data.load(data, levels=2, validation=0, test=0)
        loop = Loop(
            models.VAE(config),
            dataset,
            Settings(steps=10**9, batch_size=BATCH, learning_rate=LEARNING_RATE, decay="none", precision=precision),
            lucid.objectives.ELBO(),
            lambda parameters: torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True),
            out=None,
            progress=Silent(),
            tensorboard=False,
            description={},
        )
        writer = MetricsWriter(None)
        return lambda steps: loop.advance(writer, until=loop.position.step + steps)

    return prepare


def pythae(workload: Workload, data: Tensor) -> Advance:
    """pythae's own trainer on the same network."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    logging.getLogger("pythae").setLevel(logging.ERROR)

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = workload.encoder()

        def forward(self, x: Tensor) -> ModelOutput:
            mu, logvar = self.net(x).chunk(2, 1)
            return ModelOutput(embedding=mu, log_covariance=logvar)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = workload.decoder()

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.net(z).sigmoid())

    config = VAEConfig(input_dim=(FEATURES,), latent_dim=workload.latents, reconstruction_loss="bce")
    model = VAE(config, encoder=Encoder(), decoder=Decoder())
    trainers: dict[int, BaseTrainer] = {}
    folder = tempfile.mkdtemp()

    def advance(steps: int) -> None:
        # Its unit of training is the epoch: one over as many examples as the steps need.
        if steps not in trainers:
            settings = BaseTrainerConfig(
                output_dir=folder,
                num_epochs=1,
                per_device_train_batch_size=BATCH,
                learning_rate=LEARNING_RATE,
                no_cuda=True,
            )
            examples = BaseDataset(data[: steps * BATCH].float(), torch.zeros(steps * BATCH))
            trainers[steps] = BaseTrainer(model, examples, training_config=settings)
            trainers[steps].prepare_training()
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
            trainers[steps].train_step(epoch=1)

    return advance


CONTESTANTS: dict[str, Callable[[Workload, Tensor], Advance]] = {
    "bare": bare,
    "hand-written": hand_written,
    "lucid-float32": lucid_fit("float32"),
    "lucid-bf16": lucid_fit("bf16-mixed"),
    "pythae": pythae,
}


def work(name: str, workload: str, threads: int, pipe: Connection) -> None:
    """Train when told to, in a process of its own: no allocator, cache or import is shared."""
    torch.set_num_threads(threads)
    try:
        advance = CONTESTANTS[name](WORKLOADS[workload], random_images(BATCH * 100))
    except ImportError as error:
        pipe.send(str(error))
        return
    advance(STEPS)
    pipe.send(None)
    for steps in iter(pipe.recv, 0):
        started = time.perf_counter()
        advance(steps)
        pipe.send((time.perf_counter() - started) / steps)
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def started_workers(workload: str, threads: int) -> dict[str, Connection]:
    """The contestants that can run here, warmed up and waiting."""
    context = multiprocessing.get_context("spawn")
    workers: dict[str, Connection] = {}
    for name in CONTESTANTS:
        ours, theirs = context.Pipe()
        context.Process(target=work, args=(name, workload, threads, theirs), daemon=True).start()
        problem = ours.recv()
        if problem is None:
            workers[name] = ours
        else:
            print(f"{name} is left out: {problem}", file=sys.stderr)
    return workers


def measure(workload: str, rounds: int, threads: int) -> list[dict[str, Any]]:
    """Rows of contestant, ratio to hand-written, milliseconds a step (medians over interleaved rounds), peak memory."""
    workers = started_workers(workload, threads)
    times: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(rounds):
        for name, pipe in workers.items():
            pipe.send(STEPS)
            times[name].append(pipe.recv())
    rows: list[dict[str, Any]] = []
    for name, spent in times.items():
        workers[name].send(0)
        ratios = [t / r for t, r in zip(spent, times["hand-written"], strict=True)]
        rows.append(
            {
                "workload": workload,
                "contestant": name,
                "ratio": statistics.median(ratios),
                "milliseconds": 1000 * statistics.median(spent),
                "peak_mebibytes": workers[name].recv(),
            }
        )
    return rows


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument("--workload", choices=list(WORKLOADS), help="one of them (all)")
    parser.add_argument("--threads", type=int, default=1, help="PyTorch's threads (1, steady on a shared machine)")
    parser.add_argument("--json", metavar="FILE", help="write the rows there too")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in [args.workload] if args.workload else WORKLOADS:
        here = measure(name, rounds=10 if args.quick else 40, threads=args.threads)
        rows += here
        print(f"{WORKLOADS[name].title}, batch {BATCH}, {args.threads} thread(s)")
        print(f"{'contestant':<16}{'ratio':>8}{'ms/step':>10}{'peak MiB':>10}")
        for row in here:
            print(
                f"{row['contestant']:<16}{row['ratio']:>8.3f}{row['milliseconds']:>10.2f}{row['peak_mebibytes']:>10.0f}"
            )
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

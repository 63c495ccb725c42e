"""Families side by side on dynamically binarised MNIST, each with the same processor time for training.

    python benchmarks/mnist_families.py [--minutes M] [--families mlp ladder topdown] [--num-samples K] [--out DIR]

- mlp: the published perceptrons, two hidden layers of 300 gated units each way, 40 latents, N(0, I) prior (84.45 nats
  at IW-5000 when trained to convergence: Norouzi, Fleet, Norouzi, 2020, https://arxiv.org/abs/2004.04795);
- ladder: the same perceptrons in a `LadderVAE` of two levels of 40 latents, half as wide between the levels;
- topdown: the preset "topdown" of size 1, convolutions, five latents.

Each trains in a process of its own on one thread, all at once. How many steps fit into the time is found by timing some
first; β warms up over the first third. Trained on 50,000 images binarised at each visit, chosen on 10,000, measured on
the test images binarised once.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from lucid import data, evaluation, io, models, nn
from lucid.objectives import ELBO, Linear
from lucid.training import Run, fit

SETTINGS: dict[str, dict[str, Any]] = {
    "mlp": {"learning_rate": 1e-3, "precision": "bf16-mixed"},
    "ladder": {"learning_rate": 1e-3, "precision": "bf16-mixed"},
    "topdown": {"learning_rate": 3e-3, "precision": "float32"},
}
TIMED = 200


def gated(inputs: int, outputs: int, width: int = 300) -> nn.Sequential:
    """Two hidden layers of gated units."""
    return nn.Sequential(
        *(nn.Linear(inputs, 2 * width), nn.GLU()), *(nn.Linear(width, 2 * width), nn.GLU()), nn.Linear(width, outputs)
    )  # fmt: skip


def make(family: str, dataset: data.Dataset) -> models.LatentModel:
    """A new model; its weights are those of seed 0."""
    torch.manual_seed(0)
    if family == "topdown":
        return models.create("topdown", dataset, size=1)
    image = nn.Unflatten(1, (1, 28, 28))
    if family == "mlp":
        return models.VAE(
            models.VAEConfig(
                encoders=[nn.Sequential(nn.Flatten(), gated(784, 80))],
                decoders=[nn.Sequential(gated(40, 784), image)],
                reconstruction_loss="bce",
            )
        )
    return models.LadderVAE(
        models.VAEConfig(
            encoders=[nn.Sequential(nn.Flatten(), gated(784, 80)), gated(40, 80, 150)],
            decoders=[nn.Sequential(gated(40, 784), image), gated(40, 40, 150)],
            priors=[gated(40, 80, 150)],
            reconstruction_loss="bce",
            hierarchical_kl=False,
        )
    )


def train(family: str, minutes: float, out: Path, num_samples: int, examples: int) -> None:
    """Time some steps, train as many as fit, measure, and leave the figures in the run's folder."""
    torch.set_num_threads(1)
    dataset = data.load("mnist", binarisation="dynamic")
    settings = {"weight_decay": 0.0, "compile": False, "progress": False, **SETTINGS[family]}
    started = time.process_time()
    fit(make(family, dataset), dataset.train.tensor(128 * TIMED), steps=TIMED, validate_every=TIMED, **settings)
    steps = int(minutes * 60 / (time.process_time() - started) * TIMED)
    started = time.process_time()
    fit(
        make(family, dataset),
        dataset,
        objective=ELBO(Linear(steps=max(1, steps // 3))),
        steps=steps,
        validate_every=max(1, steps // 30),
        out=out,
        **settings,
    )
    spent = (time.process_time() - started) / 60
    model = Run(out).model()
    result = evaluation.evaluate(model, dataset.test.tensor(examples), num_samples=num_samples)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    figures = {"family": family, "cpu_minutes": spent, "steps": steps, "parameters": parameters, **result.to_json()}
    io.write_json(out / "benchmark.json", figures)


def row(figures: dict[str, Any]) -> str:
    """One line of the table."""
    elbo, iw = figures["elbo"], figures["log_likelihood"]
    kl = " ".join(f"{value:.1f}" for value in figures["kl"])
    return (
        f"{figures['family']:<9}{figures['parameters']:>10,}{figures['cpu_minutes']:>9.1f}{figures['steps']:>9,}"
        f"{figures['steps'] * 128 / 50_000:>8.0f}{-elbo['value']:>10.2f} ± {elbo['standard_error']:.2f}"
        f"{-iw['value']:>10.2f} ± {iw['standard_error']:.2f}   {kl}"
    )


def main() -> None:
    """Run the families, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=15.0, help="of processor time, for training")
    parser.add_argument("--families", nargs="+", choices=list(SETTINGS), default=["mlp", "ladder"])
    parser.add_argument("--num-samples", type=int, default=500, help="importance draws per example")
    parser.add_argument("--examples", type=int, default=2_000, help="test images measured")
    parser.add_argument("--out", type=Path, default=Path("runs/mnist-families"))
    parser.add_argument("--one", choices=list(SETTINGS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one is not None:
        train(args.one, args.minutes, args.out / args.one, args.num_samples, args.examples)
        return
    running = [
        subprocess.Popen([sys.executable, __file__, "--one", family, *_passed_on(args)])
        for family in args.families
        if not (args.out / family / "benchmark.json").exists()
    ]
    codes = [process.wait() for process in running]
    if any(codes):
        sys.exit(1)
    importance = f"IW-{args.num_samples}"
    print(f"{'':<9}{'parameters':>10}{'CPU min':>9}{'steps':>9}{'passes':>8}{'−ELBO':>12}{importance:>17}  KL by level")
    for family in args.families:
        print(row(json.loads((args.out / family / "benchmark.json").read_text())))


def _passed_on(args: argparse.Namespace) -> list[str]:
    names = ("minutes", "num_samples", "examples", "out")
    return [text for name in names for text in (f"--{name.replace('_', '-')}", str(getattr(args, name)))]


if __name__ == "__main__":
    main()

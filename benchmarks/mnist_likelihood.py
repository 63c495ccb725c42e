"""Test log-likelihood of the published MLP on dynamically binarised MNIST.

    python benchmarks/mnist_likelihood.py [--epochs N] [--num-samples K] [--examples N] [--out DIR]

Two hidden layers of 300 gated units, 40 latents, N(0, I) prior: 84.45 nats at IW-5000 when trained to convergence
(Norouzi, Fleet, Norouzi: Exemplar VAE, 2020, https://arxiv.org/abs/2004.04795). As there, β warms up, here over the
first third of the run; without, two thirds of the latents stay unused. Trained on 50,000 images binarised at each
visit, chosen on 10,000, measured on the 10,000 test images binarised once. A run that is there already is measured, not
trained again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from lucid import data, evaluation, io, models, nn
from lucid.objectives import ELBO, Linear
from lucid.training import Run, Settings, fit


def gated(inputs: int, outputs: int) -> nn.Sequential:
    """Two hidden layers of 300 gated units, as published."""
    return nn.Sequential(
        *(nn.Linear(inputs, 600), nn.GLU()), *(nn.Linear(300, 600), nn.GLU()), nn.Linear(300, outputs)
    )  # fmt: skip


def train(out: Path, epochs: int, precision: str, dataset: data.Dataset) -> float:
    """Train, and return the CPU minutes it took."""
    model = models.VAE(
        models.VAEConfig(
            encoders=[nn.Sequential(nn.Flatten(), gated(784, 80))],
            decoders=[nn.Sequential(gated(40, 784), nn.Unflatten(1, (1, 28, 28)))],
            reconstruction_loss="bce",
        )
    )
    steps = epochs * Settings().steps_per_epoch(len(dataset.train))
    objective = ELBO(Linear(steps=steps // 3))
    started = time.process_time()
    fit(
        model,
        dataset,
        objective=objective,
        out=out,
        epochs=epochs,
        precision=precision,
        learning_rate=1e-3,
        weight_decay=0.0,
    )
    return (time.process_time() - started) / 60


def main() -> None:
    """Train, measure, print the curve over k."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--num-samples", type=int, default=5000, help="importance draws per example")
    parser.add_argument("--examples", type=int, default=10_000, help="test images measured")
    parser.add_argument("--out", type=Path, default=Path("runs/mnist-mlp"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    dataset = data.load("mnist", binarisation="dynamic")
    figures: dict[str, Any] = {"epochs": args.epochs, "precision": args.precision, "threads": args.threads}
    if not (args.out / "model").exists():
        figures["training_cpu_minutes"] = train(args.out, args.epochs, args.precision, dataset)
        print(f"trained {args.epochs} epochs in {figures['training_cpu_minutes']:.1f} CPU minutes")
    model = Run(args.out).model()
    started = time.process_time()
    result = evaluation.evaluate(model, dataset.test.tensor(args.examples), num_samples=args.num_samples)
    figures["evaluation_cpu_minutes"] = (time.process_time() - started) / 60
    figures |= result.to_json()
    io.write_json(args.out / "benchmark.json", figures)
    print(f"protocol: {dataset.protocol.describe()}")
    for row in result.to_table():
        print(f"{row.name:<28}{row.value:>20}  {row.unit}")
    print(json.dumps({"evaluation_cpu_minutes": round(figures["evaluation_cpu_minutes"], 1)}))


if __name__ == "__main__":
    main()

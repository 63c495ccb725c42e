"""The reference models of `codec_rate.py`: data, networks and training of each, and where they are kept.

Budgets are modest, minutes of one core: what is measured is how near a file comes to its model's bound, and a better
model would show that no better. How small the files are beside other compressors' is a matter of the model too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lucid import data, io, models, nn
from lucid.data import download
from lucid.distributions import MixtureOfLogistics
from lucid.models import Stage, TopDownConfig, TopDownVAE
from lucid.objectives import ELBO, Linear
from lucid.training import Run, fit

__all__ = ["FOREIGN", "REFERENCES", "Reference"]


@dataclass(frozen=True)
class Reference:
    """A model, and the data it is trained and measured on.

    Attributes:
        dataset: Gives the data; of binarised data the validation and test parts are drawn once, by `protocol.seed`.
        make: Makes the model.
        training: Settings of `fit`.
        warm_up: Steps in which β rises from 0 to 1.
        says: What it is, in a few words.
    """

    dataset: Callable[[], data.Dataset]
    make: Callable[[data.Dataset], models.LatentModel]
    training: dict[str, Any] = field(default_factory=dict)
    warm_up: int = 1
    says: str = ""

    def trained(self, folder: Path) -> models.LatentModel:
        """The model in a folder, trained first if it is not there."""
        if not (folder / "model").exists():
            torch.manual_seed(0)
            dataset = self.dataset()
            started = time.process_time()
            fit(
                self.make(dataset),
                dataset,
                out=folder,
                objective=ELBO(Linear(steps=self.warm_up)),
                resume="auto",
                compile=False,
                progress=False,
                **self.training,
            )
            spent = time.process_time() - started
            io.write_json(folder / "benchmark.json", {"training_cpu_seconds": spent, "says": self.says})
        return Run(folder).model()


def _digits() -> data.Dataset:
    return data.load("digits", test=300)


def _binarised() -> data.Dataset:
    return data.load("mnist", binarisation="dynamic")


def _small_perceptron(_: data.Dataset) -> models.LatentModel:
    """784-100-40-100-784, the networks of Townsend, Bird, Barber: BB-ANS, 2019, https://arxiv.org/abs/1901.04866."""
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 80))
    decoder = nn.Sequential(nn.Linear(40, 100), nn.ReLU(), nn.Linear(100, 784), nn.Unflatten(1, (1, 28, 28)))
    return models.VAE(models.VAEConfig(encoders=[encoder], decoders=[decoder], reconstruction_loss="bce"))


def _twenty_levels(dataset: data.Dataset) -> models.LatentModel:
    """A top-down model of twenty levels, most of them at the finest resolution."""
    finest, middle = ((8, 8), (4, 4)) if dataset.protocol.shape[-1] == 8 else ((7, 7), (4, 4))
    stages = (
        Stage(finest, channels=32, latents=2, blocks=12, encoder_blocks=2),
        Stage(middle, channels=32, latents=4, blocks=6),
        Stage((1, 1), channels=32, latents=8, blocks=2),
    )
    likelihood = models.default_likelihood(dataset.protocol)
    model = TopDownVAE(TopDownConfig(dataset.protocol.shape, likelihood, stages, centred=True))
    model.protocol = dataset.protocol
    model.start_at(dataset.train.tensor(1024))
    return model


REFERENCES: dict[str, Reference] = {
    "digits": Reference(
        _digits,
        lambda dataset: models.create("mlp", dataset, size=2),
        {"steps": 6000, "precision": "float32"},
        warm_up=300,
        says="digits 8×8, 17 levels; preset mlp, discretised logistic",
    ),
    "mnist-binarised": Reference(
        _binarised,
        _small_perceptron,
        {"epochs": 60, "precision": "bf16-mixed", "weight_decay": 0.0, "learning_rate": 2e-3},
        warm_up=2000,
        says="MNIST 28×28, 0/1, drawn once; 784-100-40 perceptron, Bernoulli",
    ),
    "fashion-mnist": Reference(
        lambda: data.load("fashion-mnist"),
        lambda dataset: models.create("conv", dataset, size=2, latents=32, likelihood=MixtureOfLogistics(256, 1, 5)),
        {"steps": 1800, "batch_size": 64, "precision": "bf16-mixed", "validate_every": 600},
        warm_up=300,
        says="Fashion-MNIST 28×28, 8-bit greys; preset conv, mixture of five logistics",
    ),
    "cifar10": Reference(
        lambda: data.load("cifar10"),
        lambda dataset: models.create("topdown", dataset, size=1, likelihood=MixtureOfLogistics(256, 3, 5)),
        {"steps": 3600, "batch_size": 32, "precision": "bf16-mixed", "learning_rate": 3e-3, "validate_every": 1200},
        warm_up=1,
        says="CIFAR-10 32×32×3, 8-bit colours; preset topdown of 5 levels, mixture of five logistics",
    ),
    "digits-ladder": Reference(
        _digits,
        lambda dataset: models.create("ladder", dataset, size=1),
        {"steps": 2000, "precision": "float32"},
        warm_up=500,
        says="digits 8×8, 17 levels; preset ladder of 3 levels, discretised logistic",
    ),
    "digits-topdown": Reference(
        _digits,
        _twenty_levels,
        {"steps": 1200, "batch_size": 64, "precision": "float32", "learning_rate": 3e-3},
        warm_up=200,
        says="digits 8×8, 17 levels; top-down model of 20 levels, discretised logistic",
    ),
    "mnist-topdown": Reference(
        _binarised,
        _twenty_levels,
        {"steps": 1200, "batch_size": 64, "precision": "float32", "learning_rate": 3e-3, "validate_every": 400},
        warm_up=400,
        says="MNIST 28×28, 0/1, drawn once; top-down model of 20 levels, Bernoulli",
    ),
}
"""By name, in the order of the table."""

FOREIGN: dict[str, tuple[str, Callable[[], data.Dataset], str]] = {
    "mnist-binarised on fashion": (
        "mnist-binarised",
        lambda: data.load("fashion-mnist", binarisation="dynamic"),
        "the codec of binarised MNIST on binarised Fashion-MNIST",
    ),
    "fashion-mnist on mnist": (
        "fashion-mnist",
        lambda: data.load("mnist"),
        "the codec of Fashion-MNIST greys on MNIST greys",
    ),
    "cifar10 on emoji": (
        "cifar10",
        lambda: data.load(
            download.root() / "emoji" / "img", name="emoji", resize=(32, 32), channels="rgb", test=3000, validation=100
        ),
        "the codec of CIFAR-10 on Noto emoji, resized to 32×32",
    ),
}
"""Models on data of another kind: name, reference model, data, in words."""

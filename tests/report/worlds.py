"""Small models beside data of each kind, untrained: a page must be right whatever the model is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

import lucid.nn as nn
from lucid import data
from lucid.data import Dataset
from lucid.distributions import Bernoulli, DiscretisedLogistic, HeteroscedasticGaussian, LearnedScaleGaussian
from lucid.evaluation import Evaluation, evaluate
from lucid.models import VAE, LatentModel, VAEConfig, create
from lucid.report import render


class World(NamedTuple):
    model: LatentModel
    dataset: Dataset
    metrics: Sequence[Mapping[str, Any]] = ()
    evaluation: Evaluation | None = None
    description: Mapping[str, Any] | None = None

    def page(self) -> str:
        return render(*self)


class Shaped(nn.Module):
    """A linear map to examples of a given shape."""

    def __init__(self, width: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.linear = nn.Linear(width, math.prod(shape))

    def forward(self, z: Tensor) -> Tensor:
        return self.linear(z.flatten(1)).unflatten(1, self.shape)


def linear_model(dataset: Dataset, likelihood: Any, latents: int = 3) -> VAE:
    shape = dataset.protocol.shape
    emitted = (likelihood.num_parameters * shape[0], *shape[1:])
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 2 * latents))
    torch.nn.init.normal_(encoder[1].weight, std=0.1, generator=torch.Generator().manual_seed(0))
    return VAE(VAEConfig(encoders=[encoder], decoders=[Shaped(latents, emitted)], likelihood=likelihood))


def metrics(levels: int = 1, lines: int = 40, *, warm_up: bool = False) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for i in range(lines):
        kl = [(20.0 if warm_up else 1.0) + 0.01 * i] * levels
        reconstruction, beta = 50.0 + 40.0 / (1 + i), min(1.0, i / 20) if warm_up else 1.0
        numbers = {"reconstruction": reconstruction, "kl": kl, "elbo": -reconstruction - sum(kl), "beta": beta}
        loss = reconstruction + beta * sum(kl)
        line = {"step": 10 * i, "epoch": i / 4, "loss": loss, "seconds": 2.0 * i, **numbers}
        found.extend({"split": split, **line} for split in ("train", "validation")[: 1 + (i % 4 == 0)])
    return found


def digits() -> World:
    dataset = data.load("digits")
    model = linear_model(dataset, DiscretisedLogistic(17))
    model.protocol = dataset.protocol
    found = evaluate(model, dataset.test, num_samples=10, elbo_samples=2)
    description = {"lucid": "0.1.0", "data": {"source": "digits"}, "model": {"name": "mlp"}, "training": {"seed": 0}}
    return World(model, dataset, metrics(), found, description)


def deep() -> World:
    dataset = data.load("digits")
    model = VAE(
        VAEConfig(
            encoders=[nn.Sequential(nn.Flatten(), nn.Linear(64, 12)), nn.Linear(6, 8), nn.Linear(4, 4)],
            decoders=[Shaped(6, (2, 8, 8)), nn.Linear(4, 6), nn.Linear(2, 4)],
            priors=[nn.Linear(4, 12), nn.Linear(2, 8)],
            likelihood=DiscretisedLogistic(17),
        )
    )
    model.protocol = dataset.protocol
    found = evaluate(model, dataset.test, num_samples=10, elbo_samples=2)
    return World(model, dataset, metrics(3, warm_up=True), found)


def table(columns: Sequence[str] = ("age", "height", "children")) -> World:
    generator = np.random.default_rng(0)
    values = {name: generator.normal(10.0 * i, 1.0 + i, 120) for i, name in enumerate(columns)}
    values[columns[-1]] = generator.integers(0, 4, 120).astype(float)
    dataset = data.load(pa.table(values), name="people")
    return World(linear_model(dataset, HeteroscedasticGaussian()), dataset)


def mixed() -> World:
    random = np.random.default_rng(0)
    columns = {
        "age": np.where(random.random(120) < 0.2, np.nan, random.normal(40, 9, 120)),
        "colour": random.choice(["red", "green", "<b>blue</b>"], 120),
        "member": random.choice(["yes", "no"], 120),
    }
    dataset = data.load(pa.table(columns), name="customers")
    return World(create("mlp", dataset, size=1), dataset)


def series() -> World:
    generator = np.random.default_rng(0)
    waves = np.sin(np.linspace(0, 6, 40) + generator.uniform(0, 6, (90, 1))) + 0.1 * generator.normal(size=(90, 40))
    dataset = data.load(waves.astype(np.float32), kind="series", name="waves")
    return World(linear_model(dataset, LearnedScaleGaussian(), latents=2), dataset)


def vector() -> World:
    values = np.random.default_rng(0).normal(size=(80, 30)).astype(np.float32)
    dataset = data.load(values, name="features")
    return World(linear_model(dataset, LearnedScaleGaussian(), latents=1), dataset)


def pictures(shape: tuple[int, ...], *, binarised: bool = False) -> World:
    raw = np.random.default_rng(0).integers(0, 256, (40, *shape), dtype=np.uint8)
    dataset = data.load(
        raw, kind="image", layout="NCHW", binarisation="static" if binarised else "none", name="pictures"
    )
    return World(linear_model(dataset, Bernoulli() if binarised else DiscretisedLogistic(256)), dataset)


def photographs(shape: tuple[int, ...]) -> World:
    raw = np.random.default_rng(0).uniform(-3, 5, (20, *shape)).astype(np.float32)
    dataset = data.load(raw, kind="image", layout="NCHW", name="photographs")
    return World(linear_model(dataset, LearnedScaleGaussian()), dataset)


WORLDS = {
    "digits": digits,
    "three levels": deep,
    "table": table,
    "mixed table": mixed,
    "series": series,
    "vector": vector,
    "rgb": lambda: pictures((3, 12, 10)),
    "rgba": lambda: pictures((4, 8, 8)),
    "binarised": lambda: pictures((1, 9, 9), binarised=True),
}

VOID = {"meta", "img", "br", "hr", "input", "link"}


class Read(HTMLParser):
    """A page, read: every tag in order, whether they balance, and the text outside of markup."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> where <{self.open[-1]}> is open"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    def attributes(self, name: str) -> list[str]:
        return [value for _, attrs in self.tags if (value := attrs.get(name)) is not None]

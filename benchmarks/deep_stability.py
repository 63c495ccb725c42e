"""Forty levels of latents in bfloat16, with the library's bounds and without them.

    python benchmarks/deep_stability.py [--seeds N] [--steps N] [--sane RATE] [--hot RATE] [--data NAME]

A `TopDownVAE` of 40 levels on images, with a Gaussian likelihood whose variances the model emits: some pixels of the
digits are black in every image, so that their variance shrinks without end. The networks compute in bfloat16, the
densities in float32. Two settings: *sane* is what users run, the library's learning rate and warm-up; *hot* is a
learning rate many times that, at once. In each, the contestants have the same first weights, batches and draws:

- bounded: the library as it is, leaving out exceptional updates;
- bounded, skip=None: the same, leaving out only updates that are not finite;
- unbounded: means, log-scales, shifts and log-ratios of the latents, and means and log-variances of the likelihood, as
  the networks emit them, with the library's guard;
- unbounded, skip=None: the same, leaving out only updates that are not finite.

For each: the step since which no update could be made any more, so that training was given up; how many batches had a
loss or gradient that was not finite, and how many updates were left out, for that or for their length; and the ELBO of
the validation part in nats per example, before training, at its best, and when last measured. It is a density, and may
be positive. The bounds are taken out of the modules from here: they are no option.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor

from lucid import data
from lucid.distributions import HeteroscedasticGaussian
from lucid.models import Stage, TopDownConfig, TopDownVAE
from lucid.training import NonFiniteLossError, Settings, StalledTrainingError, fit
from lucid.training.guard import HostGuard
from lucid.training.metrics import read_metrics

BLOCKS = (32, 6, 2)
CHANNELS, LATENTS, BATCH = 24, 4, 32


class Setting(NamedTuple):
    """How all contestants are trained."""

    name: str
    learning_rate: float
    warmup: int
    steps: int


class Outcome(NamedTuple):
    """What a run came to; ELBOs of the validation part, nats per example."""

    given_up: int | None
    steps: int
    not_finite: int
    left_out: int
    first: float
    best: float
    last: float

    @property
    def trained(self) -> bool:
        """Whether it went through without a non-finite value, and is better at the end than before."""
        return self.given_up is None and self.not_finite == 0 and self.last > self.first


def deep_model(shape: tuple[int, ...], seed: int) -> TopDownVAE:
    """Forty levels in three stages, the finest of half the resolution of the data."""
    sizes = [tuple(-(-n // divisor) for n in shape[1:]) for divisor in (2, 4)]
    stages = tuple(
        Stage(size, CHANNELS, LATENTS, blocks=blocks, encoder_blocks=2)
        for size, blocks in zip([*sizes, (1, 1)], BLOCKS, strict=True)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TopDownVAE(TopDownConfig(shape=shape, likelihood=HeteroscedasticGaussian(), stages=stages))


@contextmanager
def without_bounds() -> Generator[None]:
    """Within it the Gaussians of latents and likelihood are what the networks emit."""

    def as_it_is(x: Tensor, _limit: float) -> Tensor:
        return x

    def halves(h: Tensor) -> tuple[Tensor, Tensor]:
        loc, logvar = h.chunk(2, dim=1)
        return loc, logvar

    with (
        patch("lucid.models.topdown.gaussians.smooth_clamp", as_it_is),
        patch("lucid.distributions.gaussian.bounded_halves", halves),
    ):
        yield


@contextmanager
def counted() -> Generator[list[HostGuard]]:
    """Within it the guards that judge updates are to be found in a list: a run that is given up returns no counts."""
    guards: list[HostGuard] = []
    judge = HostGuard.leaves_out

    def noted(self: HostGuard, norm: float) -> bool:
        if self not in guards:
            guards.append(self)
        return judge(self, norm)

    with patch.object(HostGuard, "leaves_out", noted):
        yield guards


def train(dataset: data.Dataset, setting: Setting, seed: int, *, bounded: bool, skip: float | None) -> Outcome:
    """One run."""
    model = deep_model(dataset.protocol.shape, seed)
    held = dataset.validation.tensor()
    with torch.no_grad():
        first = float(model.elbo(held, generator=torch.Generator().manual_seed(seed)))
    settings = Settings(
        steps=setting.steps,
        batch_size=BATCH,
        learning_rate=setting.learning_rate,
        warmup=setting.warmup,
        decay="none",
        skip=skip,
        max_skips=30,
        seed=seed,
        precision="bf16-mixed",
        compile=False,
        validate_every=max(1, setting.steps // 5),
    )
    given_up: int | None = None
    with (
        TemporaryDirectory() as folder,
        nullcontext() if bounded else without_bounds(),
        counted() as guards,
    ):
        try:
            fit(model, dataset, out=folder, settings=settings, progress=False)
        except (NonFiniteLossError, StalledTrainingError) as error:
            given_up = error.step
        lines = read_metrics(Path(folder) / "metrics.jsonl")
    (guard,) = guards
    elbos = [math.nan if line["elbo"] is None else line["elbo"] for line in lines if line["split"] == "validation"]
    best = max((e for e in elbos if math.isfinite(e)), default=math.nan)
    last = elbos[-1] if elbos else math.nan
    return Outcome(given_up, guard._seen + guard.broken, guard.broken, guard.skipped, first, best, last)  # noqa: SLF001

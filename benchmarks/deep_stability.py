"""Forty levels of latents in bfloat16, with the library's bounds and without them.

    python benchmarks/deep_stability.py [--seeds N] [--only sane|hot] [--sane RATE] [--hot RATE] [--data NAME]

A `TopDownVAE` of 40 levels on images, with a Gaussian likelihood whose variances the model emits: some pixels of the
digits are black in every image, so that their variance shrinks without end. The networks compute in bfloat16, the
densities in float32. Two settings: *sane* is what users run, the library's learning rate and warm-up; *hot* is a
learning rate twelve times that from the first step on, with the gradient clipped at 200 as VDVAE does. In each, the
contestants have the same first weights, batches and draws:

- bounded: the library as it is, leaving out exceptional updates;
- bounded, skip=None: the same, leaving out only updates that are not finite;
- unbounded: means, log-scales, shifts and log-ratios of the latents, and means and log-variances of the likelihood, as
  the networks emit them, with the library's guard;
- unbounded, skip=None: the same, leaving out only updates that are not finite.

For each: the step since which no update could be made any more, so that training was given up; the batches whose loss
or gradient held a value that was not finite; the updates that were left out, for that or for the length of a finite
gradient; and the ELBO of the validation part in nats per example, before training, at its best, and when last
measured. It is a density, and may be positive. The bounds are taken out of the modules from here: they are no option.

A bound is the identity until a network's output leaves the ordinary range. So in the sane setting the two networks are
the same to the last digit, and bounds are what keeps a loss finite after training has gone wrong: they do not make a
learning rate right that is not. About six minutes on one core.
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
from lucid.training.engine import gradient_norm
from lucid.training.guard import HostGuard
from lucid.training.metrics import read_metrics

BLOCKS = (32, 6, 2)
CHANNELS, LATENTS, BATCH = 24, 4, 64
MAX_SKIPS = 30
"""Updates left out one after another before a run is given up; the library's own 100 would only take longer."""


class Setting(NamedTuple):
    """How all contestants are trained."""

    name: str
    learning_rate: float
    warmup: int
    clip: float | None
    steps: int


class Noted(NamedTuple):
    """What became of one update."""

    not_finite: bool
    left_out: bool


class Outcome(NamedTuple):
    """What a run came to; ELBOs and KL are of the validation part, nats per example."""

    given_up: int | None
    steps: int
    not_finite: int
    left_out: int
    first: float
    best: float
    last: float
    kl: float
    seconds: float

    @property
    def finite(self) -> bool:
        """Whether no loss or gradient was anything else, to the end."""
        return self.given_up is None and self.not_finite == 0

    @property
    def trained(self) -> bool:
        """Whether it came to its end, better than it began."""
        return self.given_up is None and self.last > self.first

    def line(self) -> str:
        """Its part of the table."""
        given_up = "-" if self.given_up is None else f"step {self.given_up}"
        return (
            f"{given_up:>10}{self.steps:7}{self.not_finite:12}{self.left_out:10}"
            f"{self.first:13.5g}{self.best:9.4g}{self.last:10.4g}{self.kl:10.2g}{self.seconds:7.0f}"
        )


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
def updates_noted() -> Generator[list[Noted]]:
    """Within it each update is noted: a run that is given up returns no counts."""
    noted: list[Noted] = []
    not_finite = False

    def norm_of(gradients: list[Tensor]) -> Tensor:
        nonlocal not_finite
        norm = gradient_norm(gradients)
        # The length of finite gradients is infinite where its square is beyond float32.
        not_finite = not norm.isfinite() and not all(bool(gradient.isfinite().all()) for gradient in gradients)
        return norm

    judge = HostGuard.leaves_out

    def leaves_out(self: HostGuard, norm: float) -> bool:
        noted.append(Noted(not_finite, judge(self, norm)))
        return noted[-1].left_out

    with (
        patch("lucid.training.update.gradient_norm", norm_of),
        patch.object(HostGuard, "leaves_out", leaves_out),
    ):
        yield noted


def train(dataset: data.Dataset, setting: Setting, seed: int, *, bounded: bool, skip: float | None) -> Outcome:
    """One run."""
    model = deep_model(dataset.protocol.shape, seed)
    with torch.no_grad():
        first = float(model.elbo(dataset.validation.tensor(), generator=torch.Generator().manual_seed(seed)))
    settings = Settings(
        steps=setting.steps,
        batch_size=BATCH,
        learning_rate=setting.learning_rate,
        warmup=setting.warmup,
        decay="none",
        clip=setting.clip,
        skip=skip,
        max_skips=MAX_SKIPS,
        seed=seed,
        device="cpu",
        precision="bf16-mixed",
        compile=False,
        validate_every=max(1, setting.steps // 5),
    )
    given_up: int | None = None
    started = time.process_time()
    with TemporaryDirectory() as folder, nullcontext() if bounded else without_bounds(), updates_noted() as noted:
        try:
            fit(model, dataset, out=folder, settings=settings, progress=False)
        except (NonFiniteLossError, StalledTrainingError) as error:
            given_up = error.step
        lines = [line for line in read_metrics(Path(folder) / "metrics.jsonl") if line["split"] == "validation"]
    elbos = [math.nan if line["elbo"] is None else line["elbo"] for line in lines]
    return Outcome(
        given_up,
        steps=len(noted),
        not_finite=sum(update.not_finite for update in noted),
        left_out=sum(update.left_out for update in noted),
        first=first,
        best=max((elbo for elbo in elbos if math.isfinite(elbo)), default=math.nan),
        last=elbos[-1] if elbos else math.nan,
        kl=sum(lines[-1]["kl"]) if elbos and math.isfinite(elbos[-1]) else math.nan,
        seconds=time.process_time() - started,
    )


def main() -> None:
    """Train every contestant in both settings with every seed, and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2, help="of the hot setting; the sane one has one")
    parser.add_argument("--steps", type=int, default=80, help="of a run at the sane learning rate")
    parser.add_argument("--hot-steps", type=int, default=40, help="of a run at the hot one")
    parser.add_argument("--sane", type=float, default=Settings().learning_rate, help="learning rate")
    parser.add_argument("--hot", type=float, default=0.025, help="learning rate")
    parser.add_argument("--data", default="digits", help="any image set that lucid.data.load knows")
    parser.add_argument("--only", choices=("sane", "hot"), help="one of the two settings; without it, both")
    arguments = parser.parse_args()
    dataset = data.load(arguments.data)
    model = deep_model(dataset.protocol.shape, 0)
    count = sum(p.numel() for p in model.parameters())
    print(f"{arguments.data}: {model.depth} levels, {count:,} parameters, batches of {BATCH}")
    sane = Setting("sane", arguments.sane, Settings().warmup, Settings().clip, arguments.steps)
    hot = Setting("hot", arguments.hot, 0, 200.0, arguments.hot_steps)
    for setting in (sane, hot):
        if arguments.only in {None, setting.name}:
            contest(dataset, setting, arguments.seeds if setting is hot else 1)


def contest(dataset: data.Dataset, setting: Setting, seeds: int) -> None:
    """The table of one setting, and what it shows."""
    print(
        f"\n{setting.name}: learning rate {setting.learning_rate:g}, warm-up {setting.warmup}, clip {setting.clip}, "
        f"{setting.steps} steps\n"
        f"{'':20}{'seed':>5}{'given up':>10}{'steps':>7}{'not finite':>12}{'left out':>10}"
        f"{'ELBO, first':>13}{'best':>9}{'last':>10}{'KL, last':>10}{'CPU s':>7}"
    )
    outcomes: dict[bool, list[Outcome]] = {True: [], False: []}
    for bounded in (True, False):
        for skip in (Settings().skip, None):
            name = f"{'bounded' if bounded else 'unbounded'}{', skip=None' if skip is None else ''}"
            for seed in range(seeds):
                outcomes[bounded].append(train(dataset, setting, seed, bounded=bounded, skip=skip))
                print(f"{name:20}{seed:5}{outcomes[bounded][-1].line()}", flush=True)
    for bounded, runs in outcomes.items():
        finite, trained = sum(run.finite for run in runs), sum(run.trained for run in runs)
        name = "bounded" if bounded else "unbounded"
        print(f"{name}: {finite} of {len(runs)} runs finite throughout, {trained} better at the end than before")


if __name__ == "__main__":
    main()

"""Runs that are made to collapse on purpose, what `diagnose` says of each, and what its remedy brings.

    python benchmarks/collapse.py [--steps N] [--out FOLDER] [--words]

The data are the digits; one run each collapses by

- objective: the KL weighs 20 times what it costs (`kl_weight=20`);
- scale: the objective in another way, "mse", a Gaussian of unit variance on data of a tenth of that;
- decoder: it normalises over one single feature, so that it emits the same whatever the latent is;
- schedule: a chain of two levels is charged for its KL from the first step on.

Each run is diagnosed from its folder, by trials as long as the run. Then the remedy that the diagnosis names is applied
in a training of its own, with other first weights and another seed than the trials', and measured on the test part,
which the diagnosis has not seen. For each: the cause that was planted and the one that was named; levels in use, ELBO
and its change, in nats per example with the standard error over the examples. A minute on one core.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from lucid import data, models
from lucid.distributions import DiscretisedLogistic, OptimalScaleGaussian
from lucid.evaluation import Use, examples_of, measure_use
from lucid.models import VAE, LatentModel, VAEConfig
from lucid.objectives import ELBO
from lucid.report import Diagnosis, Verdict, diagnose
from lucid.training import Run, fit

CPU = torch.device("cpu")


class Case(NamedTuple):
    """A run that is to collapse.

    Attributes:
        planted: Its cause.
        make: A new model; the same at each call with the same seed.
    """

    planted: str
    make: Callable[[int], VAE]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000, help="training steps of a run and of each trial (1000)")
    parser.add_argument("--out", type=Path, help="keep the runs there")
    parser.add_argument("--words", action="store_true", help="print each diagnosis in full")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        for name, case in CASES.items():
            show(name, case, (args.out or Path(place)) / name, args.steps, args.words)


def show(name: str, case: Case, folder: Path, steps: int, words: bool) -> None:
    """Collapse, diagnose, mend, and print a line for each."""
    digits, began = data.load("digits"), time.perf_counter()
    train(case.make(0), digits, steps, folder)
    found = diagnose(folder, make=lambda: case.make(0), steps=steps)
    before = tested(Run(folder).model(), digits)
    print(f"\n{name}: planted {case.planted}, named {' and '.join(named(v) for v in found.verdicts)}")
    print(f"  collapsed   {line(before)}")
    mended = remedy(case, found, digits)
    if mended is not None:
        model, objective = mended
        train(model, digits, steps, objective=objective)
        after = tested(model, digits)
        gain, error = after.gain_over(before)
        print(f"  remedied    {line(after)}")
        print(f"  gain        {gain:.2f} ± {error:.2f} nats by {what(found.verdicts[0])}")
    print(f"  {time.perf_counter() - began:.0f} s", flush=True)
    if words:
        print(f"\n{found.explain()}")


def train(
    model: LatentModel, digits: data.Dataset, steps: int, out: Path | None = None, objective: ELBO | None = None
) -> None:
    """With the same settings each time."""
    fit(
        model,
        digits,
        out=out,
        objective=objective,
        steps=steps,
        batch_size=64,
        learning_rate=5e-3,
        warmup=20,
        seed=0 if objective is None else 1,
        compile=False,
        progress=False,
    )


def tested(model: LatentModel, digits: data.Dataset) -> Use:
    """On the test part."""
    return measure_use(model, examples_of(model, digits.test, 256, CPU), num_samples=4)


def remedy(case: Case, found: Diagnosis, digits: data.Dataset) -> tuple[LatentModel, ELBO] | None:
    """The change that the diagnosis proposes, made to a new model; None if it proposes none."""
    if len(found.verdicts) != 1:
        return None
    (verdict,) = found.verdicts
    if verdict.reason in ("deaf", "mute"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            preset = models.create("mlp", digits, size=1, latents=8, likelihood=DiscretisedLogistic(17))
        return preset, ELBO()
    model = case.make(1)
    if verdict.reason == "scale":
        model.likelihood = OptimalScaleGaussian()
    return model, ELBO() if verdict.warm_up is None else ELBO(verdict.warm_up)


def named(verdict: Verdict) -> str:
    """A verdict in a few words."""
    return f"{verdict.cause} ({verdict.reason})"


def what(verdict: Verdict) -> str:
    """The remedy in a few words."""
    return " ".join(verdict.options) or "the networks of the preset mlp"


def line(use: Use) -> str:
    """Levels and bound."""
    alive = len(use.levels) - len(use.collapsed)
    kl = " ".join(f"{level.kl:6.2f}" for level in use.levels)
    return f"{alive} of {len(use.levels)} levels in use, KL {kl}, ELBO {use.elbo:8.2f} ± {use.elbo_error:.2f}"


# The runs


def seeded(seed: int, config: Callable[[], VAEConfig]) -> VAE:
    """A model whose first weights are the seed's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VAE(config())


def net(n_in: int, n_out: int) -> nn.Module:
    """Two layers."""
    return nn.Sequential(nn.Linear(n_in, 64), nn.Tanh(), nn.Linear(64, n_out))


def encoder(latents: int) -> nn.Module:
    """From the digits to mean and log-variance."""
    return nn.Sequential(nn.Flatten(), net(64, 2 * latents))


def decoder(body: nn.Module, parameters: int = 2) -> nn.Module:
    """From whatever the body reads to the parameters of the likelihood."""
    return nn.Sequential(body, nn.Unflatten(1, (parameters, 8, 8)))


def heavy() -> VAEConfig:
    """The KL weighs 20 times what it costs."""
    return VAEConfig([encoder(8)], [decoder(net(8, 128))], likelihood=DiscretisedLogistic(17), kl_weight=20.0)


def coarse() -> VAEConfig:
    """A Gaussian of unit variance."""
    return VAEConfig([encoder(8)], [decoder(net(8, 64), 1)])


def deaf() -> VAEConfig:
    """One feature, normalised over itself, is nothing."""
    body = nn.Sequential(nn.Linear(8, 1), nn.LayerNorm(1), nn.Linear(1, 128))
    return VAEConfig([encoder(8)], [decoder(body)], likelihood=DiscretisedLogistic(17))


def cold() -> VAEConfig:
    """Two levels without a warm-up."""
    return VAEConfig(
        encoders=[encoder(16), net(16, 16)],
        decoders=[decoder(net(64, 128)), net(8, 64)],
        priors=[net(8, 32)],
        likelihood=DiscretisedLogistic(17),
        hierarchical_kl=False,
    )


CASES = {
    "weight": Case("objective (weight)", lambda seed: seeded(seed, heavy)),
    "scale": Case("objective (scale)", lambda seed: seeded(seed, coarse)),
    "decoder": Case("decoder (deaf)", lambda seed: seeded(seed, deaf)),
    "schedule": Case("schedule (cold start)", lambda seed: seeded(seed, cold)),
}

if __name__ == "__main__":
    main()

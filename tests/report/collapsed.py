"""Runs on the digits that collapse on purpose, each in a way of its own; small enough to train in a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from lucid import data, nn
from lucid.data import Dataset
from lucid.distributions import DiscretisedLogistic
from lucid.models import VAE, VAEConfig
from lucid.training import fit

STEPS = 300


def net(n_in: int, n_out: int, width: int = 64) -> nn.Module:
    return nn.Sequential(nn.Linear(n_in, width), nn.Tanh(), nn.Linear(width, n_out))


def seeded(make: Callable[[], VAE]) -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


def emitted() -> nn.Module:
    return nn.Unflatten(1, (2, 8, 8))


def heavy() -> VAE:
    """Networks that are in order, under a KL that weighs 20 times what it costs."""
    parts = VAEConfig(
        encoders=[nn.Sequential(nn.Flatten(), net(64, 16))],
        decoders=[nn.Sequential(net(8, 128), emitted())],
        likelihood=DiscretisedLogistic(17),
        kl_weight=20.0,
    )
    return VAE(parts)


def coarse() -> VAE:
    """A Gaussian likelihood of unit variance ("mse") for data whose variance is a tenth of that."""
    return VAE(
        VAEConfig(
            encoders=[nn.Sequential(nn.Flatten(), net(64, 16))],
            decoders=[nn.Sequential(net(8, 64), nn.Unflatten(1, (1, 8, 8)))],
        )
    )


def deaf() -> VAE:
    """A decoder that normalises over one single feature, which makes it 0 whatever it was."""
    decoder = nn.Sequential(nn.Linear(8, 1), nn.LayerNorm(1), nn.Linear(1, 128), emitted())
    encoder = nn.Sequential(nn.Flatten(), net(64, 16))
    return VAE(VAEConfig(encoders=[encoder], decoders=[decoder], likelihood=DiscretisedLogistic(17)))


def mute() -> VAE:
    """The same in the encoder."""
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.LayerNorm(1), nn.Linear(1, 16))
    decoder = nn.Sequential(net(8, 128), emitted())
    return VAE(VAEConfig(encoders=[encoder], decoders=[decoder], likelihood=DiscretisedLogistic(17)))


def cold() -> VAE:
    """A chain of two levels that is charged for its KL from the first step on."""
    return VAE(
        VAEConfig(
            encoders=[nn.Sequential(nn.Flatten(), net(64, 32)), net(16, 16)],
            decoders=[nn.Sequential(net(64, 128), emitted()), net(8, 64)],
            priors=[net(8, 32)],
            likelihood=DiscretisedLogistic(17),
            hierarchical_kl=False,
        )
    )


def train(make: Callable[[], VAE], folder: Path, dataset: Dataset | None = None, steps: int = STEPS) -> Path:
    """A run of one of these models."""
    fit(
        seeded(make),
        data.load("digits") if dataset is None else dataset,
        out=folder,
        steps=steps,
        batch_size=64,
        learning_rate=5e-3,
        warmup=20,
        compile=False,
        progress=False,
        checkpoint_seconds=1e6,
    )
    return folder

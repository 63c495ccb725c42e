"""Small models, frozen, and data of their kind: for tests of what is around the networks."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

import lucid.nn as nn
from lucid.codec import Codec, freeze
from lucid.distributions import DiscretisedLogistic
from lucid.models import VAE, VAEConfig


def bits(n: int, seed: int = 0) -> Tensor:
    """Rows of 24 bits in three runs, (n, 24), float32."""
    chance = torch.rand(n, 3, generator=torch.Generator().manual_seed(seed)).repeat_interleave(8, 1)
    return (torch.rand(n, 24, generator=torch.Generator().manual_seed(seed + 1)) < chance**2).float()


def greys(n: int, seed: int = 0, levels: int = 17) -> Tensor:
    """Slopes with noise, (n, 1, 4, 6), uint8."""
    stream = torch.Generator().manual_seed(seed)
    slope = torch.rand(n, 1, 1, 1, generator=stream) * torch.linspace(0, 1, 6)
    return ((slope + 0.1 * torch.rand(n, 1, 4, 6, generator=stream)).clamp(0, 1) * (levels - 1)).round().to(torch.uint8)


def trained(model: VAE, x: Tensor, steps: int = 300) -> VAE:
    """The model after some steps: enough to beat packed bits, so that its blocks are coded and not stored."""
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    stream = torch.Generator().manual_seed(0)
    for _ in range(steps):
        loss = -model.elbo(x[torch.randint(len(x), (128,), generator=stream)], generator=stream).per_example.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


@cache
def bits_model() -> VAE:
    """A chain of one level over `bits`."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = VAEConfig(encoders=[nn.Linear(24, 6)], decoders=[nn.Linear(3, 24)], reconstruction_loss="bce")
        return trained(VAE(config), bits(2000, 1))


@cache
def bits_codec() -> Codec:
    """Of `bits_model`."""
    return freeze(bits_model(), bits(200))


@cache
def greys_codec(levels: int = 17) -> Codec:
    """A chain of two levels with a learned prior over `greys`."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = VAEConfig(
            encoders=[
                nn.Sequential(nn.Flatten(), nn.Linear(24, 16), nn.SiLU(), nn.Linear(16, 8)),
                nn.Linear(4, 4),
            ],
            decoders=[
                nn.Sequential(nn.Linear(4, 16), nn.SiLU(), nn.Linear(16, 48), nn.Unflatten(1, (2, 4, 6))),
                nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 4)),
            ],
            priors=[nn.Linear(2, 8)],
            likelihood=DiscretisedLogistic(levels),
        )
        x = greys(2000, 1, levels).float() / (levels - 1)
        return freeze(trained(VAE(config), x), x)

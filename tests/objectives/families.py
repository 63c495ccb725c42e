"""A small model of every family, in float64, and data for them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lucid import nn
from lucid.distributions import Gaussian
from lucid.models import VAE, LadderVAE, LatentModel, Stage, TopDownConfig, TopDownVAE, VAEConfig


def data(n: int = 5, seed: int = 0) -> Tensor:
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(make: Callable[[], LatentModel]) -> LatentModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make().double()
        # Presets start where nothing is said; what is tested here should have something to say.
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        return model


def one_level() -> LatentModel:
    return seeded(lambda: VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)])))


def chain() -> LatentModel:
    return seeded(
        lambda: VAE(
            VAEConfig(
                encoders=[nn.Linear(6, 6), nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4))],
                decoders=[nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 6)), nn.Linear(2, 3)],
                priors=[nn.Linear(2, 6)],
            )
        )
    )


def ladder() -> LatentModel:
    return seeded(
        lambda: LadderVAE(
            VAEConfig(
                encoders=[nn.Linear(6, 6), nn.Linear(3, 4)],
                decoders=[nn.Linear(3, 6), nn.Linear(2, 3)],
                priors=[nn.Linear(2, 6)],
            )
        )
    )


def top_down() -> LatentModel:
    stages = (Stage((1,), channels=8, latents=2, blocks=2),)
    return seeded(lambda: TopDownVAE(TopDownConfig(shape=(6,), likelihood=Gaussian(), stages=stages)))


FAMILIES: dict[str, Callable[[], LatentModel]] = {
    "one level": one_level,
    "chain": chain,
    "ladder": ladder,
    "top-down": top_down,
}

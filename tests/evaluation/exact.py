"""A linear-Gaussian model with exact log p(x), a decoder that counts its rows, and the least a split of data can be."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

import lucid.nn as nn
from lucid.distributions import Gaussian
from lucid.models import VAE, VAEConfig

SCALE = 0.5


def linear(inputs: int, outputs: int, weight: Tensor | None = None, bias: Tensor | None = None) -> nn.Linear:
    layer = nn.Linear(inputs, outputs).double()
    with torch.no_grad():
        layer.weight.copy_(torch.zeros(outputs, inputs) if weight is None else weight)
        layer.bias.copy_(torch.zeros(outputs) if bias is None else bias)
    return layer


def linear_gaussian(exact_posterior: bool = False, seed: int = 0) -> VAE:
    """x = W z + b + SCALE·ε with two latents and four features; the posterior is exact or merely good."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    # Orthogonal columns make the exact posterior diagonal.
    weight = torch.linalg.qr(weight).Q * torch.tensor([1.5, 0.8])
    bias = torch.randn(4, generator=generator, dtype=torch.float64)
    precision = 1 + weight.square().sum(0) / SCALE**2
    to_mean = weight.T / SCALE**2 / precision[:, None]
    logvar = -precision.log()
    if not exact_posterior:
        to_mean, logvar = to_mean * 0.8, logvar + 0.8
    encoder = linear(4, 4, torch.cat([to_mean, torch.zeros(2, 4)]), torch.cat([-to_mean @ bias, logvar]))
    decoder = linear(2, 4, weight, bias)
    return VAE(VAEConfig(encoders=[encoder], decoders=[decoder], likelihood=Gaussian(SCALE)))


def exact_log_likelihood(model: VAE, x: Tensor) -> Tensor:
    decoder = model.decoders[0]
    assert isinstance(decoder, nn.Linear)
    weight, bias = decoder.weight.detach(), decoder.bias.detach()
    covariance = weight @ weight.T + SCALE**2 * torch.eye(4, dtype=torch.float64)
    return torch.distributions.MultivariateNormal(bias, covariance).log_prob(x)


def data(n: int, seed: int = 1) -> Tensor:
    """Draws of `linear_gaussian`'s p(x), (n, 4)."""
    model = linear_gaussian()
    return model.sample(n, generator=torch.Generator().manual_seed(seed), noise=True)


class Rows(nn.Module):
    """A decoder that writes down how many rows it was given at each call."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder
        self.seen: list[int] = []

    def forward(self, z: Tensor) -> Tensor:
        self.seen.append(z.shape[0])
        return self.decoder(z)


class ListedSplit:
    """The least a split of data can be: batches of given sizes, and a declared length."""

    def __init__(self, x: Tensor, declared: int | None = None) -> None:
        self.x = x
        self.declared = len(x) if declared is None else declared

    def __len__(self) -> int:
        return self.declared

    def batches(self, batch_size: int, *, device: torch.device | str = "cpu") -> Iterator[Tensor]:
        for x in self.x.split(batch_size):
            yield x.to(device)

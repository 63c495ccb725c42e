"""What the presets are built of: residual blocks that start as the identity, resolutions, and where to begin."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lucid import nn
from lucid.distributions import Likelihood
from lucid.models.protocol import DataProtocol
from lucid.models.tables import table_input

__all__ = ["conv_block", "mlp", "mlp_trunk", "norm", "pyramid", "quiet_last", "reading", "start_at"]


def reading(protocol: DataProtocol) -> tuple[list[nn.Module], int]:
    """The layers through which a network reads data as vectors, and their width."""
    if protocol.schema:
        layer = table_input(protocol.schema)
        return [layer], layer.out_features
    return [*centred(protocol), nn.Flatten()], protocol.num_features


def centred(protocol: DataProtocol) -> list[nn.Module]:
    """Levels and binary data lie in [0, 1]; the network sees them in [−1, 1]."""
    return [nn.Rescale(2.0, -1.0)] if protocol.model_levels is not None else []


def mlp_trunk(width: int, dropout: float) -> list[nn.Module]:
    """One residual block of a multi-layer perceptron, (N, width) to (N, width)."""
    body = nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Dropout(dropout), nn.Linear(width, width)
    )
    return [nn.Residual(quiet_last(body)), nn.LayerNorm(width), nn.SiLU(), nn.Dropout(dropout)]


def mlp(features: int, width: int, outputs: int, dropout: float) -> nn.Sequential:
    """A residual multi-layer perceptron, (N, features) to (N, outputs)."""
    return nn.Sequential(nn.Linear(features, width), *mlp_trunk(width, dropout), nn.Linear(width, outputs))


def conv_block(channels: int, dropout: float) -> nn.Module:
    """One residual block of convolutions, which keeps channels and resolution."""
    body = nn.Sequential(
        norm(channels),
        nn.SiLU(),
        nn.Conv2d(channels, channels, 3, padding=1),
        norm(channels),
        nn.SiLU(),
        nn.Dropout(dropout),
        nn.Conv2d(channels, channels, 3, padding=1),
    )
    return nn.Residual(quiet_last(body))


def norm(channels: int) -> nn.Module:
    """Group normalisation in groups of as many channels as go."""
    return nn.GroupNorm(math.gcd(8, channels), channels)


def pyramid(height: int, width: int, base: int) -> tuple[list[tuple[int, int]], list[int]]:
    """Resolutions from full down to about 4×4, and their channels; halves are rounded up, as strides do."""
    sizes, widths = [(height, width)], [base]
    while max(sizes[-1]) > 4:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
        widths.append(min(2 * widths[-1], 4 * base))
    return sizes, widths


def quiet_last(network: nn.Sequential) -> nn.Sequential:
    """Zero the last layer: a residual branch then starts as the identity, a prior as N(0, I).

    Zhang, Dauphin, Ma: Fixup Initialization, 2019, https://arxiv.org/abs/1901.09321.
    """
    last: Any = network[-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    return network


def start_at(last: nn.Linear | nn.Conv2d, likelihood: Likelihood, x: Tensor) -> None:
    """Let the last layer begin at what the data looks like: small weights, and a bias that says the rest."""
    if isinstance(last, nn.Conv2d):
        x = x.movedim(1, -1).flatten(0, -2)  # one bias serves all pixels, so each pixel is an example of its channels
    params = likelihood.initial_params(x)
    if params is None:
        return
    assert last.bias is not None
    with torch.no_grad():
        last.bias.copy_(params.flatten())
        last.weight.mul_(0.1)

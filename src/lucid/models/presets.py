"""Named presets: `mlp` for anything, `conv` for images; one dial for their size."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from lucid import nn
from lucid.distributions import Bernoulli, DiscretisedLogistic, Likelihood, OptimalScaleGaussian
from lucid.models.config import VAEConfig
from lucid.models.protocol import DataProtocol
from lucid.models.vae import VAE

__all__ = ["PRESETS", "create", "default_likelihood"]


class _Split(Protocol):
    def tensor(self, limit: int | None = None) -> Tensor: ...


class _Described(Protocol):
    """Data that says what it is, such as a `lucid.data.Dataset`."""

    @property
    def protocol(self) -> DataProtocol: ...

    @property
    def train(self) -> _Split: ...


def create(
    name: str,
    data: _Described | DataProtocol,
    *,
    size: int = 2,
    latents: int | None = None,
    dropout: float = 0.1,
    likelihood: Likelihood | None = None,
    **config: Any,
) -> VAE:
    """A model for some data, by the name of a preset.

    Args:
        name: "mlp", residual multi-layer perceptrons for data of any shape, or "conv", residual convolutions for
            images of any size and number of channels.
        data: What is to be modelled: a `lucid.data.Dataset`, or its protocol. Given data, the last layer starts at
            the data's mean and spread.
        size: The dial: width 128 · size for "mlp", 8 · size channels at full resolution for "conv".
        latents: Number of latent units; None means 8 · size.
        dropout: Fraction of hidden units dropped in training, in [0, 1).
        likelihood: p(x|z); None chooses by the data: Bernoulli for binary, discretised logistic for integer levels,
            Gaussian at the optimal scale for continuous data.
        config: Further fields of `VAEConfig`, such as kl_weight or beta_schedule.

    Raises:
        ValueError: If there is no such preset, or it does not suit the data.

    Example:
        >>> from lucid.models import DataProtocol, create
        >>> model = create("conv", DataProtocol(name="digits", kind="image", shape=(1, 8, 8), levels=17))
        >>> model.sample(2).shape
        torch.Size([2, 1, 8, 8])
    """
    if name not in PRESETS:
        close = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(PRESETS)}"
        raise ValueError(f"there is no preset {name!r}; {hint}")
    for what, value in (("size", size), ("latents", latents)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"{what} must be a positive int; received {value!r}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1); received {dropout}")
    if not isinstance(data, DataProtocol) and not hasattr(data, "protocol"):
        raise TypeError(
            f"data must say what it is: a lucid.data.Dataset or its protocol; received {type(data).__name__}. "
            "lucid.data.load(...) makes one of arrays, tensors and files"
        )
    protocol = data if isinstance(data, DataProtocol) else data.protocol
    likelihood = likelihood or default_likelihood(protocol)
    units = latents or 8 * size
    encoder, decoder, last = PRESETS[name](protocol, size, units, dropout, likelihood.num_outputs(protocol.shape[0]))
    if not isinstance(data, DataProtocol):
        _start_at(last, likelihood, data.train.tensor(2048))
    model = VAE(VAEConfig(encoders=[encoder], decoders=[decoder], likelihood=likelihood, **config))
    model.protocol = protocol
    latent_shape = torch.zeros_like(model.latent_shapes[0])
    latent_shape[0] = units
    model.latent_shapes[0] = latent_shape
    return model


def default_likelihood(protocol: DataProtocol) -> Likelihood:
    """The likelihood that suits data of a protocol."""
    levels = protocol.model_levels
    if levels is None:
        return OptimalScaleGaussian()
    return Bernoulli() if levels == 2 else DiscretisedLogistic(levels)


Parts = tuple[nn.Module, nn.Module, nn.Linear | nn.Conv2d]


def _mlp(protocol: DataProtocol, size: int, latents: int, dropout: float, outputs: int) -> Parts:
    features, width = protocol.num_features, 128 * size
    shape = protocol.shape

    def trunk() -> list[nn.Module]:
        body = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Dropout(dropout), nn.Linear(width, width)
        )
        return [nn.Residual(_quiet_last(body)), nn.LayerNorm(width), nn.SiLU(), nn.Dropout(dropout)]

    last = nn.Linear(width, outputs * math.prod(shape[1:]))
    encoder = nn.Sequential(
        *_centred(protocol), nn.Flatten(), nn.Linear(features, width), *trunk(), nn.Linear(width, 2 * latents)
    )
    decoder = nn.Sequential(
        nn.Linear(latents, width), *trunk(), last, nn.Unflatten(1, (outputs, *shape[1:]))
    )
    return encoder, decoder, last


def _conv(protocol: DataProtocol, size: int, latents: int, dropout: float, outputs: int) -> Parts:
    if protocol.kind != "image":
        raise ValueError(
            f"the preset conv is for images; {protocol.name} is a {protocol.kind} of shape {protocol.shape}. Use mlp"
        )
    channels, height, width = protocol.shape
    sizes, widths = _pyramid(height, width, 8 * size)
    top = (widths[-1], *sizes[-1])

    def block(n: int) -> nn.Module:
        body = nn.Sequential(
            _norm(n), nn.SiLU(), nn.Conv2d(n, n, 3, padding=1), _norm(n), nn.SiLU(), nn.Dropout(dropout),
            nn.Conv2d(n, n, 3, padding=1),
        )  # fmt: skip
        return nn.Residual(_quiet_last(body))

    encoder: list[nn.Module] = [*_centred(protocol), nn.Conv2d(channels, widths[0], 3, padding=1), block(widths[0])]
    decoder: list[nn.Module] = [nn.Linear(latents, math.prod(top)), nn.Unflatten(1, top), block(top[0])]
    for inner, outer in zip(widths[1:], widths[:-1], strict=True):
        encoder += [nn.Conv2d(outer, inner, 3, stride=2, padding=1), block(inner)]
    for inner, outer, resolution in zip(widths[:0:-1], widths[-2::-1], sizes[-2::-1], strict=True):
        decoder += [nn.ResizeConv2d(inner, outer, resolution), block(outer)]
    last = nn.Conv2d(widths[0], outputs, 3, padding=1)
    encoder += [_norm(top[0]), nn.SiLU(), nn.Flatten(), nn.Dropout(dropout), nn.Linear(math.prod(top), 2 * latents)]
    decoder += [_norm(widths[0]), nn.SiLU(), nn.Dropout(dropout), last]
    return nn.Sequential(*encoder), nn.Sequential(*decoder), last


PRESETS: dict[str, Callable[[DataProtocol, int, int, float, int], Parts]] = {"mlp": _mlp, "conv": _conv}
"""The presets by name."""


def _pyramid(height: int, width: int, base: int) -> tuple[list[tuple[int, int]], list[int]]:
    """Resolutions from full down to about 4×4, and their channels; halves are rounded up, as strides do."""
    sizes, widths = [(height, width)], [base]
    while max(sizes[-1]) > 4:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
        widths.append(min(2 * widths[-1], 4 * base))
    return sizes, widths


def _norm(channels: int) -> nn.Module:
    return nn.GroupNorm(math.gcd(8, channels), channels)


def _centred(protocol: DataProtocol) -> list[nn.Module]:
    """Levels and binary data lie in [0, 1]; the network sees them in [−1, 1]."""
    return [nn.Rescale(2.0, -1.0)] if protocol.model_levels is not None else []


def _quiet_last(body: nn.Sequential) -> nn.Sequential:
    """Zero the last layer of a residual branch, which then starts as the identity (Fixup, 2019, arXiv 1901.09321)."""
    last: Any = body[-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    return body


def _start_at(last: nn.Linear | nn.Conv2d, likelihood: Likelihood, x: Tensor) -> None:
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

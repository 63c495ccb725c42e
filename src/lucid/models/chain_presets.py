"""The presets "mlp" and "conv": a `VAE` of any depth, vectors as latents, half as many on each deeper level."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from lucid import nn
from lucid.distributions import Posterior
from lucid.models.blocks import centred, conv_block, mlp, mlp_trunk, norm, pyramid, quiet_last, reading
from lucid.models.protocol import DataProtocol

__all__ = ["Dials", "Parts", "conv_chain", "halving", "mlp_chain"]


@dataclass(frozen=True)
class Dials:
    """What a preset is asked for.

    Attributes:
        size: The dial.
        latents: Latent units of level 0, or channels where latents are maps.
        depth: Number of levels.
        dropout: Fraction of hidden units dropped in training.
        outputs: Width (dimension 1) of what the likelihood needs.
        posteriors: From the latents' shapes to their posteriors, None for diagonal Gaussians.
    """

    size: int
    latents: int
    depth: int
    dropout: float
    outputs: int
    posteriors: Callable[[list[tuple[int, ...]]], list[Posterior] | None]


@dataclass(frozen=True)
class Parts:
    """What a preset makes.

    Attributes:
        encoders: As `VAEConfig` takes them.
        decoders: Likewise.
        priors: Likewise; None at depth 1.
        last: The layer that emits what the likelihood needs.
        shapes: Of the latents, without the batch, indexed by level.
        posteriors: Of the levels; None for diagonal Gaussians.
    """

    encoders: list[nn.Module]
    decoders: list[nn.Module]
    priors: list[nn.Module] | None
    last: nn.Linear | nn.Conv2d
    shapes: list[tuple[int, ...]]
    posteriors: list[Posterior] | None = None


def mlp_chain(protocol: DataProtocol, dials: Dials) -> Parts:
    """Residual multi-layer perceptrons."""
    width, shape, levels = 128 * dials.size, protocol.shape, Levels.of(dials)
    layers, features = reading(protocol)
    last = nn.Linear(width, dials.outputs * math.prod(shape[1:]))
    encoder = nn.Sequential(*layers, *mlp(features, width, levels.emitted[0], dials.dropout))
    decoder = nn.Sequential(
        nn.Linear(levels.read_by_last(width), width),
        *mlp_trunk(width, dials.dropout),
        last,
        nn.Unflatten(1, (dials.outputs, *shape[1:])),
    )
    return _with_deeper(encoder, decoder, last, levels, width, dials.dropout)


def conv_chain(protocol: DataProtocol, dials: Dials) -> Parts:
    """Residual convolutions between x and level 0, residual multi-layer perceptrons above."""
    if protocol.kind != "image":
        raise ValueError(
            f"the preset conv is for images; {protocol.name} is a {protocol.kind} of shape {protocol.shape}. Use mlp"
        )
    channels, height, width = protocol.shape
    sizes, widths = pyramid(height, width, 8 * dials.size)
    top, levels, dropout = (widths[-1], *sizes[-1]), Levels.of(dials), dials.dropout
    encoder: list[nn.Module] = [
        *centred(protocol),
        nn.Conv2d(channels, widths[0], 3, padding=1),
        conv_block(widths[0], dropout),
    ]
    decoder: list[nn.Module] = [
        nn.Linear(levels.read_by_last(128 * dials.size), math.prod(top)),
        nn.Unflatten(1, top),
        conv_block(top[0], dropout),
    ]
    for inner, outer in zip(widths[1:], widths[:-1], strict=True):
        encoder += [nn.Conv2d(outer, inner, 3, stride=2, padding=1), conv_block(inner, dropout)]
    for inner, outer, resolution in zip(widths[:0:-1], widths[-2::-1], sizes[-2::-1], strict=True):
        decoder += [nn.ResizeConv2d(inner, outer, resolution), conv_block(outer, dropout)]
    last = nn.Conv2d(widths[0], dials.outputs, 3, padding=1)
    encoder += [norm(top[0]), nn.SiLU(), nn.Flatten(), nn.Dropout(dropout)]
    encoder += [nn.Linear(math.prod(top), levels.emitted[0])]
    decoder += [norm(widths[0]), nn.SiLU(), nn.Dropout(dropout), last]
    return _with_deeper(nn.Sequential(*encoder), nn.Sequential(*decoder), last, levels, 128 * dials.size, dials.dropout)


def halving(latents: int, depth: int) -> list[int]:
    """Units of each level: half as many as on the level nearer the data, but at least two (or as many as level 0)."""
    return [max(min(2, latents), latents // 2**level) for level in range(depth)]


def _with_deeper(
    encoder: nn.Module, decoder: nn.Module, last: nn.Linear | nn.Conv2d, levels: Levels, width: int, dropout: float
) -> Parts:
    """The networks between x and level 0, with those of the levels above."""
    units, emitted = levels.units, levels.emitted
    shapes: list[tuple[int, ...]] = [(n,) for n in units]
    if len(units) == 1:
        return Parts([encoder], [decoder], None, last, shapes, levels.posteriors)
    encoders = [mlp(n, width, numbers, dropout) for n, numbers in zip(units, emitted[1:], strict=False)]
    reads = [*(width for _ in units[2:]), units[-1]]
    decoders = [nn.Sequential(nn.Linear(n, width), *mlp_trunk(width, dropout)) for n in reads]
    priors = [quiet_last(mlp(inner, width, 2 * outer, dropout)) for outer, inner in pairwise(units)]  # at N(0, I)
    return Parts([encoder, *encoders], [decoder, *decoders], [*priors], last, shapes, levels.posteriors)


@dataclass(frozen=True)
class Levels:
    """The latents of a chain, indexed by level.

    Attributes:
        units: Latent units.
        posteriors: None for diagonal Gaussians.
        emitted: Numbers that the encoder emits.
    """

    units: list[int]
    posteriors: list[Posterior] | None
    emitted: list[int]

    @classmethod
    def of(cls, dials: Dials) -> Levels:
        """What the dials ask for."""
        units = halving(dials.latents, dials.depth)
        posteriors = dials.posteriors([(n,) for n in units])
        if posteriors is None:
            return cls(units, None, [2 * n for n in units])
        return cls(units, posteriors, [q.num_outputs(n) for q, n in zip(posteriors, units, strict=True)])

    def read_by_last(self, width: int) -> int:
        """What the last decoder reads: the latents themselves, or what the decoder above made of deeper ones."""
        return self.units[0] if len(self.units) == 1 else width

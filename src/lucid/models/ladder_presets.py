"""The preset "ladder": a `LadderVAE`, of convolutions with maps of latents for images, of perceptrons for the rest."""

from __future__ import annotations

import math
from itertools import pairwise

from lucid import nn
from lucid.models.blocks import centred, conv_block, mlp, mlp_trunk, norm, pyramid, quiet_last, reading
from lucid.models.chain_presets import Dials, Parts, halving
from lucid.models.protocol import DataProtocol

__all__ = ["ladder_of"]


def ladder_of(protocol: DataProtocol, dials: Dials) -> Parts:
    """A ladder for any data.

    Raises:
        ValueError: If posteriors were asked for that a ladder cannot merge.
    """
    if dials.posteriors([]) is not None:
        raise ValueError(
            "the preset ladder takes no posterior: a LadderVAE merges diagonal Gaussians by their precisions. Leave it "
            "out, or use mlp or conv"
        )
    return _conv_ladder(protocol, dials) if protocol.kind == "image" else _mlp_ladder(protocol, dials)


def _mlp_ladder(protocol: DataProtocol, dials: Dials) -> Parts:
    width, shape, units = 128 * dials.size, protocol.shape, halving(dials.latents, dials.depth)
    layers, features = reading(protocol)
    last = nn.Linear(width, dials.outputs * math.prod(shape[1:]))
    first = nn.Sequential(
        nn.Linear(units[0], width),
        *mlp_trunk(width, dials.dropout),
        last,
        nn.Unflatten(1, (dials.outputs, *shape[1:])),
    )
    pairs = list(pairwise(units))
    return Parts(
        encoders=[
            nn.Sequential(*layers, *mlp(features, width, 2 * units[0], dials.dropout)),
            *(mlp(outer, width, 2 * inner, dials.dropout) for outer, inner in pairs),
        ],
        decoders=[first, *(mlp(inner, width, outer, dials.dropout) for outer, inner in pairs)],
        priors=[quiet_last(mlp(inner, width, 2 * outer, dials.dropout)) for outer, inner in pairs] or None,
        last=last,
        shapes=[(n,) for n in units],
    )


def _conv_ladder(protocol: DataProtocol, dials: Dials) -> Parts:
    channels, height, width = protocol.shape
    base, dropout = 16 * dials.size, dials.dropout
    sizes, widths = pyramid(height, width, base)
    places = [min(level + 1, len(sizes) - 1) for level in range(dials.depth)]
    shapes = [(dials.latents, *sizes[place]) for place in places]
    up: list[nn.Module] = [*centred(protocol), nn.Conv2d(channels, widths[0], 3, padding=1)]
    encoders = [nn.Sequential(*up, *_up(widths, 0, places[0], dropout), *_head(widths[places[0]], 2 * dials.latents))]
    last = nn.Conv2d(widths[0], dials.outputs, 3, padding=1)
    down: list[nn.Module] = [nn.Conv2d(dials.latents, widths[places[0]], 3, padding=1)]
    decoders = [
        nn.Sequential(
            *down, *_down(widths, sizes, places[0], 0, dropout), norm(widths[0]), nn.SiLU(), nn.Dropout(dropout), last
        )
    ]
    priors: list[nn.Module] = []
    for outer, inner in pairwise(places):
        encoders.append(
            nn.Sequential(
                nn.Conv2d(dials.latents, widths[outer], 3, padding=1),
                *_up(widths, outer, inner, dropout),
                *_head(widths[inner], 2 * dials.latents),
            )
        )
        decoders.append(_between(dials.latents, widths, sizes, inner, outer, dropout, dials.latents))
        priors.append(quiet_last(_between(dials.latents, widths, sizes, inner, outer, dropout, 2 * dials.latents)))
    return Parts([*encoders], [*decoders], priors or None, last, [*shapes])


def _between(
    latents: int, widths: list[int], sizes: list[tuple[int, int]], inner: int, outer: int, dropout: float, outputs: int
) -> nn.Sequential:
    """From the latents of one level to maps of the level nearer the data."""
    return nn.Sequential(
        nn.Conv2d(latents, widths[inner], 3, padding=1),
        *_down(widths, sizes, inner, outer, dropout),
        *_head(widths[outer], outputs),
    )


def _up(widths: list[int], start: int, stop: int, dropout: float) -> list[nn.Module]:
    """From one resolution of the pyramid to a smaller one, or the same."""
    layers: list[nn.Module] = [conv_block(widths[start], dropout)]
    for place in range(start, stop):
        layers += [nn.Conv2d(widths[place], widths[place + 1], 3, stride=2, padding=1)]
        layers += [conv_block(widths[place + 1], dropout)]
    return layers


def _down(widths: list[int], sizes: list[tuple[int, int]], start: int, stop: int, dropout: float) -> list[nn.Module]:
    """From one resolution of the pyramid to a larger one, or the same."""
    layers: list[nn.Module] = [conv_block(widths[start], dropout)]
    for place in range(start, stop, -1):
        layers += [nn.ResizeConv2d(widths[place], widths[place - 1], sizes[place - 1])]
        layers += [conv_block(widths[place - 1], dropout)]
    return layers


def _head(width: int, outputs: int) -> list[nn.Module]:
    return [norm(width), nn.SiLU(), nn.Conv2d(width, outputs, 3, padding=1)]

"""Choosing the grids of the latents by looking at data."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lucid.codec.coding.block import BlockCoder, Network
from lucid.codec.coding.data import to_model_space
from lucid.codec.coding.entries import DRAWN, marks_of
from lucid.codec.coding.exact import Flags, Floats
from lucid.codec.coding.latents import full_gaussian, gaussian_parameters
from lucid.codec.layout import Grid, LatentLayout, Layout

__all__ = ["calibrate"]

_TRIED = 16
_MOST_EXAMPLES = 1024
_ROWS = 64
_REACH = 8.0
"""Standard deviations that a grid covers."""
_STEP = 0.5
"""Width of a cell in standard deviations of a narrow posterior: coarser costs bits, finer buys none."""
_WIDEST, _FINEST = 2.0**-2, 2.0**-12
_MOST_CELLS = 1 << 16
_COLLAPSED = 1e-3
"""Nats of KL below which a latent may be drawn by both sides instead of coded."""
_GIVEN_UP, _GIVEN_UP_SHARE = 1e-2, 5e-4
"""Nats, and share of the whole KL, that all latents so drawn have together, at most."""


class _Seen(NamedTuple):
    """What calibration saw of one latent, (examples, numbers of the latent) each.

    Attributes:
        loc: Means of the posterior.
        scale: Its standard deviations.
        prior_loc: Means of the prior, where it is known first; 0 otherwise.
        prior_scale: Its standard deviations; 1 otherwise.
    """

    loc: Floats
    scale: Floats
    prior_loc: Floats
    prior_scale: Floats

    def kl(self) -> Floats:
        """KL of each number in nats, the mean over examples."""
        ratio, distance = self.scale / self.prior_scale, (self.loc - self.prior_loc) / self.prior_scale
        return (0.5 * (ratio**2 + distance**2 - 1) - np.log(ratio)).mean(0)

    def cost(self) -> Floats:
        r"""Bits that an example takes more where a number is drawn from its prior instead, the mean over examples.

        Where q is the true posterior, :math:`E_p[-\log p(x|z)] + \log p(x) = KL(p \,\|\, q)`.
        """
        ratio, distance = self.prior_scale / self.scale, (self.loc - self.prior_loc) / self.scale
        return (0.5 * (ratio**2 + distance**2 - 1) - np.log(ratio)).mean(0) / math.log(2)

    def popped(self, step: Floats) -> Floats:
        """Bits of the posterior in cells, `step` wide in units of the prior, the mean over examples."""
        cells = self.scale / self.prior_scale / step
        return np.log2(np.maximum(cells * math.sqrt(2 * math.pi * math.e), 1.0)).mean(0)


def calibrate(network: Network, layout: Layout, levels: Tensor, seed: int = 0) -> Layout:
    """The layout with a grid for every latent.

    Cells are half as wide as a narrow posterior of the data is. Latents that have collapsed, whose posteriors are
    their priors whatever x is, are marked as shared: both sides draw them from one generator, at the same rate and
    without the bits that popping them would ask for at the beginning of a block. Weak ones enter later in a block.

    Args:
        network: Integer-exact.
        layout: Of the walk.
        levels: Data like that to be compressed, (n, *shape), int64, as `BlockCoder` takes it; of more than 1024
            examples as many spread over all.
        seed: Of the draws of the latents on the way.

    Raises:
        ValueError: If there are no examples.
    """
    if not len(levels):
        raise ValueError("calibration needs one example at least, of data like that to be compressed; received none")
    chosen = torch.linspace(0, len(levels) - 1, min(len(levels), _MOST_EXAMPLES)).round().long()
    generator = np.random.default_rng(seed)
    parts = [_walk(network, layout, part, generator) for part in levels[chosen].split(_ROWS)]
    seen = {
        level: _Seen(*(np.concatenate(column) for column in zip(*(part[level] for part in parts), strict=True)))
        for level in parts[0]
    }
    shared = _collapsed(layout, seen)
    latents = [
        replace(latent, grid=_grid(latent, seen[latent.level], shared[latent.level])) for latent in layout.latents
    ]
    layout = replace(layout, latents=tuple(latents))
    some = levels[chosen][:_TRIED].reshape(min(len(chosen), _TRIED), -1).numpy().astype(np.int32)
    _, added = BlockCoder(network, layout).trial(some)
    return _with_entries(layout, seen, added)


def _with_entries(layout: Layout, seen: dict[int, _Seen], added: float) -> Layout:
    """With what is weak marked by when it enters, if anything is."""
    own = {latent.level: ~_grid_of(latent).shared.reshape(-1).numpy() for latent in layout.latents}
    cost = [np.where(_can_collapse(a), seen[a.level].cost(), np.inf)[own[a.level]] for a in layout.latents]
    popped = [seen[a.level].popped(_grid_of(a).step.reshape(-1).numpy())[own[a.level]] for a in layout.latents]
    found = marks_of(np.concatenate(cost), np.concatenate(popped), added)
    if not found.any():
        return layout
    latents: list[LatentLayout] = []
    for latent, part in zip(layout.latents, np.split(found, np.cumsum([len(each) for each in cost])[:-1]), strict=True):
        marks = np.full(int(np.prod(latent.shape)), DRAWN, dtype=np.uint8)
        marks[own[latent.level]] = part
        grid = replace(_grid_of(latent), shared=torch.from_numpy(marks).reshape(latent.shape))
        latents.append(replace(latent, grid=grid))
    return replace(layout, latents=tuple(latents))


def _grid_of(latent: LatentLayout) -> Grid:
    assert latent.grid is not None
    return latent.grid


def standardised(latent: LatentLayout) -> bool:
    """Whether a latent's grid is in units of its prior."""
    return latent.prior_known_first and latent.prior.kind in ("standard", "gaussian")


def _can_collapse(latent: LatentLayout) -> bool:
    """Both sides know the prior before z, and each number of it can be left out alone."""
    return standardised(latent) and latent.posterior.kind == "gaussian"


def _walk(network: Network, layout: Layout, levels: Tensor, generator: np.random.Generator) -> dict[int, _Seen]:
    rows = len(levels)
    run = network.start(rows)
    run.feed("x", to_model_space(levels.reshape(rows, -1).numpy(), layout.data))
    by_level = {latent.level: latent for latent in layout.latents}
    seen: dict[int, _Seen] = {}
    for level in layout.inference:
        latent = by_level[level]
        size = int(np.prod(latent.shape))
        loc, scale = gaussian_parameters(run, latent.posterior, rows, size)
        if standardised(latent):
            prior_loc, prior_scale = gaussian_parameters(run, latent.prior, rows, size)
        else:
            prior_loc, prior_scale = np.zeros_like(loc), np.ones_like(loc)
        seen[level] = _Seen(loc, scale, prior_loc, prior_scale)
        noise = generator.standard_normal(loc.shape)
        if latent.posterior.kind == "full_gaussian":
            gaussian = full_gaussian(run, latent.posterior, rows)
            z, seen[level] = np.empty_like(loc), seen[level]._replace(scale=gaussian.std)
            for i in range(size):
                mean = gaussian.mean(i)
                z[:, i] = mean + gaussian.std[:, i] * noise[:, i]
                gaussian.tell(i, mean, z[:, i])
        else:
            z = loc + scale * noise
        run.feed(f"z{level}", torch.from_numpy(z).reshape(rows, *latent.shape))
    return seen


def _collapsed(layout: Layout, seen: dict[int, _Seen]) -> dict[int, Flags]:
    """Which numbers of each latent have collapsed, the most thoroughly collapsed first, within what may be given up."""
    kls = {latent.level: seen[latent.level].kl() for latent in layout.latents if _can_collapse(latent)}
    every = np.sort(np.concatenate([np.zeros(0), *kls.values()]))
    allowed = max(_GIVEN_UP, _GIVEN_UP_SHARE * every.sum())
    affordable = np.cumsum(np.maximum(every, 0)) <= allowed
    limit = every[affordable][-1] if affordable.any() else -1.0
    none = {latent.level: np.zeros(seen[latent.level].loc.shape[1], dtype=bool) for latent in layout.latents}
    return none | {level: (kl <= limit) & (kl < _COLLAPSED) for level, kl in kls.items()}


def _grid(latent: LatentLayout, seen: _Seen, shared: Flags) -> Grid:
    def shaped(values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).reshape(latent.shape)

    narrow = np.quantile(seen.scale / seen.prior_scale, 0.05, axis=0)
    if standardised(latent):
        step = np.clip(_power_of_two_below(_STEP * narrow), _FINEST, _WIDEST)
        centre, cells = np.zeros_like(step), 2 * _REACH / step
    else:
        low, high = (seen.loc - _REACH * seen.scale).min(0), (seen.loc + _REACH * seen.scale).max(0)
        # Other data may lie further out, by half of the range on each side.
        centre, width = np.rint(0.5 * (low + high)), 2 * (high - low)
        step = _power_of_two_below(_STEP * narrow)
        step = np.maximum(step, 2 * _power_of_two_below(width / _MOST_CELLS))
        cells = 2 * _power_of_two_below(width / step)
    return Grid(
        standardised=standardised(latent),
        centre=shaped(centre),
        step=shaped(step),
        cells=shaped(cells.astype(np.int64)),
        shared=shaped(shared),
    )


def _power_of_two_below(x: Floats) -> Floats:
    return 2.0 ** np.floor(np.log2(x))

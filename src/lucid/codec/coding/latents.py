"""One latent: its values on a grid, popped under the posterior, pushed under the prior."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lucid.codec.coding.code import Code, GroupedCode, Parameters, Run
from lucid.codec.coding.entries import ENTRIES, drawn
from lucid.codec.coding.exact import Floats, exp
from lucid.codec.coding.full_gaussian import FullGaussian, FullGaussianCode, GridNumbers
from lucid.codec.coding.gaussian import GaussianCode, StandardCode
from lucid.codec.coding.mixture_prior import GaussianMixture, MixturePriorCode
from lucid.codec.coding.noise import shared_normal
from lucid.codec.coding.stack import Symbols
from lucid.codec.layout import Described, Grid, LatentLayout

__all__ = ["LatentCoder", "full_gaussian", "gaussian_parameters"]


def gaussian_parameters(run: Run, described: Described, rows: int, size: int) -> tuple[Floats, Floats]:
    """Means and standard deviations of a Gaussian, (rows, size) each."""
    if described.kind == "standard":
        return np.zeros((rows, size)), np.ones((rows, size))
    of = Parameters(run, described, rows)
    return of.flat("loc"), exp(0.5 * np.clip(of.flat("logvar"), -60.0, 60.0))


def full_gaussian(run: Run, described: Described, rows: int) -> FullGaussian:
    """A Gaussian with a full covariance, of `rows` examples."""
    loc, scale = gaussian_parameters(run, described, rows, 0)
    return FullGaussian(loc, scale, Parameters(run, described, rows)["lower"])


class LatentCoder:
    """Codes one latent of some examples.

    Args:
        latent: With its grid.
        tiers: How many tiers of its weak numbers are coded; the others are drawn, as the collapsed ones are.

    Raises:
        ValueError: If the latent has no grid.
    """

    def __init__(self, latent: LatentLayout, tiers: int = len(ENTRIES)) -> None:
        if latent.grid is None:
            raise ValueError(f"the latent of level {latent.level} has no grid; give its layout to calibrate first")
        self.latent = latent
        self.input = f"z{latent.level}"
        self._grid = latent.grid
        self._step = _flat(latent.grid.step)
        self._centre = _flat(latent.grid.centre)
        shared = drawn(latent.grid.shared.reshape(-1).cpu().numpy().astype(np.uint8), tiers)
        self._shared = np.flatnonzero(shared)
        self._own = np.flatnonzero(~shared)
        self._groups = _groups(latent.grid, self._own)
        self._mixture = _mixture(latent.prior) if latent.prior.kind == "mixture" else None

    def posterior(self, run: Run, rows: int) -> Code:
        """The code of the examples' symbols under q."""
        size = len(self._step)
        if not len(self._own):
            # Not read: what nobody reads the network does not compute.
            return self._grouped([], rows)
        if self.latent.posterior.kind == "full_gaussian":
            return FullGaussianCode(full_gaussian(run, self.latent.posterior, rows), self._grid_numbers(run, rows))
        loc, scale = gaussian_parameters(run, self.latent.posterior, rows, size)
        if self._grid.standardised:
            centre, unit = gaussian_parameters(run, self.latent.prior, rows, size)
            return self._gaussian((loc - centre) / unit, scale / unit, rows)
        return self._gaussian(loc - self._centre, scale, rows)

    def prior(self, run: Run, rows: int) -> Code:
        """The code of the examples' symbols under p."""
        if self._mixture is not None:
            return MixturePriorCode(
                self._mixture,
                rows,
                lambda symbols: symbols.reshape(rows, -1) * self._step + self._centre,
                lambda loc, scale: self._gaussian(loc - self._centre, scale, rows),
            )
        if not self._grid.standardised:
            loc, scale = gaussian_parameters(run, self.latent.prior, rows, len(self._step))
            return self._gaussian(loc - self._centre, scale, rows)
        codes = [StandardCode(rows * len(columns), half, step) for columns, half, step in self._groups]
        return self._grouped(codes, rows)

    def values(self, symbols: Symbols, run: Run, rows: int, first: int) -> Tensor:
        """The latents that symbols stand for.

        Args:
            symbols: As a code popped them.
            run: The evaluation, from which the prior is read where the grid is in its units.
            rows: Examples n.
            first: Number of the first in its block.

        Returns:
            (n, *shape), float64.
        """
        at = np.empty((rows, len(self._step)))
        at[:, self._own] = symbols.reshape(rows, -1) * self._step[self._own]
        if self._grid.standardised:
            loc, scale = gaussian_parameters(run, self.latent.prior, rows, len(self._step))
            if len(self._shared):
                at[:, self._shared] = shared_normal(self.latent.level, self._shared, first, rows)
            at *= scale
            at += loc
        else:
            at += self._centre
        return torch.from_numpy(at).reshape(rows, *self.latent.shape)

    def _gaussian(self, mean: Floats, std: Floats, rows: int) -> Code:
        """Under Gaussians, (n, size), relative to the grid's centre and in its units."""
        mean, std = mean / self._step, std / self._step
        codes: list[Code] = []
        for columns, half, _ in self._groups:
            own = self._own[columns]
            codes.append(GaussianCode(mean[:, own].reshape(-1), std[:, own].reshape(-1), half))
        return self._grouped(codes, rows)

    def _grid_numbers(self, run: Run, rows: int) -> GridNumbers:
        half = _flat(self._grid.cells).astype(np.int64) // 2
        if not self._grid.standardised:
            shape = (rows, len(self._step))
            return GridNumbers(np.broadcast_to(self._centre, shape), np.broadcast_to(self._step, shape), half)
        centre, unit = gaussian_parameters(run, self.latent.prior, rows, len(self._step))
        return GridNumbers(centre, unit * self._step, half)

    def _grouped(self, codes: list[Code] | list[StandardCode], rows: int) -> Code:
        return GroupedCode([columns for columns, _, _ in self._groups], codes, rows)


def _mixture(prior: Described) -> GaussianMixture:
    log_weights, loc, logvar = (
        prior.constants[name].double().cpu().numpy() for name in ("log_weights", "loc", "logvar")
    )
    return GaussianMixture(log_weights, loc, logvar)


def _flat(x: Tensor) -> Floats:
    return x.double().reshape(-1).cpu().numpy()


def _groups(grid: Grid, own: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], int, float]]:
    """Places among the own elements, greatest integer, and step of what is coded alike."""
    steps, halves = _flat(grid.step)[own], _flat(grid.cells)[own] // 2
    kinds = sorted({*zip(halves.tolist(), steps.tolist(), strict=True)})
    return [(np.flatnonzero((halves == half) & (steps == step)), int(half), step) for half, step in kinds]

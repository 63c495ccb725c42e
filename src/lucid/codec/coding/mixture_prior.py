"""A latent under a mixture of Gaussians: the component comes off the stack and goes back on it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lucid.codec.coding.categorical import RowCode, relative_masses
from lucid.codec.coding.code import Code
from lucid.codec.coding.exact import Floats, exp
from lucid.codec.coding.stack import Stack, Symbols

__all__ = ["GaussianMixture", "MixturePriorCode"]


class GaussianMixture:
    """K Gaussians over D numbers.

    Args:
        log_weights: (K,).
        loc: (K, D).
        logvar: (K, D).
    """

    def __init__(self, log_weights: Floats, loc: Floats, logvar: Floats) -> None:
        self.loc = loc.reshape(len(loc), -1)
        half = 0.5 * np.clip(logvar.reshape(len(logvar), -1), -60.0, 60.0)
        self.scale = exp(half)
        self.log_weights = log_weights
        self._inverse = np.ascontiguousarray((1.0 / self.scale).T)
        self._offset = np.ascontiguousarray((self.loc / self.scale).T)
        self._log_scale = np.ascontiguousarray(half.T)

    def log_joint(self, z: Floats) -> Floats:
        """log w_k N(z; k) without the constant, (n, K) for z (n, D): dimension by dimension, always in that order."""
        total = np.repeat(self.log_weights[None], len(z), axis=0)
        for column, inverse, offset, log_scale in zip(z.T, self._inverse, self._offset, self._log_scale, strict=True):
            distance = column[:, None] * inverse
            distance -= offset
            distance *= distance
            distance *= 0.5
            distance += log_scale
            total -= distance
        return total


class MixturePriorCode:
    r"""Bits back over the component.

    Pushing z pops k under p(k|z), pushes z under component k, and k under its weight:
    :math:`-\log_2 w_k p_k(z) / p(k|z) = -\log_2 p(z)` bits.

    Args:
        mixture: The prior.
        rows: Examples n.
        values: From symbols, flattened, to the latents they stand for, (n, D).
        under: From means and standard deviations, (n, D) each, to the code of the symbols.
    """

    def __init__(
        self,
        mixture: GaussianMixture,
        rows: int,
        values: Callable[[Symbols], Floats],
        under: Callable[[Floats, Floats], Code],
    ) -> None:
        self._mixture = mixture
        self._values = values
        self._under = under
        self._weights = RowCode(np.repeat(relative_masses(mixture.log_weights[None]), rows, axis=0))

    def push(self, stack: Stack, symbols: Symbols) -> None:
        component = self._responsibilities(symbols).pop(stack)
        self._given(component).push(stack, symbols)
        self._weights.push(stack, component)

    def pop(self, stack: Stack) -> Symbols:
        component = self._weights.pop(stack)
        symbols = self._given(component).pop(stack)
        self._responsibilities(symbols).push(stack, component)
        return symbols

    def _responsibilities(self, symbols: Symbols) -> RowCode:
        return RowCode(relative_masses(self._mixture.log_joint(self._values(symbols))))

    def _given(self, component: Symbols) -> Code:
        return self._under(self._mixture.loc[component], self._mixture.scale[component])

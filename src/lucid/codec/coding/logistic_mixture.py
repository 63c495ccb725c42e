"""Mixtures of discretised logistics: the component comes off the stack and goes back on it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lucid.codec.coding.categorical import RowCode, relative_masses
from lucid.codec.coding.code import Code, PartedCode
from lucid.codec.coding.exact import Floats, Ints
from lucid.codec.coding.logistic import LogisticEdges, halving_code
from lucid.codec.coding.stack import Stack, Symbols

__all__ = ["MixtureNumbers", "mixture_code"]

_LEAST_PART, _MOST_PART = 16, 1 << 12


class MixtureNumbers(NamedTuple):
    """Parameters of P positions, of K components over C channels.

    Attributes:
        logits: (P, K).
        loc: (K, C, P).
        inverse_scale: (K, C, P).
        coefficients: (K, C(C − 1)/2, P); None for channels that do not follow each other.
        levels: L.
    """

    logits: Floats
    loc: Floats
    inverse_scale: Floats
    coefficients: Floats | None
    levels: int

    def part(self, where: slice) -> MixtureNumbers:
        """Of some positions."""
        return MixtureNumbers(
            self.logits[where],
            self.loc[..., where],
            self.inverse_scale[..., where],
            None if self.coefficients is None else self.coefficients[..., where],
            self.levels,
        )


def mixture_code(numbers: MixtureNumbers) -> Code:
    """The code of the levels of P positions, flattened from (P, C).

    Parts are small where there are few positions: the components of a part are popped before its levels are pushed, and
    at the beginning of a block there is little to pop from.
    """
    channels = numbers.loc.shape[1]
    positions = len(numbers.logits)
    size = min(max(positions // 8, _LEAST_PART), _MOST_PART)

    def make(where: slice) -> Code:
        return _MixtureCode(numbers.part(slice(where.start // channels, where.stop // channels)))

    return PartedCode(positions * channels, size * channels, make)


class _MixtureCode:
    r"""Bits back over the component of each position.

    Pushing x pops k under p(k|x), pushes x under component k, and k under its weight:
    :math:`-\log_2 \pi_k p_k(x) / p(k|x) = -\log_2 p(x)` bits. One component is halved in the place of all K.
    """

    def __init__(self, numbers: MixtureNumbers) -> None:
        self._numbers = numbers
        self._weights = relative_masses(numbers.logits)
        self._every = np.arange(len(self._weights))

    def push(self, stack: Stack, symbols: Symbols) -> None:
        x = symbols.reshape(len(self._weights), -1).T.astype(np.int64)
        component = self._responsibilities(x).pop(stack)
        for channel in reversed(range(len(x))):
            halving_code(self._edges(component, x, channel)).push(stack, x[channel].astype(np.int32))
        RowCode(self._weights).push(stack, component)

    def pop(self, stack: Stack) -> Symbols:
        component = RowCode(self._weights).pop(stack)
        x = np.empty((self._numbers.loc.shape[1], len(self._weights)), dtype=np.int64)
        for channel in range(len(x)):
            x[channel] = halving_code(self._edges(component, x, channel)).pop(stack)
        self._responsibilities(x).push(stack, component)
        return x.T.astype(np.int32).reshape(-1)

    def _responsibilities(self, x: Ints) -> RowCode:
        """The code of the component of each position, given its levels x (C, P)."""
        masses = self._weights.copy()
        for channel, level in enumerate(x):
            for k in range(masses.shape[1]):
                masses[:, k] *= self._edges(k, x, channel).mass(level)
            # Kept near 1: a product over many channels would leave the range of a float.
            masses /= masses.max(axis=1, keepdims=True)
        return RowCode(masses)

    def _edges(self, component: int | Symbols, x: Ints, channel: int) -> LogisticEdges:
        """A channel under one component, or one at each position, given the channels before it."""
        numbers, every = self._numbers, self._every
        loc = numbers.loc[component, channel, every]
        if numbers.coefficients is not None:
            first = channel * (channel - 1) // 2
            for earlier in range(channel):
                # One addition after the other: another order would round differently.
                centred = x[earlier] / (numbers.levels - 1) - 0.5
                loc = loc + numbers.coefficients[component, first + earlier, every] * centred
        return LogisticEdges(loc, numbers.inverse_scale[component, channel, every], numbers.levels)

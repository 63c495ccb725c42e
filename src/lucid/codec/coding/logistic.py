"""Levels cut out of a logistic distribution, coded by halving: is it in the upper half? Of that half, in the upper?"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lucid.codec.coding.bits import DECISIONS
from lucid.codec.coding.code import Code, PartedCode
from lucid.codec.coding.exact import Floats, Ints, sigmoid_table
from lucid.codec.coding.stack import Stack, Symbols
from lucid.codec.errors import CodecError

__all__ = ["CutEdges", "Edges", "LogisticEdges", "halving_code"]

_RESOLUTION, _REACH, _BITS = 128, 40, 50
_FLOOR = 2.0**-36
"""Mass that every level has beside the logistic's: without it a level far from the mean could not be coded."""
_PART = 1 << 14


@cache
def _table() -> NDArray[np.complex128]:
    """σ at every step and its rise to the next, as the two parts of a complex number."""
    value = sigmoid_table(_RESOLUTION, _REACH, _BITS)
    return np.stack([value, np.append(np.diff(value), 0.0)], axis=-1).view(np.complex128)[:, 0]


def _logistic_cdf(at: Floats) -> Floats:
    """σ to 10⁻⁵ of itself, never decreasing: straight lines between the points of a table. Overwrites its argument."""
    np.clip(at, -_REACH, _REACH, out=at)
    at += _REACH
    at *= _RESOLUTION
    index = at.astype(np.int64)
    at -= index
    entry = np.take(_table(), index)
    at *= entry.imag
    at += entry.real
    return at


class Edges(ABC):
    """The distribution function of levels 0 … L − 1, for many elements.

    Attributes:
        levels: L.
    """

    levels: int

    @abstractmethod
    def __len__(self) -> int:
        """How many elements, M."""

    @abstractmethod
    def part(self, where: slice) -> Edges:
        """Of some elements."""

    @abstractmethod
    def _at(self, level: Ints) -> Floats:
        """Where the lower edge of a level, (M,), lies on the scale of a standard logistic."""

    def below(self, level: Ints) -> Floats:
        """P(x < level) and `_FLOOR` for each level below; (M,)."""
        mass = _logistic_cdf(self._at(level))
        mass[level <= 0] = 0.0
        mass[level >= self.levels] = 1.0
        mass += np.minimum(level, self.levels) * _FLOOR
        return mass

    def mass(self, level: Ints) -> Floats:
        """P(x = level) and `_FLOOR`; (M,)."""
        return self.below(level + 1) - self.below(level)

    @property
    def total(self) -> float:
        """The mass of all levels."""
        return 1.0 + self.levels * _FLOOR


class LogisticEdges(Edges):
    """Bins of a logistic on [0, 1], the outer two open.

    Args:
        loc: Its mean in units of the data, (M,).
        inverse_scale: 1/scale, (M,).
        levels: L.
    """

    def __init__(self, loc: Floats, inverse_scale: Floats, levels: int) -> None:
        self.levels = levels
        self._loc = loc
        self._inverse_scale = inverse_scale

    def __len__(self) -> int:
        return len(self._loc)

    def part(self, where: slice) -> LogisticEdges:
        return LogisticEdges(self._loc[where], self._inverse_scale[where], self.levels)

    def _at(self, level: Ints) -> Floats:
        at = level.astype(np.float64)
        at -= 0.5
        at /= self.levels - 1
        at -= self._loc
        at *= self._inverse_scale
        return at


class CutEdges(Edges):
    """A logistic around `loc` between cutpoints.

    Args:
        loc: (M,).
        cutpoints: Increasing, (F, L − 1) for F features.
        feature: The feature of each element, (M,).
    """

    def __init__(self, loc: Floats, cutpoints: Floats, feature: Ints) -> None:
        self.levels = cutpoints.shape[1] + 1
        self._loc = loc
        self._cutpoints = cutpoints
        self._feature = feature

    def __len__(self) -> int:
        return len(self._loc)

    def part(self, where: slice) -> CutEdges:
        return CutEdges(self._loc[where], self._cutpoints, self._feature[where])

    def _at(self, level: Ints) -> Floats:
        edge = np.clip(level - 1, 0, self.levels - 2)
        return self._cutpoints[self._feature, edge] - self._loc


def halving_code(edges: Edges) -> Code:
    """The code of levels 0 … L − 1 as decisions between halves, as many as L has binary digits."""
    return PartedCode(len(edges), _PART, lambda where: _HalvingCode(edges.part(where)))


class _HalvingCode:
    def __init__(self, edges: Edges) -> None:
        self._edges = edges
        self._digits = range((edges.levels - 1).bit_length() - 1, -1, -1)

    def push(self, stack: Stack, symbols: Symbols) -> None:
        halves = _Halves(self._edges)
        decisions: list[tuple[Symbols, Floats]] = []
        for digit in self._digits:
            upper = (symbols >> digit) & 1
            decisions.append((upper, halves.masses(digit)))
            halves.choose(upper, digit)
        for upper, masses in reversed(decisions):
            stack.push(upper, DECISIONS, masses)

    def pop(self, stack: Stack) -> Symbols:
        halves = _Halves(self._edges)
        for digit in self._digits:
            masses = halves.masses(digit)
            halves.choose(stack.pop(len(masses), DECISIONS, masses), digit)
            halves.check()
        return halves.first.astype(np.int32)


class _Halves:
    """The levels that each element can still have, and the masses to either side of their middle."""

    def __init__(self, edges: Edges) -> None:
        self._edges = edges
        self._uneven = edges.levels & (edges.levels - 1) != 0
        self.first = np.zeros(len(edges), dtype=np.int64)
        self._below = np.zeros(len(edges))
        self._above = np.full(len(edges), edges.total)

    def masses(self, digit: int) -> Floats:
        """Of the lower and the upper half, (M, 2)."""
        self._middle = self._edges.below(self.first + (1 << digit))
        masses = np.empty((len(self._middle), 2))
        np.subtract(self._middle, self._below, out=masses[:, 0])
        np.subtract(self._above, self._middle, out=masses[:, 1])
        return masses

    def choose(self, upper: Symbols, digit: int) -> None:
        chosen = upper.astype(bool)
        np.copyto(self._below, self._middle, where=chosen)
        np.copyto(self._above, self._middle, where=~chosen)
        self.first += upper.astype(np.int64) << digit

    def check(self) -> None:
        """Beyond the last level there is no mass, but the coder gives every symbol some."""
        if self._uneven and len(self.first) and self.first.max() >= self._edges.levels:
            raise CodecError("the coded data holds a level that does not exist: the file is damaged or was altered")

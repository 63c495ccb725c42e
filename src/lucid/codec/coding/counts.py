"""Counts 0, 1, 2, …: a window of cells where most of the mass lies, octaves beyond, and halves inside a cell."""

from __future__ import annotations

import numpy as np

from lucid.codec.coding.bits import DECISIONS
from lucid.codec.coding.categorical import RowCode
from lucid.codec.coding.code import Code, PartedCode
from lucid.codec.coding.count_masses import CountMasses
from lucid.codec.coding.exact import Flags, Floats, Ints, exp
from lucid.codec.coding.stack import Stack, Symbols
from lucid.codec.errors import CodecError

__all__ = ["MOST_COUNT", "counts_code", "zero_inflated_code"]

MOST_COUNT = 2**31 - 1
"""The greatest count a file can hold."""
_CELLS = 64
_OCTAVES = 26
_FLOOR = 2.0**-20
"""Mass that leaving the window has at least."""
_TINY = 1e-300
_PART = 1 << 11
# Four points and weights of Gauss and Legendre's quadrature on [0, 1].
_POINTS = np.array([0.06943184420297371, 0.33000947820757187, 0.6699905217924281, 0.9305681557970262])
_WEIGHTS = np.array([0.17392742256872692, 0.32607257743127307, 0.32607257743127307, 0.17392742256872692])


def counts_code(masses: CountMasses, least: int = 0) -> Code:
    """The code of counts of at least `least`."""
    return PartedCode(len(masses), _PART, lambda where: _CountsCode(masses.select(where), least))


def zero_inflated_code(logits: Floats, masses: CountMasses) -> Code:
    """The code of counts with extra zeros: first whether it is 0, then which other.

    Args:
        logits: Log-odds of an extra zero, (M,).
        masses: Of the counts that are no extra zeros.
    """
    return PartedCode(len(masses), _PART, lambda where: _ZeroInflatedCode(logits[where], masses.select(where)))


def _above_zero(masses: CountMasses) -> Floats:
    """The mass of all counts but 0: 1 − e^−t, which for small t would lose its digits."""
    t = masses.zero_cost()
    return np.where(t < 1e-5, t - 0.5 * t * t, 1.0 - exp(-t))


class _ZeroInflatedCode:
    def __init__(self, logits: Floats, masses: CountMasses) -> None:
        self._inner = masses
        # Without the factor 1/(1 + odds) that both have.
        odds = exp(np.clip(logits, -60.0, 60.0))
        self._rows = np.stack([odds + exp(-masses.zero_cost()), _above_zero(masses)], axis=-1)

    def push(self, stack: Stack, symbols: Symbols) -> None:
        positive = symbols > 0
        counts_code(self._inner.select(positive), least=1).push(stack, symbols[positive])
        stack.push(positive.astype(np.int32), DECISIONS, self._rows)

    def pop(self, stack: Stack) -> Symbols:
        symbols = stack.pop(len(self._rows), DECISIONS, self._rows)
        positive = symbols > 0
        if positive.any():
            symbols[positive] = counts_code(self._inner.select(positive), least=1).pop(stack)
        return symbols


class _CountsCode:
    """Three stages: the cell in a window around the mean, or that it lies outside; then the octave; then halves.

    A cell holds 2^w counts, w so that the window of 64 cells reaches over twelve standard deviations; where the mass
    falls steeply from 0 (a negative binomial of low concentration) the cells hold one count each. Beyond the window lie
    octaves, each as wide as all before it, the window counted as the first.
    """

    def __init__(self, masses: CountMasses, least: int) -> None:
        self._masses = masses
        self._least = least
        # 2^w ≥ 0.19 standard deviations.
        _, power = np.frexp(0.19 * masses.std)
        self._power = np.where(masses.bell, np.clip(power, 0, 24), 0).astype(np.int64)
        half = _CELLS // 2
        first = np.floor(np.minimum(masses.mean, float(MOST_COUNT))) - (half << self._power)
        self._first = np.where(masses.bell, np.maximum(first, least), least).astype(np.int64)
        self._reach = np.left_shift(_CELLS, self._power)

    def push(self, stack: Stack, symbols: Symbols) -> None:
        count = symbols.astype(np.int64)
        cell = np.clip((count - self._first) >> self._power, -1, _CELLS)
        start = self._first + (cell << self._power)
        digits = self._power.copy()
        outside = (cell < 0) | (cell >= _CELLS)
        octave = self._octave_of(count[outside], outside, cell)
        start[outside], digits[outside] = self._octave(octave, outside, cell)
        self._push_halves(stack, count - start, start, digits)
        if outside.any():
            self._octaves_code(outside, cell).push(stack, octave.astype(np.int32))
        self._window_code().push(stack, (cell + 1).astype(np.int32))

    def pop(self, stack: Stack) -> Symbols:
        cell = self._window_code().pop(stack).astype(np.int64) - 1
        start = self._first + (cell << self._power)
        digits = self._power.copy()
        outside = (cell < 0) | (cell >= _CELLS)
        if outside.any():
            octave = self._octaves_code(outside, cell).pop(stack).astype(np.int64)
            start[outside], digits[outside] = self._octave(octave, outside, cell)
        count = start + self._pop_halves(stack, start, digits)
        if len(count) and not (count.min() >= self._least and count.max() <= MOST_COUNT):
            raise CodecError("the coded data holds a count that does not exist: the file is damaged or was altered")
        return count.astype(np.int32)

    def _window_code(self) -> RowCode:
        """Below the window, its cells, above it."""
        rows = np.empty((len(self._masses), _CELLS + 2))
        single = self._power == 0
        rows[single, 1:-1] = self._masses.select(single).run(self._first[single].astype(np.float64), _CELLS)
        wide = ~single
        if wide.any():
            power = self._power[wide, None]
            start = self._first[wide, None] + (np.arange(_CELLS) << power)
            rows[wide, 1:-1] = self._mass(self._masses.select(wide), start, power)
        inside = np.zeros(len(rows))
        for column in range(1, _CELLS + 1):  # one after the other: another order would round differently
            inside += rows[:, column]
        whole = 1.0 if self._least == 0 else _above_zero(self._masses)
        rows[:, -1] = np.maximum(whole - inside, _FLOOR * whole)
        rows[:, 0] = np.where(self._first > self._least, _FLOOR * whole, 0.0)
        return RowCode(rows)

    def _octave(self, octave: Ints, outside: Flags, cell: Ints) -> tuple[Ints, Ints]:
        """First count, and log2 of the number of counts, of octaves outside the window."""
        reach, first = self._reach[outside], self._first[outside]
        low = cell[outside] < 0
        start = np.where(low, first - reach * ((2 << octave) - 1), first + (reach << octave))
        return start, self._power[outside] + octave + _CELLS.bit_length() - 1

    def _octave_of(self, count: Ints, outside: Flags, cell: Ints) -> Ints:
        """The octave of each count outside the window."""
        reach, first = self._reach[outside], self._first[outside]
        low = cell[outside] < 0
        # In units of the window, with 1 at its nearer end.
        distance = np.where(low, (first - count - 1) // reach + 1, (count - first) // reach)
        return np.frexp(distance.astype(np.float64))[1].astype(np.int64) - 1

    def _octaves_code(self, outside: Flags, cell: Ints) -> RowCode:
        masses = self._masses.select(outside)
        rows = np.empty((len(masses), _OCTAVES))
        for octave in range(_OCTAVES):
            start, digits = self._octave(np.full(len(masses), octave), outside, cell)
            rows[:, octave] = self._mass(masses, start[:, None], digits[:, None])[:, 0]
        rows += _TINY
        return RowCode(rows)

    def _push_halves(self, stack: Stack, offset: Ints, start: Ints, digits: Ints) -> None:
        decisions: list[tuple[Symbols, Floats]] = []
        for digit in range(int(digits.max(initial=0)) - 1, -1, -1):
            open_ = digits > digit
            upper = (offset[open_] >> digit) & 1
            first = start[open_] + (offset[open_] >> (digit + 1) << (digit + 1))
            decisions.append((upper.astype(np.int32), self._halves(open_, first, digit)))
        for upper, rows in reversed(decisions):
            stack.push(upper, DECISIONS, rows)

    def _pop_halves(self, stack: Stack, start: Ints, digits: Ints) -> Ints:
        offset = np.zeros_like(start)
        for digit in range(int(digits.max(initial=0)) - 1, -1, -1):
            open_ = digits > digit
            rows = self._halves(open_, start[open_] + offset[open_], digit)
            offset[open_] += stack.pop(len(rows), DECISIONS, rows).astype(np.int64) << digit
        return offset

    def _halves(self, chosen: Flags, first: Ints, digit: int) -> Floats:
        """Masses of the 2^digit counts from `first`, and of as many after them, (M, 2)."""
        start = np.stack([first, first + (1 << digit)], axis=-1)
        rows = self._mass(self._masses.select(chosen), start, np.full((1, 1), digit))
        rows += _TINY
        return rows

    def _mass(self, masses: CountMasses, start: Ints, digits: Ints) -> Floats:
        """Mass of the 2^digits counts from `start`, (M, n): up to four by a sum, more by quadrature."""
        total = np.zeros(start.shape)
        width = np.ldexp(1.0, digits)
        # A sum has as many terms as counts.
        for number in range(min(4, int(width.max(initial=1.0)))):
            summed = np.where(number < width, 1.0, 0.0)
            weight = np.where(width <= 4, summed, width * _WEIGHTS[number])
            at = start + np.where(width <= 4, float(number), width * _POINTS[number] - 0.5)
            inside = at >= self._least - 0.5
            total += np.where(inside, weight * masses.at(np.where(inside, np.maximum(at, 0.0), 0.0)), 0.0)
        return total

"""Masses of counts in operations that round alike everywhere."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from lucid.codec.coding.exact import Floats, exp, log

__all__ = ["CountMasses", "NegativeBinomialMasses", "PoissonMasses", "log_gamma"]

_HALF_LOG_2PI = float.fromhex("0x1.d67f1c864beb5p-1")
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680)
_LEAST = 8.0


def log_gamma(x: Floats) -> Floats:
    r"""log Γ(x) for x > 0, to 10⁻¹⁰ and the rounding of its own size, by Stirling's series.

    Below 8 by way of :math:`\Gamma(x) = \Gamma(x + 8) / (x (x+1) \cdots (x+7))`.
    """
    small = x < _LEAST
    y = np.where(small, x + _LEAST, x)
    product = np.ones_like(y)
    for shift in range(int(_LEAST)):
        product = product * np.where(small, x + shift, 1.0)
    inverse = 1.0 / y
    square = inverse * inverse
    series = np.zeros_like(y)
    for coefficient in reversed(_STIRLING):
        series = series * square + coefficient
    return (y - 0.5) * log(y) - y + _HALF_LOG_2PI + series * inverse - log(product)


class CountMasses(ABC):
    """Distributions of counts, one for each of M elements.

    Attributes:
        mean: (M,).
        std: Standard deviations, (M,).
        bell: Whether the mass rises to a mode, rather than falling from 0; (M,).
    """

    mean: Floats
    std: Floats
    bell: np.ndarray

    @abstractmethod
    def at(self, count: Floats) -> Floats:
        """Masses at counts ≥ 0, (M, n), or between them, where the formula goes on."""

    @abstractmethod
    def ratio(self, count: Floats) -> Floats:
        """Mass of count + 1 over that of `count`, (M,) for (M,)."""

    def run(self, first: Floats, length: int) -> Floats:
        """Masses of `length` counts from `first`, (M,), on; (M, length). One is computed, the others follow from it."""
        masses = np.empty((len(first), length))
        masses[:, :1] = self.at(first[:, None])
        for step in range(1, length):
            np.multiply(masses[:, step - 1], self.ratio(first + (step - 1.0)), out=masses[:, step])
        return masses

    @abstractmethod
    def zero_cost(self) -> Floats:
        """Minus the log of the mass of 0, (M,), ≥ 0."""

    @abstractmethod
    def select(self, where: np.ndarray | slice) -> CountMasses:
        """Of some elements."""

    @abstractmethod
    def __len__(self) -> int:
        """M."""


class PoissonMasses(CountMasses):
    """Poisson.

    Args:
        log_rate: Log of the mean, (M,).
    """

    def __init__(self, log_rate: Floats) -> None:
        self._log_rate = np.clip(log_rate, -30.0, 30.0)
        self.mean = exp(self._log_rate)
        self.std = np.sqrt(self.mean)
        self.bell = self.mean >= 1.0

    def __len__(self) -> int:
        return len(self.mean)

    def select(self, where: np.ndarray | slice) -> PoissonMasses:
        return PoissonMasses(self._log_rate[where])

    def at(self, count: Floats) -> Floats:
        return exp(count * self._log_rate[:, None] - self.mean[:, None] - log_gamma(count + 1.0))

    def ratio(self, count: Floats) -> Floats:
        return self.mean / (count + 1.0)

    def zero_cost(self) -> Floats:
        return self.mean


class NegativeBinomialMasses(CountMasses):
    """Negative binomial, of variance μ + μ²/r.

    Args:
        log_mean: log μ, (M,).
        log_concentration: log r, (M,).
    """

    def __init__(self, log_mean: Floats, log_concentration: Floats) -> None:
        self._log_mean = np.clip(log_mean, -30.0, 30.0)
        self._log_concentration = np.clip(log_concentration, -30.0, 30.0)
        self.mean, self._concentration = exp(self._log_mean), exp(self._log_concentration)
        self.std = np.sqrt(self.mean + self.mean * self.mean / self._concentration)
        self.bell = (self._concentration >= 1.0) & (self.mean >= 1.0)
        log_total = log(self.mean + self._concentration)
        # Where one of the two is far the smaller, the difference of the logarithms has lost its digits.
        ratio = self.mean / self._concentration
        self._fail = np.where(ratio < 1e-4, ratio - 0.5 * ratio * ratio, log_total - self._log_concentration)
        self._success = log_total - self._log_mean

    def __len__(self) -> int:
        return len(self.mean)

    def select(self, where: np.ndarray | slice) -> NegativeBinomialMasses:
        return NegativeBinomialMasses(self._log_mean[where], self._log_concentration[where])

    def at(self, count: Floats) -> Floats:
        r = self._concentration[:, None]
        ways = log_gamma(count + r) - log_gamma(r) - log_gamma(count + 1.0)
        return exp(ways - self.zero_cost()[:, None] - count * self._success[:, None])

    def ratio(self, count: Floats) -> Floats:
        share = self.mean / (self.mean + self._concentration)
        return (count + self._concentration) / (count + 1.0) * share

    def zero_cost(self) -> Floats:
        return self._concentration * self._fail

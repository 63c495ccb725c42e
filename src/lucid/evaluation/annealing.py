"""How chains are annealed from a density one can draw from to the posterior: the settings of `annealed`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lucid.evaluation.paths import Start

__all__ = ["Annealing"]


@dataclass(frozen=True)
class Annealing:
    """How chains are annealed.

    Args:
        num_steps: Steps of β from 0 to 1, T; the first and last are the smallest (a sigmoid over ±4, as Wu et al.).
        num_chains: Chains of each example, K.
        leapfrogs: Leapfrog steps of each transition; there is one transition between two steps of β.
        start: What chains begin at: the prior, which owes nothing to the encoder, or the approximate posterior, from
            which the way is shorter where the encoder is good.
        max_rows: Chains × examples that go through the networks at once, which bounds the memory; examples that go
            together share a stream of random numbers.
        seed: Of all draws.

    Raises:
        TypeError: If a number is not an int.
        ValueError: If one is out of range.
    """

    num_steps: int = 500
    num_chains: int = 16
    leapfrogs: int = 5
    start: Start = "prior"
    max_rows: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("num_steps", 2), ("num_chains", 1), ("leapfrogs", 1), ("max_rows", 1), ("seed", None)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be an int; received {value!r}")
            if least is not None and value < least:
                raise ValueError(f"{name} must be at least {least}; received {value}")
        if self.start not in ("prior", "posterior"):
            raise ValueError(f"start must be 'prior' or 'posterior'; received {self.start!r}")

    @property
    def betas(self) -> list[float]:
        """The T + 1 values of β, from 0 to 1."""
        raw = [1 / (1 + math.exp(-4 * (2 * t / self.num_steps - 1))) for t in range(self.num_steps + 1)]
        low, high = raw[0], raw[-1]
        return [0.0, *((b - low) / (high - low) for b in raw[1:-1]), 1.0]

    def describe(self) -> str:
        """In a few words."""
        return (
            f"AIS, {self.num_chains} chains from the {self.start}, {self.num_steps:,} steps of β, HMC of "
            f"{self.leapfrogs} leapfrog steps"
        )

"""β schedules: small frozen objects, plain callables `step -> β`, saved with the model that trains under them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from lucid.io import register

__all__ = ["Constant", "Cosine", "Cyclical", "Linear", "Schedule", "Sigmoid"]


class Schedule(ABC):
    """A function of the training step that knows when it is complete.

    Any function `step -> float` may stand in its place; only a `Schedule` can be saved with a model, and can tell
    that a run ended before it did.
    """

    @abstractmethod
    def __call__(self, step: int) -> float:
        """β at a training step, counted from 0."""

    @property
    @abstractmethod
    def num_steps(self) -> int:
        """The step from which the schedule has done what it set out to do."""


@register
@dataclass(frozen=True)
class Constant(Schedule):
    """β(t) = beta.

    Args:
        beta: The value; non-negative, finite.
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        _check_betas(beta=self.beta)

    def __call__(self, step: int) -> float:
        return self.beta

    @property
    def num_steps(self) -> int:
        return 0


@dataclass(frozen=True)
class _Ramp(Schedule):
    """`start` for `hold` training steps, from there to `end` in `steps` more, then constant."""

    steps: int
    start: float = 0.0
    end: float = 1.0
    hold: int = 0

    def __post_init__(self) -> None:
        _check_steps(self.steps)
        _check_betas(start=self.start, end=self.end)
        if isinstance(self.hold, bool) or not isinstance(self.hold, int) or self.hold < 0:
            raise ValueError(f"hold must be a non-negative number of training steps; received {self.hold!r}")

    def __call__(self, step: int) -> float:
        if step >= self.num_steps:
            return self.end
        return self.start + (self.end - self.start) * self._fraction(max(0, step - self.hold) / self.steps)

    @abstractmethod
    def _fraction(self, progress: float) -> float:
        """How far the ramp is, 0 … 1, when `progress` (0 ≤ progress < 1) of its steps have passed."""

    @property
    def num_steps(self) -> int:
        return self.hold + self.steps


@register
@dataclass(frozen=True)
class Linear(_Ramp):
    r"""A straight warm-up, β(t) = start + (end − start) · (t − hold) / steps, then end.

    Bowman et al.: Generating Sentences from a Continuous Space, 2015, https://arxiv.org/abs/1511.06349.

    Args:
        steps: Training steps of the ramp; positive.
        start: β at step 0.
        end: β from step `hold + steps` on.
        hold: Steps to stay at `start` first: deep chains of latents need some to find a use for them.

    Example:
        >>> [Linear(steps=4)(step) for step in (0, 1, 4, 9)]
        [0.0, 0.25, 1.0, 1.0]
    """

    def _fraction(self, progress: float) -> float:
        return progress


@register
@dataclass(frozen=True)
class Cosine(_Ramp):
    """A warm-up that starts and ends gently, with fraction (1 − cos πt/steps) / 2. Arguments as for `Linear`."""

    def _fraction(self, progress: float) -> float:
        return 0.5 - 0.5 * math.cos(math.pi * progress)


@register
@dataclass(frozen=True)
class Sigmoid(_Ramp):
    """A warm-up along a logistic curve, scaled to begin exactly at `start` and end exactly at `end`.

    Args:
        steps: Training steps of the ramp; positive.
        start: β at step 0.
        end: β from step `hold + steps` on.
        hold: Steps to stay at `start` first.
        sharpness: Slope of the logistic at its middle, in ramps; positive. Large values approach a jump at steps / 2.
    """

    sharpness: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.sharpness < math.inf:
            raise ValueError(f"sharpness must be positive and finite; received {self.sharpness}")

    def _fraction(self, progress: float) -> float:
        reach = math.tanh(self.sharpness / 4)
        return 0.5 + 0.5 * math.tanh(self.sharpness * (progress - 0.5) / 2) / reach


@register
@dataclass(frozen=True)
class Cyclical(Schedule):
    """Repeated warm-ups: each cycle ramps from start to end, then stays until the next begins; after the last, end.

    Fu et al.: Cyclical Annealing Schedule: A Simple Approach to Mitigating KL Vanishing, 2019,
    https://arxiv.org/abs/1903.10145.

    Args:
        steps: Training steps of all cycles together; at least `cycles`.
        cycles: Number of cycles; positive.
        ramp: Fraction of a cycle spent ramping, in (0, 1].
        start: β at the start of each cycle.
        end: β at the end of each ramp.

    Example:
        >>> schedule = Cyclical(steps=8, cycles=2)
        >>> [schedule(step) for step in range(9)]
        [0.0, 0.5, 1.0, 1.0, 0.0, 0.5, 1.0, 1.0, 1.0]
    """

    steps: int
    cycles: int = 4
    ramp: float = 0.5
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        _check_steps(self.steps)
        _check_betas(start=self.start, end=self.end)
        if self.cycles < 1 or self.steps < self.cycles:
            raise ValueError(f"cycles must be positive and at most steps; received {self.cycles} in {self.steps} steps")
        if not 0 < self.ramp <= 1:
            raise ValueError(f"ramp must be a fraction in (0, 1]; received {self.ramp}")

    def __call__(self, step: int) -> float:
        if step >= self.steps:
            return self.end
        in_cycle = (step * self.cycles / self.steps) % 1.0
        return self.start + (self.end - self.start) * min(1.0, in_cycle / self.ramp)

    @property
    def num_steps(self) -> int:
        return self.steps


def _check_steps(steps: int) -> None:
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be a positive number of training steps; received {steps!r}")


def _check_betas(**betas: float) -> None:
    for name, beta in betas.items():
        if not 0 <= beta < math.inf:
            raise ValueError(f"{name} must be non-negative and finite; received {beta}")

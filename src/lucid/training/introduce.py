"""An objective under another schedule of β: what a trial changes about a run, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from lucid.distributions import Stream
from lucid.models import Record, Walk
from lucid.objectives import ELBO, Linear, Objective, Terms, record_of

__all__ = ["Rescheduled", "final_beta", "introduction", "level_weight", "squeezed"]


class Rescheduled(nn.Module):
    """An objective under another schedule; all else, and what state it has, is its own.

    Args:
        objective: What is minimised.
        schedule: What `objective.beta` would say at each training step of the trial.

    Example:
        >>> from lucid.objectives import ELBO, Linear
        >>> [Rescheduled(ELBO(4.0), Linear(steps=4)).beta(step) for step in (0, 2, 9)]
        [0.0, 0.5, 1.0]
    """

    def __init__(self, objective: Objective, schedule: Callable[[int], float]) -> None:
        super().__init__()
        self.objective = objective
        self.schedule = schedule

    def beta(self, step: int) -> float:
        """β at a training step of the trial."""
        return self.schedule(step)

    def record(self, walk: Walk, stream: Stream) -> Record:
        """The walk, driven as the objective wants it."""
        return record_of(self.objective, walk, stream)

    def forward(self, record: Record, beta: float | Tensor) -> Terms:
        """The objective's own loss, at that β."""
        return self.objective(record, beta)


def final_beta(objective: Objective, total_steps: int) -> float:
    """β at the last step of a run."""
    return objective.beta(max(total_steps - 1, 0))


def level_weight(objective: Objective, beta: float, depth: int) -> float | None:
    """The weight of one level's KL in the plain, β-weighted bound; None for any other objective.

    Args:
        objective: What is minimised.
        beta: Its β.
        depth: Number of levels.

    Example:
        >>> from lucid.objectives import ELBO
        >>> level_weight(ELBO(spread=True), beta=1.0, depth=4)
        0.25
    """
    if type(objective) is not ELBO:
        return None
    return beta / depth if objective.spread else beta


def introduction(steps: int, end: float = 1.0) -> Linear:
    """The schedule that lets the latents in first: a fifth of the steps at β = 0, three tenths rising to `end`.

    Args:
        steps: Training steps of the whole run.
        end: β from then on.

    Example:
        >>> introduction(1000)
        Linear(steps=300, start=0.0, end=1.0, hold=200)
    """
    return Linear(steps=max(1, 3 * steps // 10), hold=max(1, steps // 5), end=end)


def squeezed(objective: Objective, total_steps: int, steps: int) -> Rescheduled:
    """An objective with the whole schedule of a run of `total_steps` in `steps`, if these are fewer."""
    return Rescheduled(objective, _Squeezed(objective, max(1.0, total_steps / steps)))


class _Squeezed:
    """β of a step `factor` times as far into the run."""

    def __init__(self, objective: Objective, factor: float) -> None:
        self.objective, self.factor = objective, factor

    def __repr__(self) -> str:
        return f"{self.factor:.3g} times as fast"

    def __call__(self, step: int) -> float:
        return self.objective.beta(round((step + 1) * self.factor) - 1)

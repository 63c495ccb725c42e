"""Which updates are left out: those that are not finite, and those far longer than the run's typical one."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

__all__ = ["DeviceGuard", "Guard", "HostGuard"]

_MEMORY = 0.98
"""Weight of what was before in the running mean of log-norms: it follows in some fifty steps."""

_COUNTS = ("seen", "skipped", "broken", "streak", "long")

_SETTLING = 20
"""Updates before the typical length is trusted; until then only non-finite ones are left out."""


class Guard:
    r"""Judges each update by the norm of its gradient.

    The typical length is :math:`\exp` of a running mean of log-norms. An update longer than `skip` times that is left
    out, and counts in the mean as one of exactly that length, the more the longer the streak: so if the gradients stay
    long, the mean rises with them, and they are let through again after some ten steps if they are a hundred times as
    long. (A fixed threshold, once crossed for good, would never update again; and while weights stand still, every
    gradient measures the same weights.) A norm that is not finite is left out, and counts nothing.

    Attributes:
        skipped: Updates left out so far.
        broken: Those of them that were not finite.
        streak: Those left out one after another up to now.
    """

    skipped: int
    broken: int
    streak: int

    def read(self) -> None:
        """Bring the counts up to date, where they are kept on a device."""

    def state(self) -> dict[str, Any]:
        """All of it as plain numbers."""
        raise NotImplementedError

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""
        raise NotImplementedError


class HostGuard(Guard):
    """The judge on the host, where reading a number of the device costs nothing or must be done anyway.

    Args:
        skip: Times the typical norm; None leaves out what is not finite only.
    """

    def __init__(self, skip: float | None) -> None:
        self._log_skip = math.inf if skip is None else math.log(skip)
        self._mean = 0.0
        self._seen = 0
        self._long = 0  # a streak of updates that were too long; what is not finite does not interrupt it
        self.skipped = self.broken = self.streak = 0

    def leaves_out(self, norm: float) -> bool:
        """Judge an update by its norm, and remember it."""
        if not math.isfinite(norm):
            self.broken += 1
            return self._count(True)
        log_norm = math.log(max(norm, 1e-30))
        limit = self._mean + self._log_skip
        exceptional = self._seen >= _SETTLING and log_norm > limit
        counted = min(log_norm, limit) if self._seen >= _SETTLING else log_norm
        # The mean of the first fifty is a plain one; in a streak it learns faster from step to step.
        weight = min(1.0, max(1 / (self._seen + 1), (1 - _MEMORY) * (1 + self._long)))
        self._mean += weight * (counted - self._mean)
        self._seen += 1
        self._long = self._long + 1 if exceptional else 0
        return self._count(exceptional)

    def _count(self, left_out: bool) -> bool:
        self.skipped += left_out
        self.streak = self.streak + 1 if left_out else 0
        return left_out

    def state(self) -> dict[str, Any]:
        return {
            "mean": self._mean,
            "seen": self._seen,
            "long": self._long,
            "skipped": self.skipped,
            "broken": self.broken,
            "streak": self.streak,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._mean, self._seen, self._long = float(state["mean"]), int(state["seen"]), int(state["long"])
        self.skipped, self.broken, self.streak = (int(state[name]) for name in ("skipped", "broken", "streak"))


class DeviceGuard(Guard):
    """The same judge in operations of the device: the host learns of it when it asks, and the step never waits.

    Args:
        skip: As for `HostGuard`.
        device: Where gradients are.
    """

    def __init__(self, skip: float | None, device: torch.device) -> None:
        self._log_skip = math.inf if skip is None else math.log(skip)
        self._mean = torch.zeros((), dtype=torch.float64, device=device)
        # seen, skipped, broken, streak, and as for the host the streak of those too long
        self._counts = torch.zeros(5, dtype=torch.int64, device=device)
        self.skipped = self.broken = self.streak = 0

    def leaves_out(self, norm: Tensor) -> Tensor:
        """1 if an update of that norm is left out, else 0, as a float32 scalar on the device."""
        finite = norm.isfinite()
        log_norm = torch.where(finite, norm, 1.0).double().clamp(min=1e-30).log()
        seen = self._counts[0]
        settled = seen >= _SETTLING
        limit = self._mean + self._log_skip
        exceptional = finite & settled & (log_norm > limit)
        counted = torch.where(settled, torch.minimum(log_norm, limit), log_norm)
        hurry = (1 - _MEMORY) * (self._counts[4] + 1).double()
        weight = torch.maximum(1 / (seen + 1).double(), hurry).clamp(max=1)
        self._mean += torch.where(finite, weight * (counted - self._mean), 0.0)
        left_out = ~finite | exceptional
        streak = torch.where(left_out, self._counts[3] + 1, 0)
        long = torch.where(exceptional, self._counts[4] + 1, torch.where(finite, 0, self._counts[4]))
        nothing = torch.zeros_like(finite)
        self._counts += torch.stack([finite, left_out, ~finite, nothing, nothing]).long()
        self._counts[3:] = torch.stack([streak, long])
        return left_out.float()

    def read(self) -> None:
        _, self.skipped, self.broken, self.streak, _ = (int(n) for n in self._counts.tolist())

    def state(self) -> dict[str, Any]:
        counts = dict(zip(_COUNTS, (int(n) for n in self._counts.tolist()), strict=True))
        return {"mean": float(self._mean), **counts}

    def restore(self, state: dict[str, Any]) -> None:
        # In place: a captured step holds these very tensors.
        self._mean.fill_(float(state["mean"]))
        self._counts.copy_(torch.tensor([int(state[name]) for name in _COUNTS]))
        self.read()

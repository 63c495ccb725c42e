"""Since when a level has been collapsed, read from metrics.jsonl."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lucid.evaluation import COLLAPSED_BELOW, LevelUse, Use
from lucid.report.diagnosis import Since

__all__ = ["since_when"]


def since_when(metrics: Sequence[Mapping[str, Any]], use: Use) -> tuple[Since | None, ...]:
    """For each level, since when it has been collapsed; None for a level that is not.

    Args:
        metrics: The lines of metrics.jsonl. Those of the validation part are read, or, without one, those of training.
        use: What each level is good for now.
    """
    validation = [line for line in metrics if line.get("split") == "validation"]
    lines = validation or [line for line in metrics if line.get("split") == "train"]
    return tuple(
        _since(lines, level, of_level) if of_level.collapsed else None for level, of_level in enumerate(use.levels)
    )


def _since(lines: Sequence[Mapping[str, Any]], level: int, use: LevelUse) -> Since:
    states = [_collapsed(line, level, use) for line in lines]
    first = len(states)
    while first > 0 and states[first - 1]:
        first -= 1
    step = int(lines[first]["step"]) if first < len(states) else None
    return Since(step, any(state is False for state in states))


def _collapsed(line: Mapping[str, Any], level: int, use: LevelUse) -> bool | None:
    """Whether a line shows the level collapsed; None where it cannot tell."""
    active = line.get("active_units")
    if active is not None and level < len(active) and active[level] == 0:
        return True
    if not use.is_divergence:
        return None if active is None or level >= len(active) else False
    kl = line["kl"][level] if level < len(line["kl"]) else None
    # A level whose KL is paid without being of use shows as alive here: only the model itself tells.
    return None if kl is None else kl < COLLAPSED_BELOW

"""What training curves share: a line over the steps, the ring at the kept model, and limits worth looking at."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lucid.report.drawing import ACCENT, INK, SOFT, short_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["STYLES", "Metrics", "draw_line", "draw_ring", "number", "set_frame"]

Metrics = Sequence[Mapping[str, Any]]
"""Lines of metrics.jsonl."""

STYLES = {"train": (SOFT, 1.5, "training"), "validation": (ACCENT, 2.0, "validation")}


def number(value: float | None) -> float:
    """A number of metrics.jsonl, where null stands for one that was not finite."""
    return math.nan if value is None else value


def draw_line(
    axes: Axes, steps: Sequence[int], values: Sequence[float], colour: str, width: float, alpha: float = 1.0
) -> None:
    """A curve; of so few points that it could not be seen, the points too."""
    marker = "o" if len(values) < 3 else None
    axes.plot(steps, values, color=colour, linewidth=width, marker=marker, markersize=5, alpha=alpha)


def draw_ring(axes: Axes, kept: Mapping[str, Any] | None, value: Callable[[Mapping[str, Any]], float]) -> None:
    """A ring at the model that was kept."""
    if kept is not None:
        axes.plot(
            [kept["step"]], [value(kept)], "o", markersize=9, markerfacecolor="none", markeredgecolor=INK, zorder=5
        )


def set_frame(axes: Axes, shown: Sequence[Sequence[float]], metrics: Metrics) -> None:
    """Limits that the first, steepest steps do not decide, and steps written short."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    settled = [v for values in shown for v in values[len(values) // 20 :] if math.isfinite(v)]
    if settled:
        low, high = min(settled), max(settled)
        pad = 0.06 * (high - low) or 0.05 * max(1.0, abs(high))
        axes.set_ylim(low - pad, high + pad)
    steps = [line["step"] for line in metrics]
    if steps and max(steps) > min(steps):
        axes.set_xlim(0, max(steps) * 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(short_number))
    axes.set_xlabel("step", loc="right", labelpad=2)

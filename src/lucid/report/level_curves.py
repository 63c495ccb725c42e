"""Level by level over the steps: the KL, and how many units are active. Here a collapse is seen as it happens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lucid.report.curve_drawing import STYLES, Metrics, draw_line, draw_ring, number, set_frame
from lucid.report.drawing import ACCENT, CATEGORIES, SOFT, css, draw
from lucid.report.markup import Html, chips, element, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["kl_panel", "units_panel"]


def kl_panel(metrics: Metrics, kept: Mapping[str, Any] | None) -> Html:
    """The KL of each level, of the validation part where there is one.

    Args:
        metrics: Lines of metrics.jsonl.
        kept: The line of the model that was kept.
    """
    depth = max((len(line["kl"]) for line in metrics), default=1)
    split = "validation" if any(line["split"] == "validation" for line in metrics) else "train"
    lines = [line for line in metrics if line["split"] == split]
    train = [line for line in metrics if line["split"] == "train"]

    def paint(axes: Axes) -> None:
        shown: list[list[float]] = []
        for level in range(depth):
            if depth == 1 and split == "validation" and train:
                shown.append([number(entry["kl"][0]) for entry in train])
                draw_line(axes, [entry["step"] for entry in train], shown[-1], SOFT, 1.5)
            shown.append([number(entry["kl"][level]) for entry in lines])
            draw_line(axes, [entry["step"] for entry in lines], shown[-1], *_stroke(level, depth))
        if depth == 1:
            draw_ring(axes, kept, lambda entry: entry["kl"][0])
        set_frame(axes, shown, metrics)

    title = "KL, nats" if depth == 1 else f"KL of each level, nats ({STYLES[split][2]})"
    drawing = draw("curve-kl", paint, f"{title}, over training steps")
    return figure(title, drawing if depth == 1 else _with_legend(drawing, [f"level {i}" for i in range(depth)]))


def units_panel(metrics: Metrics) -> Html | None:
    """The active units of each level at each validation; None where they were not counted."""
    lines = [line for line in metrics if "active_units" in line]
    if not lines:
        return None
    totals: list[int] = lines[-1]["latent_units"]
    depth = len(totals)

    def paint(axes: Axes) -> None:
        for level in range(depth):
            active = [entry["active_units"][level] for entry in lines]
            draw_line(axes, [entry["step"] for entry in lines], active, *_stroke(level, depth))
        set_frame(axes, [], metrics)
        axes.set_ylim(-0.04 * max(totals), 1.08 * max(totals))

    title = f"Active units, of {totals[0]}" if depth == 1 else "Active units of each level (validation)"
    drawing = draw("curve-units", paint, f"{title}, over training steps")
    names = [f"level {i}, of {total}" for i, total in enumerate(totals)]
    return figure(title, drawing if depth == 1 else _with_legend(drawing, names))


def _stroke(level: int, depth: int) -> tuple[str, float, float]:
    """Colour, width and opacity of a level's line: more levels than there are colours go from pale to strong."""
    if depth == 1:
        return ACCENT, 2.0, 1.0
    if depth <= len(CATEGORIES):
        return CATEGORIES[level], 2.0, 1.0
    return ACCENT, 1.2, 0.15 + 0.85 * level / (depth - 1)


def _with_legend(drawing: Html, names: list[str]) -> Html:
    if len(names) > len(CATEGORIES):
        legend = element("p", f"From pale, {names[0]}, to strong, {names[-1]}, the deepest.", class_="reading")
    else:
        legend = chips([(css(colour), name) for colour, name in zip(CATEGORIES, names, strict=False)])
    return element("div", drawing, legend, class_="stack")

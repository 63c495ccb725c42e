"""Training curves: the bound, its two halves, and what was minimised, in training and in validation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lucid.report.drawing import ACCENT, CATEGORIES, INK, SOFT, css, draw, short_number
from lucid.report.markup import Html, chips, element, figure, minus, panels
from lucid.report.page import Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Metrics", "kept_line", "training_section"]

Metrics = Sequence[Mapping[str, Any]]
_STYLES = {"train": (SOFT, 1.5, "training"), "validation": (ACCENT, 2.0, "validation")}


def training_section(metrics: Metrics, figures: Mapping[str, Any]) -> Section:
    """The section on training.

    Args:
        metrics: The lines of metrics.jsonl.
        figures: Saved with the model; its "step" says where it was kept.
    """
    kept = kept_line(metrics, figures)
    drawn = [
        _panel("elbo", "ELBO, nats", metrics, kept, lambda line: line["elbo"]),
        _panel(
            "reconstruction", "Reconstruction, −log p(x|z), nats", metrics, kept, lambda line: line["reconstruction"]
        ),
        _kl_panel(metrics, kept),
    ]
    weighted = _is_weighted(metrics)
    if weighted:
        drawn.append(_panel("loss", "Loss, nats", metrics, kept, lambda line: line["loss"]))
        drawn.append(_beta_panel(metrics))
    legend = chips([(css(colour), name) for colour, _, name in (_STYLES["train"], _STYLES["validation"])])
    reading = (
        "The ELBO is a lower bound on log p(x), in nats per example, and should rise. Reconstruction and KL are its "
        "two halves: ELBO = −reconstruction − KL. Where validation turns while training goes on, the model has begun "
        "to memorise."
    )
    content = element("div", legend, panels(*drawn, _summary(metrics, kept, weighted)), class_="stack")
    return Section("training", "Training", reading, content)


def kept_line(metrics: Metrics, figures: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The validation line of the model that was kept.

    It is the one at the step its figures name; without that, the one of least loss at the last line's weight of the KL,
    since losses at different weights cannot be compared.
    """
    lines = [line for line in metrics if line["split"] == "validation" and _is_finite(line)]
    if "step" in figures:
        return next((line for line in lines if line["step"] == figures["step"]), None)
    if not lines:
        return None
    total = sum(lines[-1]["kl"])
    weight = (lines[-1]["loss"] - lines[-1]["reconstruction"]) / total if total else 1.0
    return min(lines, key=lambda line: line["reconstruction"] + weight * sum(line["kl"]))


def _is_finite(line: Mapping[str, Any]) -> bool:
    return all(math.isfinite(_number(n)) for n in (line["loss"], line["reconstruction"], *line["kl"]))


def _number(value: float | None) -> float:
    """A number of metrics.jsonl, where null stands for one that was not finite."""
    return math.nan if value is None else value


def _summary(metrics: Metrics, kept: Mapping[str, Any] | None, weighted: bool) -> Html:
    sentences: list[str] = []
    if kept is not None:
        sentences.append(
            f"The ring marks the model of this page: step {kept['step']:,}, with a validation loss of "
            f"{kept['loss']:,.2f} nats and an ELBO of {kept['elbo']:,.2f}."
        )
    betas = [line["beta"] for line in metrics if line["split"] == "train"]
    if not weighted:
        sentences.append("The KL had its full weight, so the loss is exactly −ELBO.")
    elif betas and max(betas) > min(betas):
        sentences.append(
            f"β went from {betas[0]:.3g} to {betas[-1]:.3g}: losses at different β are different quantities; compare "
            "by the ELBO."
        )
    else:
        sentences.append("The KL was weighted, so the loss is not −ELBO; compare by the ELBO.")
    skipped = metrics[-1].get("skipped", 0) if metrics else 0
    if skipped:
        sentences.append(
            f"{skipped:,} of {metrics[-1]['step']:,} updates were left out: their gradient was not finite, or far "
            "longer than is typical of the run."
        )
    if len(metrics) > 20:
        sentences.append("The axes leave out the first, steepest steps.")
    return element("p", minus(" ".join(sentences)), class_="reading")


def _is_weighted(metrics: Metrics) -> bool:
    """Whether the loss was anything but −ELBO."""
    finite = [line for line in metrics if _is_finite(line)]
    return any(abs(line["loss"] + line["elbo"]) > 1e-3 * (1 + abs(line["elbo"])) for line in finite)


def _panel(
    name: str,
    title: str,
    metrics: Metrics,
    kept: Mapping[str, Any] | None,
    value: Callable[[Mapping[str, Any]], float],
) -> Html:
    def paint(axes: Axes) -> None:
        shown: list[list[float]] = []
        for split in ("train", "validation"):
            colour, width, _ = _STYLES[split]
            lines = [line for line in metrics if line["split"] == split]
            if lines:
                shown.append([_number(value(line)) for line in lines])
                _line(axes, [line["step"] for line in lines], shown[-1], colour, width)
        _ring(axes, kept, value)
        _frame(axes, shown, metrics)

    return figure(title, draw(f"curve-{name}", paint, f"{title}, over training steps"))


def _ring(axes: Axes, kept: Mapping[str, Any] | None, value: Callable[[Mapping[str, Any]], float]) -> None:
    if kept is not None:
        axes.plot(
            [kept["step"]], [value(kept)], "o", markersize=9, markerfacecolor="none", markeredgecolor=INK, zorder=5
        )


def _beta_panel(metrics: Metrics) -> Html:
    lines = [line for line in metrics if line["split"] == "train"] or metrics

    def paint(axes: Axes) -> None:
        betas = [line["beta"] for line in lines]
        _line(axes, [line["step"] for line in lines], betas, INK, 1.8)
        _frame(axes, [], metrics)
        axes.set_ylim(0, 1.08 * max(betas) or 1.0)

    return figure("β, the weight of the KL", draw("curve-beta", paint, "β over training steps"))


def _kl_panel(metrics: Metrics, kept: Mapping[str, Any] | None) -> Html:
    depth = max((len(line["kl"]) for line in metrics), default=1)
    split = "validation" if any(line["split"] == "validation" for line in metrics) else "train"
    lines = [line for line in metrics if line["split"] == split]
    train = [line for line in metrics if line["split"] == "train"]

    def paint(axes: Axes) -> None:
        shown: list[list[float]] = []
        for level in range(depth):
            colour = ACCENT if depth == 1 else CATEGORIES[level % len(CATEGORIES)]
            if depth == 1 and split == "validation" and train:
                shown.append([_number(line["kl"][0]) for line in train])
                _line(axes, [line["step"] for line in train], shown[-1], SOFT, 1.5)
            shown.append([_number(line["kl"][level]) for line in lines])
            _line(axes, [line["step"] for line in lines], shown[-1], colour, 2.0)
        if depth == 1:
            _ring(axes, kept, lambda line: line["kl"][0])
        _frame(axes, shown, metrics)

    title = "KL, nats" if depth == 1 else f"KL of each level, nats ({_STYLES[split][2]})"
    drawing = draw("curve-kl", paint, f"{title}, over training steps")
    if depth == 1:
        return figure(title, drawing)
    legend = chips([(css(CATEGORIES[i % len(CATEGORIES)]), f"level {i}") for i in range(depth)])
    return figure(title, element("div", drawing, legend, class_="stack"))


def _line(axes: Axes, steps: list[int], values: list[float], colour: str, width: float) -> None:
    marker = "o" if len(values) < 3 else None
    axes.plot(steps, values, color=colour, linewidth=width, marker=marker, markersize=5)


def _frame(axes: Axes, shown: list[list[float]], metrics: Metrics) -> None:
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

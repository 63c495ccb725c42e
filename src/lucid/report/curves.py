"""Training curves: the bound, its two halves, and what was minimised, in training and in validation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lucid.report.curve_drawing import STYLES, Metrics, draw_line, draw_ring, number, set_frame
from lucid.report.drawing import INK, css, draw
from lucid.report.level_curves import kl_panel, units_panel
from lucid.report.markup import Html, chips, element, figure, minus, panels
from lucid.report.page import Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Metrics", "kept_line", "training_section"]


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
        kl_panel(metrics, kept),
    ]
    units = units_panel(metrics)
    if units is not None:
        drawn.append(units)
    weighted = _is_weighted(metrics)
    if weighted:
        drawn.append(_panel("loss", "Loss, nats", metrics, kept, lambda line: line["loss"]))
        drawn.append(_beta_panel(metrics))
    legend = chips([(css(colour), name) for colour, _, name in (STYLES["train"], STYLES["validation"])])
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
    return all(math.isfinite(number(n)) for n in (line["loss"], line["reconstruction"], *line["kl"]))


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
        sentences.append("What was minimised is not −ELBO: compare by the ELBO.")
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
            colour, width, _ = STYLES[split]
            lines = [line for line in metrics if line["split"] == split]
            if lines:
                shown.append([number(value(line)) for line in lines])
                draw_line(axes, [line["step"] for line in lines], shown[-1], colour, width)
        draw_ring(axes, kept, value)
        set_frame(axes, shown, metrics)

    return figure(title, draw(f"curve-{name}", paint, f"{title}, over training steps"))


def _beta_panel(metrics: Metrics) -> Html:
    lines = [line for line in metrics if line["split"] == "train"] or metrics

    def paint(axes: Axes) -> None:
        betas = [line["beta"] for line in lines]
        draw_line(axes, [line["step"] for line in lines], betas, INK, 1.8)
        set_frame(axes, [], metrics)
        axes.set_ylim(0, 1.08 * max(betas) or 1.0)

    return figure("β, the weight of the KL", draw("curve-beta", paint, "β over training steps"))

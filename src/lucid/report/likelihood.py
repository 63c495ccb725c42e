"""What the model is worth as a density: the evaluation's table, and the importance-weighted bound over the draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lucid.evaluation import Evaluation, Measurement
from lucid.report.drawing import ACCENT, MUTED, css, draw
from lucid.report.markup import Html, chips, element, figure, table
from lucid.report.page import KeyFigure, Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["key_figures", "likelihood_section"]


def key_figures(evaluation: Evaluation) -> tuple[KeyFigure, ...]:
    """The numbers of the header."""
    figures: list[KeyFigure] = []
    best = evaluation.log_likelihood
    if evaluation.bits_per_dim is not None:
        note = f"log-likelihood in bits per number of x, {best.num_samples:,} draws"
        figures.append(KeyFigure("Bits/dim", f"{evaluation.bits_per_dim:.3f}", "bits", note))
    draws = f"{best.num_samples:,} weighted draw" + ("s" if best.num_samples > 1 else "")
    figures.append(_figure("Log-likelihood", best, draws))
    figures.append(_figure("ELBO", evaluation.elbo, "lower bound on log p(x)"))
    of = sum(evaluation.latent_units)
    depth = len(evaluation.kl)
    note = "latent units that move with x" + (f", over {depth} levels" if depth > 1 else "")
    figures.append(KeyFigure("Active units", f"{sum(evaluation.active_units):,}", f"of {of:,}", note))
    return tuple(figures)


def likelihood_section(evaluation: Evaluation) -> Section:
    """The table of the evaluation, and the curve over k."""
    rows = [(row.name, row.value, row.unit, row.meaning) for row in evaluation.to_table()]
    caption = f"{evaluation.num_examples:,} {evaluation.split} examples, each counted once; ± is one standard error"
    measures = table(caption, ("quantity", "value", "unit", "how to read it"), rows, class_="measures")
    parts = [measures]
    if len(evaluation.importance_weighted) > 1:
        parts.append(_curve(evaluation))
    reading = (
        "How much probability the model gives data it has not seen. The importance-weighted estimate is a lower bound "
        "in expectation that tightens as k grows: where the curve is flat, more draws would change little. An "
        "effective sample size near 1 means that one draw decides. Compare only figures of one protocol: "
        f"{evaluation.protocol}."
    )
    return Section("likelihood", "Likelihood", reading, element("div", *parts, class_="content"))


def _figure(label: str, measured: Measurement, note: str) -> KeyFigure:
    value, error = measured.rounded()
    return KeyFigure(label, value, "nats", f"± {error}, {note}")


def _curve(evaluation: Evaluation) -> Html:
    at = evaluation.importance_weighted

    def paint(axes: Axes) -> None:
        from matplotlib.ticker import FuncFormatter, MaxNLocator

        k = [one.num_samples for one in at]
        values = [one.value for one in at]
        axes.axhline(evaluation.elbo.value, color=MUTED, linewidth=1.5, linestyle=(0, (4, 3)))
        axes.errorbar(
            k, values, yerr=[one.standard_error for one in at], fmt="-o", color=ACCENT, markersize=6, elinewidth=1.2
        )
        axes.set_xscale("log")
        axes.set_xticks(k)
        axes.minorticks_off()
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlim(k[0] / 1.4, k[-1] * 1.4)
        axes.set_xlabel("k, draws per example", loc="right", labelpad=2)

    drawing = draw(
        "importance", paint, "The importance-weighted log-likelihood over the number of draws", size=(480, 250)
    )
    legend = chips([(css(ACCENT), "log-likelihood, k draws"), (css(MUTED), "ELBO")])
    caption = (
        "Bars are standard errors over examples. The examples are the same at every k, so the rise from one k to "
        "the next is much more certain than the bars."
    )
    return figure(
        "Log-likelihood over the number of draws, nats",
        element("div", legend, drawing, class_="stack"),
        caption,
        class_="panel wide",
    )

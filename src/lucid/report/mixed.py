"""Tables of several kinds of columns: of numbers their distribution, of categories how often each occurs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lucid.distributions import Column
from lucid.report.drawing import ACCENT, MUTED, SOFT, css, draw, placeholder, shortened
from lucid.report.look import Look
from lucid.report.markup import Html, chips, element, figure, panels, table
from lucid.report.tables import against, explained, marginal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["interpolations", "reconstructions", "samples"]

_MOST_PANELS = 16
_MOST_BARS = 8
_STEPS = 5
_PAIRS = 2
_ROWS = 6

Numbers = np.ndarray[Any, Any]


def reconstructions(look: Look) -> Html:
    """Observed values against reconstructions: of numbers point by point, of categories how often they are right."""
    x = look.x[:500]
    inputs, outputs = (look.raw(part).numpy() for part in (x, look.reconstruct(x)))
    drawn: list[Html] = []
    for i, column in _shown(look):
        seen = ~np.isnan(inputs[:, i])
        given, made = inputs[seen, i], outputs[seen, i]
        if not len(given):
            drawing, words = Html(""), "no value in these examples"
        elif column.categories:
            drawing, words = _bars(f"against-{i}", column, given, made), f"right for {(given == made).mean():.0%}"
        else:
            drawing, words = against(f"against-{i}", given, made), explained(given, made)
        drawn.append(figure(column.name, drawing, words))
    legend = chips([(css(SOFT), "observed"), (css(ACCENT), "reconstructed")], "square")
    return element("div", legend, panels(*drawn, class_="panels small"), _left_out(look), class_="stack")


def samples(look: Look, temperature: float) -> Html:
    """Each column in the data and in samples, and a few rows of samples; the noise of p(x|z) is drawn too."""
    x = look.sample(len(look.x), temperature=temperature, noise=True)
    data, made = look.raw(look.x).numpy(), look.raw(x).numpy()
    drawn: list[Html] = []
    for i, column in _shown(look):
        seen = data[~np.isnan(data[:, i]), i]
        missing = 1 - len(seen) / len(data)
        words = f"{missing:.0%} missing" if missing else ""
        name = f"marginal-{temperature:g}-{i}".replace(".", "-")
        if not len(seen):
            drawing = Html("")
        elif column.categories:
            drawing = _bars(name, column, seen, made[:, i])
        else:
            drawing = marginal(name, seen, made[:, i])
        drawn.append(figure(column.name, drawing, words))
    legend = chips(
        [(css(SOFT), f"{len(data):,} {look.part} examples"), (css(ACCENT), f"{len(made):,} samples")], "square"
    )
    rows = _cells(look, x[:_ROWS])
    names = [column.name for _, column in _shown(look)]
    listed = table(
        "Some samples, in the units of the file",
        ("sample", *names),
        [(f"{number}", *(row[name] for name in names)) for number, row in enumerate(rows, start=1)],
        class_="numbers",
    )
    return element("div", legend, panels(*drawn, class_="panels small"), _left_out(look), listed, class_="stack")


def interpolations(look: Look) -> Html:
    """A table for each path, columns of the file down, steps across."""
    line = look.interpolate(_PAIRS, _STEPS)
    head = ("column", "from", *(f"{t:.0%}" for t in np.linspace(0, 1, _STEPS)[1:-1]), "to")
    tables: list[Html] = []
    for path in range(line.shape[1]):
        steps = _cells(look, line[:, path])
        rows = [(column.name, *(step[column.name] for step in steps)) for _, column in _shown(look)]
        tables.append(table(f"Path {path + 1}", head, rows, class_="numbers"))
    return element("div", *tables, _left_out(look), class_="stack")


def _shown(look: Look) -> list[tuple[int, Column]]:
    return list(enumerate(look.protocol.schema))[:_MOST_PANELS]


def _left_out(look: Look) -> Html:
    width = len(look.protocol.schema)
    if width <= _MOST_PANELS:
        return Html("")
    return element("p", f"The first {_MOST_PANELS} columns of {width:,} are shown.", class_="reading")


def _cells(look: Look, x: Any) -> list[dict[str, str]]:
    """Rows as a reader would write them."""
    return [
        {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in row.items()}
        for row in look.protocol.to_table(x.detach().float().cpu()).to_pylist()
    ]


def _bars(name: str, column: Column, data: Numbers, made: Numbers) -> Html:
    """How often each category occurs: the most frequent ones of the data, in their order."""
    counts = np.stack([np.bincount(v.astype(int), minlength=len(column.categories)) / len(v) for v in (data, made)])
    shown = np.sort(np.argsort(-counts[0], kind="stable")[:_MOST_BARS])

    def paint(axes: Axes) -> None:
        places = np.arange(len(shown))
        axes.barh(places - 0.2, counts[0, shown], height=0.4, color=SOFT)
        axes.barh(places + 0.2, counts[1, shown], height=0.4, color=ACCENT)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_yticks([])
        axes.set_xticks([])
        axes.grid(visible=False)
        for place in range(len(shown)):
            axes.text(-0.02 * counts.max(), place, placeholder(place), ha="right", va="center", color=MUTED)

    texts = {place: shortened(str(column.categories[i])) for place, i in enumerate(shown)}
    return draw(name, paint, "Shares of the categories", size=(190, 140), margins=(6, 10, 8, 84), texts=texts)

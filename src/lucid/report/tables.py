"""Tables and plain vectors: each column's distribution, how columns go together, and rows in the units of the file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lucid.report.drawing import ACCENT, CATEGORIES, MUTED, RULE, SOFT, css, draw, placeholder, shortened
from lucid.report.look import Look
from lucid.report.markup import Html, chips, element, figure, minus, panels, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["against", "explained", "interpolations", "marginal", "reconstructions", "samples"]

_MOST_PANELS = 12
_MOST_CORRELATED = 40
_SMALL = (190, 140)
_MARGINS = (6, 6, 30, 34)
_MOST_NAMED = 12
_STEPS = 5


def reconstructions(look: Look) -> Html:
    """Input against reconstruction, one panel a column."""
    x = look.x[:500]
    inputs, outputs = (look.raw(part).flatten(1).numpy() for part in (x, look.reconstruct(x)))
    drawn = [
        figure(name, against(f"against-{i}", inputs[:, i], outputs[:, i]), explained(inputs[:, i], outputs[:, i]))
        for i, name in _columns(look)
    ]
    return element("div", panels(*drawn, class_="panels small"), _left_out(look), class_="stack")


def samples(look: Look, temperature: float) -> Html:
    """Marginals and correlations of data and samples, and a few rows of samples; the noise of p(x|z) is drawn too."""
    n = len(look.x)
    data = look.raw(look.x).flatten(1).numpy()
    made = look.raw(look.sample(n, temperature=temperature, noise=True)).flatten(1).numpy()
    tag = f"{temperature:g}".replace(".", "-")
    legend = chips([(css(SOFT), f"{n:,} {look.part} examples"), (css(ACCENT), f"{n:,} samples")], "square")
    drawn = [figure(name, marginal(f"marginal-{tag}-{i}", data[:, i], made[:, i])) for i, name in _columns(look)]
    parts = [legend, panels(*drawn, class_="panels small"), _left_out(look)]
    if 2 <= data.shape[1] <= _MOST_CORRELATED:
        parts.append(_correlations(look, data, made, tag))
    parts.append(_rows(look, made))
    return element("div", *parts, class_="stack")


def interpolations(look: Look) -> Html:
    """A table for each path, columns of the file down, steps across."""
    line = look.interpolate(2, _STEPS)
    head = ("column", "from", *(f"{t:.0%}" for t in np.linspace(0, 1, _STEPS)[1:-1]), "to")
    data = look.raw(look.x).flatten(1).numpy()
    tables: list[Html] = []
    for path in range(line.shape[1]):
        values = look.raw(line[:, path]).flatten(1)
        rows = [
            (name, *(_number(v, _decimals(data[:, i])) for v in values[:, i].tolist())) for i, name in _columns(look)
        ]
        tables.append(table(f"Path {path + 1}", head, rows, class_="numbers"))
    return element("div", *tables, _left_out(look), class_="stack")


def _columns(look: Look) -> list[tuple[int, str]]:
    """The columns shown: all of them, or those that vary most in model space, in their own order."""
    width = look.protocol.num_features
    names = look.protocol.columns or tuple(f"x{i}" for i in range(width))
    shown = list(range(width))
    if width > _MOST_PANELS:
        spread = look.x.flatten(1).float().var(0, correction=0).cpu()
        shown = sorted(spread.argsort(descending=True, stable=True)[:_MOST_PANELS].tolist())
    return [(i, names[i]) for i in shown]


def _left_out(look: Look) -> Html:
    width = look.protocol.num_features
    if width <= _MOST_PANELS:
        return Html("")
    return element("p", f"The {_MOST_PANELS} columns of {width:,} that vary most are shown.", class_="reading")


def against(name: str, inputs: np.ndarray, outputs: np.ndarray) -> Html:
    """Outputs over inputs, a point an example."""

    def paint(axes: Axes) -> None:
        low, high = float(min(inputs.min(), outputs.min())), float(max(inputs.max(), outputs.max()))
        axes.plot([low, high], [low, high], color=RULE, linewidth=1.5)
        axes.plot(inputs, outputs, "o", markersize=3.2, color=ACCENT, alpha=0.45, markeredgewidth=0)
        _few_ticks(axes)
        axes.set_xlabel("input", loc="right", labelpad=1)

    return draw(name, paint, "Reconstruction against input", size=_SMALL, margins=_MARGINS)


def explained(inputs: np.ndarray, outputs: np.ndarray) -> str:
    """The share of the inputs' variance that the outputs explain, in words."""
    variance = float(inputs.var())
    if variance == 0:
        return "constant in these examples"
    r2 = round(1 - float(((inputs - outputs) ** 2).mean()) / variance, 2)
    return minus(f"R² {r2 + 0.0:.2f}")


def marginal(name: str, data: np.ndarray, made: np.ndarray) -> Html:
    """Histograms of data and of samples."""

    def paint(axes: Axes) -> None:
        edges = _edges(data, made)
        axes.hist(data, bins=edges, density=True, color=SOFT, alpha=0.8)
        axes.hist(made, bins=edges, density=True, color=ACCENT, histtype="step", linewidth=1.8)
        axes.set_yticks([])
        axes.grid(visible=False)
        _few_ticks(axes)

    return draw(name, paint, "Histogram of data and of samples", size=_SMALL, margins=(6, 10, 22, 10))


def _edges(data: np.ndarray, made: np.ndarray) -> list[float]:
    """Bins of both: one per integer where the data is a few integers, else over all but the outermost thousandths."""
    together = np.concatenate([data, made])
    low, high = np.round(together.min()), np.round(together.max())
    if np.all(data == np.round(data)) and high - low <= 40:
        return np.arange(low - 0.5, high + 1.0).tolist()
    low, high = np.quantile(together, [0.001, 0.999])
    return np.linspace(low, high if high > low else low + 1.0, 31).tolist()


def _few_ticks(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(3))
    if len(axes.get_yticks()):
        axes.yaxis.set_major_locator(MaxNLocator(3))


def _correlations(look: Look, data: np.ndarray, made: np.ndarray, tag: str) -> Html:
    of_data, of_made = _correlation(data), _correlation(made)
    names = look.protocol.columns or tuple(f"x{i}" for i in range(data.shape[1]))
    gap = np.abs(of_data - of_made)
    a, b = np.unravel_index(int(gap.argmax()), gap.shape)
    caption = (
        f"Correlations of the columns, in the order of the file: blue positive, orange negative, full colour ±1. They "
        f"differ most, by {gap[a, b]:.2f}, for {names[a]} and {names[b]}."
    )
    both = panels(
        figure("Correlations in the data", _matrix(f"correlation-{tag}-data", of_data, names, "data")),
        figure("Correlations in the samples", _matrix(f"correlation-{tag}-samples", of_made, names, "samples")),
    )
    return element("div", both, element("p", caption, class_="reading"), class_="stack")


def _correlation(values: np.ndarray) -> np.ndarray:
    """Pearson's correlations; 0 for a constant column."""
    centred = values.astype(np.float64) - values.mean(0)
    length = np.sqrt((centred**2).sum(0))
    length[length == 0] = np.inf
    return (centred / length).T @ (centred / length)


def _matrix(name: str, correlation: np.ndarray, names: tuple[str, ...], of: str) -> Html:
    n = len(correlation)
    texts = {i: shortened(column) for i, column in enumerate(names)} if n <= _MOST_NAMED else {}

    def paint(axes: Axes) -> None:
        from matplotlib.patches import Rectangle

        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlim(0, n)
        axes.set_ylim(n, 0)
        for row in range(n):
            for column in range(n):
                r = float(np.clip(correlation[row, column], -1, 1))
                colour = CATEGORIES[0] if r > 0 else CATEGORIES[1]
                axes.add_patch(
                    Rectangle(
                        (column + 0.03, row + 0.03), 0.94, 0.94, color=colour, alpha=round(abs(r), 2), linewidth=0
                    )
                )
        for i in texts:
            axes.text(-0.03 * n, i + 0.5, placeholder(i), ha="right", va="center", color=MUTED)

    alt = f"Matrix of the correlations between columns of the {of}"
    left = 96 if texts else 2
    return draw(name, paint, alt, size=(280 + left, 284), margins=(2, 2, 2, left), texts=texts)


def _rows(look: Look, made: np.ndarray) -> Html:
    shown = _columns(look)
    decimals = {column: _decimals(made[:, column]) for column, _ in shown}
    rows = [
        (f"{i + 1}", *(_number(float(made[i, column]), decimals[column]) for column, _ in shown))
        for i in range(min(6, len(made)))
    ]
    return table(
        "Some samples, in the units of the file", ("sample", *(name for _, name in shown)), rows, class_="numbers"
    )


def _decimals(column: np.ndarray) -> int:
    """Decimals that tell values of this spread apart."""
    spread = float(column.std())
    return min(6, max(0, 1 - math.floor(math.log10(spread)))) if spread > 0 else 2


def _number(value: float, decimals: int) -> str:
    return minus(f"{value:,.{decimals}f}")

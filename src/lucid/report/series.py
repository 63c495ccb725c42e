"""Series: reconstructions over inputs, samples beside data, paths from one series to another, as lines over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lucid.report.drawing import ACCENT, CATEGORIES, SOFT, css, draw
from lucid.report.look import Look
from lucid.report.markup import Html, chips, element, figure, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["interpolations", "reconstructions", "samples"]

_SMALL = (190, 120)
_MARGINS = (6, 4, 22, 30)
_MOST_CHANNELS = 4
_STEPS = 7


def reconstructions(look: Look) -> Html:
    """The input as a wide pale line, its reconstruction as a thin one; one panel an example."""
    x = look.x[:12]
    inputs, outputs = look.raw(x).numpy(), look.raw(look.reconstruct(x)).numpy()
    legend = (
        chips([(css(SOFT), "input"), (css(ACCENT), "reconstruction")])
        if _channels(look) == 1
        else _channel_legend(look)
    )
    drawn = [
        figure("", _lines(f"over-{i}", [(inputs[i], True), (outputs[i], False)], "An input and its reconstruction"))
        for i in range(len(x))
    ]
    return element("div", legend, panels(*drawn, class_="panels small"), class_="stack")


def samples(look: Look, temperature: float) -> Html:
    """Means of p(x|z) for latents drawn from the priors, then the spread of data and of noisy samples over time."""
    tag = f"{temperature:g}".replace(".", "-")
    made = look.raw(look.sample(12, temperature=temperature)).numpy()
    drawn = [
        figure("", _lines(f"sample-{tag}-{i}", [(made[i], False)], "A series the model made")) for i in range(len(made))
    ]
    data = look.raw(look.x).numpy()
    noisy = look.raw(look.sample(len(look.x), temperature=temperature, noise=True)).numpy()
    bands = [
        figure(
            "Median and middle 80% at each time" + (f", channel {channel}" if _channels(look) > 1 else ""),
            _band(f"band-{tag}-{channel}", data[:, channel], noisy[:, channel]),
        )
        for channel in range(_channels(look))
    ]
    legend = chips(
        [
            (css(SOFT), f"{len(data):,} {look.part} series"),
            (css(ACCENT), f"{len(noisy):,} samples, noise of p(x|z) included"),
        ]
    )
    grid = panels(*drawn, class_="panels small")
    return element("div", grid, legend, panels(*bands), class_="stack")


def interpolations(look: Look) -> Html:
    """One panel a path; the lines go from one end to the other."""
    line = look.raw(look.interpolate(6, _STEPS)).numpy()
    drawn = [figure("", _path(f"path-{i}", line[:, i])) for i in range(line.shape[1])]
    legend = chips([(css(CATEGORIES[0]), "from"), (css(CATEGORIES[1]), "to")])
    return element("div", legend, panels(*drawn), class_="stack")


def _channels(look: Look) -> int:
    return min(_MOST_CHANNELS, look.protocol.shape[0]) if len(look.protocol.shape) > 1 else 1


def _channel_legend(look: Look) -> Html:
    names = look.protocol.columns or tuple(f"channel {i}" for i in range(_channels(look)))
    entries = [(css(CATEGORIES[i]), name) for i, name in enumerate(names[: _channels(look)])]
    return element(
        "div", chips(entries), element("p", "Pale lines are inputs, strong ones reconstructions.", class_="reading")
    )


def _lines(name: str, curves: list[tuple[np.ndarray, bool]], alt: str) -> Html:
    def paint(axes: Axes) -> None:
        for values, pale in curves:
            channels = np.atleast_2d(values)[:_MOST_CHANNELS]
            for i, channel in enumerate(channels):
                colour = CATEGORIES[i] if len(channels) > 1 else SOFT if pale else ACCENT
                alpha = 0.35 if pale and len(channels) > 1 else 1.0
                axes.plot(channel, color=colour, linewidth=4.0 if pale else 1.5, alpha=alpha)
        _few_ticks(axes)

    return draw(name, paint, alt, size=_SMALL, margins=_MARGINS)


def _band(name: str, data: np.ndarray, made: np.ndarray) -> Html:
    def paint(axes: Axes) -> None:
        for values, colour, alpha in ((data, SOFT, 0.45), (made, ACCENT, 0.2)):
            low, middle, high = np.quantile(values, [0.1, 0.5, 0.9], axis=0)
            axes.fill_between(range(len(low)), low, high, color=colour, alpha=alpha, linewidth=0)
            axes.plot(middle, color=colour, linewidth=2)
        _few_ticks(axes)

    return draw(name, paint, "Median and middle 80% of data and samples over time", size=(400, 220))


def _path(name: str, line: np.ndarray) -> Html:
    """Steps of a path; the ends in their colours, what lies between fading from one to the other."""

    def paint(axes: Axes) -> None:
        last = len(line) - 1
        for step, values in enumerate(line):
            nearer_start = step <= last / 2
            colour = CATEGORIES[0] if nearer_start else CATEGORIES[1]
            distance = min(step, last - step) / max(1, last / 2)
            axes.plot(np.atleast_2d(values)[0], color=colour, alpha=1 - 0.65 * distance, linewidth=2.2 - 1.0 * distance)
        _few_ticks(axes)

    return draw(name, paint, "Series on the way from one to another", size=(400, 200))


def _few_ticks(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(3))

"""The latents: a map of the embeddings, and what each unit carries."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lucid.evaluation import ACTIVE_THRESHOLD, Evaluation, UnitStatistics, unit_statistics
from lucid.io.files import whole_file
from lucid.report.drawing import ACCENT, CATEGORIES, INK, MUTED, RULE, SOFT, css, draw, placeholder
from lucid.report.look import Look
from lucid.report.markup import Html, chips, element, figure, panels, table
from lucid.report.page import Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["map_section", "units_section", "write_map"]

_MARKERS = ("o", "s", "^", "D")
_MOST_CLASSES = len(CATEGORIES) * len(_MARKERS)
_MOST_BARS = 64
_LEAST_AXIS = 0.1  # nats: units that carry less should look like it
_MAP = (480, 420)
_LABEL = 14


# The map


def map_section(look: Look) -> Section:
    """Where the test examples lie among the latents."""
    z = look.embeddings()
    groups = _groups(look)
    if z.shape[1] == 1:
        drawing, caption = _line_of_one(z), "The one latent unit; the line is the density of its prior, N(0, 1)."
    else:
        points, caption = _plane(z, look.part)
        drawing = _scatter(points, groups, prior=z.shape[1] == 2)
    legend = chips(
        [(css(CATEGORIES[i % len(CATEGORIES)]), f"{name} ({len(rows):,})") for i, (name, rows) in enumerate(groups)],
        "dot",
    )
    parts = [legend] if len(groups) > 1 else []
    told = "has not seen" if look.condition is None else "is told, so that it need not keep them here"
    coloured = (
        f" Colours are labels, which the model {told}; each name stands at the middle of its examples."
        if len(groups) > 1
        else ""
    )
    reading = (
        f"Each point is the posterior mean of one {look.part} example, at the deepest level. Neighbours look alike to "
        "the model; gaps are regions that samples from the prior may fall into." + coloured
    )
    content = element("div", *parts, figure("", drawing, caption, class_="panel wide"), class_="stack")
    return Section("latent-map", "Latent map", reading, content)


def _plane(z: Tensor, part: str) -> tuple[np.ndarray, str]:
    """Two coordinates for each embedding, and where they come from."""
    n = len(z)
    if z.shape[1] == 2:
        return z.numpy(), f"{n:,} {part} examples on the two latent axes; the ring holds 95% of the prior, N(0, I)."
    from sklearn.decomposition import PCA

    pca = PCA(n_components=2, svd_solver="full").fit(z.double().numpy())
    share = float(np.nan_to_num(pca.explained_variance_ratio_).sum())
    caption = (
        f"{n:,} {part} examples; the two directions of largest variance (PCA) hold {share:.0%} of the variance of "
        f"{z.shape[1]:,} units. What seems to overlap here may be apart in the others."
    )
    return pca.transform(z.double().numpy()), caption


def _groups(look: Look) -> list[tuple[str, Tensor]]:
    """(name, rows) of each label; one nameless group without labels or with too many of them."""
    everything = [("", torch.arange(len(look.x)))]
    if look.labels is None:
        return everything
    values = look.labels.unique().tolist()
    if not 1 < len(values) <= _MOST_CLASSES:
        return everything
    names = look.protocol.classes
    return [(names[v] if 0 <= v < len(names) else str(v), (look.labels == v).nonzero().flatten()) for v in values]


def _scatter(points: np.ndarray, groups: list[tuple[str, Tensor]], *, prior: bool) -> Html:
    def paint(axes: Axes) -> None:
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_aspect("equal", adjustable="datalim")
        if prior:
            turn = np.linspace(0, 2 * np.pi, 121)
            radius = math.sqrt(-2 * math.log(0.05))
            axes.plot(radius * np.cos(turn), radius * np.sin(turn), color=RULE, linewidth=1.5)
        size = 5.0 if len(points) < 600 else 4.0
        for i, (_, rows) in enumerate(groups):
            colour = CATEGORIES[i % len(CATEGORIES)] if len(groups) > 1 else ACCENT
            marker = _MARKERS[i // len(CATEGORIES)]
            axes.plot(*points[rows.numpy()].T, marker, markersize=size, color=colour, alpha=0.8, markeredgewidth=0)
        if len(groups) > 1:
            _name_groups(axes, points, groups)

    alt = "A map of the latent space, one point for each test example"
    texts = {i: name for i, (name, _) in enumerate(groups)}
    return draw("latent-map", paint, alt, size=_MAP, margins=(6, 6, 6, 6), texts=texts)


def _name_groups(axes: Axes, points: np.ndarray, groups: list[tuple[str, Tensor]]) -> None:
    middles = [np.median(points[rows.numpy()], axis=0) for _, rows in groups]
    scale = float(max(np.ptp(points, axis=0) / _MAP)) or 1.0  # of the points, per CSS pixel
    widths = [0.62 * _LABEL * len(name) * scale for name, _ in groups]
    heights = _stacked([(float(x), float(y)) for x, y in middles], widths, 1.25 * _LABEL * scale)
    for i, (x, _) in enumerate(middles):
        axes.text(
            x, heights[i], placeholder(i), ha="center", va="center", color=INK, fontsize=_LABEL, fontweight="bold"
        )


def _stacked(places: list[tuple[float, float]], widths: list[float], height: float) -> list[float]:
    """Heights at which names of these widths, centred at these places, do not cover one another, or hardly."""
    heights = [y for _, y in places]
    for _ in range(50):
        moved = False
        for i in range(len(places)):
            for j in range(i):
                beside = abs(places[i][0] - places[j][0]) >= (widths[i] + widths[j]) / 2
                gap = heights[i] - heights[j]
                if beside or abs(gap) >= 0.98 * height:
                    continue
                push = (height - abs(gap)) / 2 * (1 if gap >= 0 else -1)
                heights[i] += push
                heights[j] -= push
                moved = True
        if not moved:
            break
    return heights


def _line_of_one(z: Tensor) -> Html:
    def paint(axes: Axes) -> None:
        values = z.flatten().numpy()
        axes.hist(values, bins=40, density=True, color=SOFT)
        reach = np.linspace(min(-3, values.min()), max(3, values.max()), 200)
        axes.plot(reach, np.exp(-0.5 * reach**2) / math.sqrt(2 * math.pi), color=ACCENT)

    return draw("latent-map", paint, "A histogram of the latent unit beside the density of its prior", size=(480, 260))


# The units


def units_section(look: Look, evaluation: Evaluation | None) -> Section:
    """What each level and each of its units carries."""
    statistics = unit_statistics(look.model, look.batches(), num_samples=10)
    rows = [_level_row(level, units, evaluation) for level, units in enumerate(statistics)]
    levels = table("Levels", ("level", "units", "active", "KL, nats"), rows, class_="numbers")
    bars = [
        figure(
            _bars_title(level, len(statistics)), _bars(level, units, wide=len(statistics) == 1), _bars_caption(units)
        )
        for level, units in enumerate(statistics)
        if units.kl is not None
    ]
    source = (
        f"The table is that of the evaluation, on {evaluation.num_examples:,} {evaluation.split} examples; the bars "
        f"are measured on the first {len(look.x):,} {look.part} examples."
        if evaluation is not None
        else f"Measured on the first {len(look.x):,} {look.part} examples."
    )
    reading = (
        "The KL is what a latent costs, and the information about x that it can carry. A unit is active when its "
        f"posterior mean moves with x: Var_x(E_q[z]) > {ACTIVE_THRESHOLD}. An inactive unit tells the decoder nothing "
        "of x; a level with no other has collapsed."
    )
    content = element("div", levels, element("p", source, class_="reading"), *_arranged(bars), class_="stack")
    return Section("latent-units", "Latent units", reading, content)


def _arranged(bars: list[Html]) -> list[Html]:
    """One drawing as it is; several side by side."""
    return [element("div", *bars, class_="panel wide")] if len(bars) < 2 else [panels(*bars)]


def _level_row(level: int, units: UnitStatistics, evaluation: Evaluation | None) -> Sequence[str]:
    name = f"{level}"
    if evaluation is not None:
        numbers = (evaluation.latent_units[level], evaluation.active_units[level], evaluation.kl[level])
    else:
        numbers = (units.variance.numel(), units.num_active, math.nan if units.kl is None else float(units.kl.sum()))
    return (name, f"{numbers[0]:,}", f"{numbers[1]:,}", "—" if math.isnan(numbers[2]) else f"{numbers[2]:,.2f}")


def _bars_title(level: int, depth: int) -> str:
    where = " (nearest the data)" if level == 0 else " (deepest)" if level == depth - 1 else ""
    return "KL of each unit, nats" if depth == 1 else f"Level {level}{where}: KL of each unit, nats"


def _bars_caption(units: UnitStatistics) -> str:
    n = units.variance.numel()
    shown = f" The {_MOST_BARS} largest of {n:,} are shown." if n > _MOST_BARS else ""
    return f"Sorted; {units.num_active:,} of {n:,} are active, in blue.{shown}"


def _bars(level: int, units: UnitStatistics, *, wide: bool) -> Html:
    assert units.kl is not None, "units without a KL are not drawn"
    order = units.kl.argsort(descending=True, stable=True)[:_MOST_BARS]
    kl, active = units.kl[order].tolist(), units.active[order].tolist()

    def paint(axes: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        colours = [ACCENT if is_active else SOFT for is_active in active]
        axes.bar(range(1, len(kl) + 1), kl, width=0.72, color=colours)
        axes.axhline(0, color=MUTED, linewidth=1)
        axes.set_xlim(0.3, max(len(kl), 6) + 0.7)
        axes.set_ylim(top=max(1.05 * max(kl), _LEAST_AXIS))
        if len(kl) <= 16:
            axes.set_xticks(range(1, len(kl) + 1))
        else:
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("unit, by rank", loc="right", labelpad=2)

    return draw(
        f"units-{level}", paint, f"KL of each unit of level {level}, sorted", size=(480, 230) if wide else (400, 240)
    )


def write_map(
    path: str | os.PathLike[str], embeddings: Tensor, labels: Tensor | None = None, classes: Sequence[str] = ()
) -> None:
    """A picture of embeddings in two dimensions, coloured by label: the page's latent map as a PNG of its own.

    Args:
        path: Where to; an existing file is replaced whole.
        embeddings: (N, U); more than two units are shown on their two directions of largest variance (PCA).
        labels: Codes, (N,), or None.
        classes: Names of the codes.

    Raises:
        ValueError: If there are fewer than two examples.
        OSError: If it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if len(embeddings) < 2:
        raise ValueError(f"a map needs at least two examples; received {len(embeddings)}")
    z = embeddings.float().cpu()
    points = np.column_stack([z.numpy(), np.zeros(len(z))]) if z.shape[1] == 1 else _plane(z, "")[0]
    picture = Figure(figsize=(8, 7), dpi=150, layout="constrained")
    FigureCanvasAgg(picture)
    axes = picture.add_subplot()
    codes = [None] if labels is None else labels.unique().tolist()
    many = len(codes) > 10
    for i, code in enumerate(codes):
        rows = slice(None) if code is None or many or labels is None else (labels == code).numpy()
        name = classes[code] if code is not None and code < len(classes) else str(code)
        axes.plot(*points[rows].T, "o", markersize=4, alpha=0.7, color=f"C{i % 10}", markeredgewidth=0, label=name)
        if many:
            break
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_visible(False)
    if len(codes) > 1 and not many:
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    with whole_file(path) as temporary:
        picture.savefig(temporary, format="png", facecolor="white")

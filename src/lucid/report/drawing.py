"""Drawings as inline SVG in the page's own colours and font, so that they follow its light and dark scheme.

matplotlib knows colours, not CSS variables. Each role of a colour is drawn as a sentinel value nothing else uses,
which is then replaced by the variable. Nothing global is configured: the settings hold while one drawing is made.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from lucid.report.markup import Html, minus

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "ACCENT",
    "CATEGORIES",
    "INK",
    "MUTED",
    "PAPER",
    "RULE",
    "SOFT",
    "css",
    "draw",
    "placeholder",
    "short_number",
    "shortened",
]

INK, MUTED, RULE, ACCENT, SOFT, PAPER = (f"#5eed{i:02x}" for i in range(6))
"""Sentinels: text and lines, quiet text, hairlines, what matters, what it is compared with, and the page itself."""

CATEGORIES = tuple(f"#5eee{i:02x}" for i in range(10))
"""Sentinels of the categorical colours, told apart by colour-blind readers on both backgrounds."""

_VARIABLES = {
    **dict(
        zip((INK, MUTED, RULE, ACCENT, SOFT, PAPER), ("ink", "muted", "rule", "accent", "soft", "paper"), strict=True)
    ),
    **{sentinel: f"c{i}" for i, sentinel in enumerate(CATEGORIES)},
}

_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "lucid",
    "font.family": ["DejaVu Sans"],
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 1.0,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-4, 12),
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": RULE,
    "grid.linewidth": 1.0,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 4,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "path.simplify": True,
}


def css(sentinel: str) -> str:
    """The CSS value that a sentinel stands for."""
    return f"var(--{_VARIABLES[sentinel]})"


def placeholder(index: int) -> str:
    """Stands in a drawing for a user's text, which matplotlib should neither measure nor interpret."""
    return f"[[{index}]]"


def shortened(text: str, limit: int = 13) -> str:
    """A user's text that has to fit beside a drawing."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def draw(
    name: str,
    paint: Callable[[Axes], None],
    alt: str,
    *,
    size: tuple[int, int] = (400, 240),
    margins: tuple[int, int, int, int] = (8, 8, 34, 46),
    texts: Mapping[int, str] | None = None,
) -> Html:
    """An SVG drawing.

    Args:
        name: Unique on the page; it makes the ids inside unique.
        paint: Draws on the axes.
        alt: What the drawing shows, in words.
        size: Width and height in CSS pixels, at which its text has the size of a caption.
        margins: Around the axes: top, right, bottom, left.
        texts: Users' texts for the placeholders used.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    width, height = size
    top, right, bottom, left = margins
    buffer = io.StringIO()
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        canvas = Figure(figsize=(width / 72, height / 72), dpi=72)
        canvas.patch.set_visible(False)
        box = (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height)
        axes = canvas.add_axes(box)
        axes.patch.set_visible(False)
        axes.grid(axis="y")
        paint(axes)
        _shorten(axes)
        canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(buffer.getvalue(), name, alt, size, texts or {})


def short_number(value: float, _: object = None) -> str:
    """A number for an axis: 12 k, 1.5 M."""
    for unit, name in ((1e6, " M"), (1e3, " k")):
        if abs(value) >= unit * (10 if unit == 1e3 else 1):
            return minus(f"{value / unit:.6g}{name}")
    return minus(f"{value:,.6g}")


def _shorten(axes: Axes) -> None:
    """Large numbers on an axis are written short."""
    from matplotlib.ticker import FuncFormatter, ScalarFormatter

    for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        if isinstance(axis.get_major_formatter(), ScalarFormatter) and max(map(abs, limits)) >= 1e4:
            axis.set_major_formatter(FuncFormatter(short_number))


def _inline(svg: str, name: str, alt: str, size: tuple[int, int], texts: Mapping[int, str]) -> Html:
    """The file matplotlib wrote, as an element of the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    opening = (
        f'<svg class="plot" viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label="{escape(alt)}" '
        f'style="aspect-ratio:{size[0]}/{size[1]}">'
    )
    svg = re.sub(r"<svg[^>]*>", lambda _: opening, svg, count=1)
    svg = _own_ids(svg.replace("xlink:href", "href"), name)
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"-?\d+\.\d{3,}", _short, tag[0]), svg)
    svg = re.sub(r"font-family: [^;\"]*;?|font: ([\d.]+px)[^;\"]*", lambda m: f"font-size: {m[1]}" if m[1] else "", svg)
    for sentinel, variable in _VARIABLES.items():
        svg = svg.replace(sentinel, f"var(--{variable})")
    svg = re.sub(r"\s*\n\s*", " ", svg).replace("> <", "><").strip()
    # In one pass, so that a user's text is never taken for a placeholder.
    return Html(re.sub(r"\[\[(\d+)\]\]", lambda m: escape(texts.get(int(m[1]), m[0])), svg))


def _own_ids(svg: str, name: str) -> str:
    """Ids that something refers to get the drawing's name; the others go."""
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))

    def renamed(match: re.Match[str]) -> str:
        return f' id="{name}-{match[1]}"' if match[1] in used else ""

    svg = re.sub(r' id="([^"]+)"', renamed, svg)
    return re.sub(r'(url\(#|href="#)([^)"]+)', lambda m: f"{m[1]}{name}-{m[2]}", svg)


def _short(match: re.Match[str]) -> str:
    text = f"{float(match[0]):.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text

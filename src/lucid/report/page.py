"""The page: a header with the figures that matter, then section after section, in one file that asks for nothing."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from lucid.report.markup import Html, element, join, void

__all__ = ["Header", "KeyFigure", "Section", "build_page"]

# Nothing is fetched and nothing is executed, whatever a hostile name may have got onto the page.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class KeyFigure:
    """A number worth its size.

    Attributes:
        label: What it is.
        value: The number.
        unit: Its unit, small beside it.
        note: What is needed to trust it.
    """

    label: str
    value: str
    unit: str
    note: str


@dataclass(frozen=True)
class Header:
    """The top of the page.

    Attributes:
        title: The model and its data.
        subtitle: The protocol of the figures.
        meta: A quieter line below it; may be empty.
        figures: Numbers to see first.
        note: A sentence below them; may be empty.
    """

    title: str
    subtitle: str
    meta: str = ""
    figures: tuple[KeyFigure, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        anchor: Its address on the page, letters and hyphens.
        title: Its heading.
        reading: How to read it.
        content: What it shows.
    """

    anchor: str
    title: str
    reading: str
    content: Html


def build_page(header: Header, sections: list[Section], footer: str = "") -> str:
    """A self-contained HTML page: no script, no request, light and dark, any width.

    Args:
        header: Its top.
        sections: In order.
        footer: A last line.

    Example:
        >>> page = build_page(Header("vae on digits", "17 levels"), [Section("a", "A", "Look.", Html("<p>…</p>"))])
        >>> page.startswith("<!doctype html>"), "<h1>vae on digits</h1>" in page
        (True, True)
    """
    links = [element("li", element("a", section.title, href=f"#{section.anchor}")) for section in sections]
    body = element(
        "body",
        _top(header),
        element("nav", element("ul", *links), aria_label="Sections"),
        element("main", *(_section(section) for section in sections)),
        element("footer", footer),
    )
    return f'<!doctype html>\n<html lang="en">\n{_head(header.title)}\n{body}\n</html>\n'


def _head(title: str) -> Html:
    style = (files("lucid.report") / "page.css").read_text(encoding="utf-8")
    return element(
        "head",
        void("meta", charset="utf-8"),
        void("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        void("meta", name="viewport", content="width=device-width, initial-scale=1"),
        void("meta", name="color-scheme", content="light dark"),
        element("title", f"{title} · lucid"),
        element("style", Html(style)),
    )


def _top(header: Header) -> Html:
    figures = [
        element(
            "div",
            element("dt", figure.label),
            element("dd", element("span", figure.value, class_="numeral"), element("span", figure.unit, class_="unit")),
            element("dd", figure.note, class_="figure-note"),
        )
        for figure in header.figures
    ]
    parts = [
        element("p", "lucid report", class_="eyebrow"),
        element("h1", header.title),
        element("p", header.subtitle, class_="subtitle"),
    ]
    if header.meta:
        parts.append(element("p", header.meta, class_="meta"))
    if figures:
        parts.append(element("dl", *figures, class_="figures"))
    if header.note:
        parts.append(element("p", header.note, class_="note"))
    return element("header", *parts)


def _section(section: Section) -> Html:
    aside = element(
        "div", element("h2", section.title), element("p", section.reading, class_="reading"), class_="aside"
    )
    return element("section", aside, element("div", join([section.content]), class_="content"), id=section.anchor)

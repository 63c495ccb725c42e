"""HTML that cannot be broken by what it shows: text is escaped unless it is markup this module made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["Html", "chips", "element", "figure", "join", "minus", "panels", "table", "void"]


class Html(str):
    """Markup that is safe to put on the page as it is. Everything else is text, and is escaped."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str | int | None) -> Html:
    """An element; children that are not `Html` are escaped, attributes always are.

    Args:
        name: The tag.
        children: What it holds.
        attributes: `class_` stands for class, underscores for hyphens; None leaves an attribute out.

    Example:
        >>> element("p", "a < b ", element("b", "c"), class_="note")
        '<p class="note">a &lt; b <b>c</b></p>'
    """
    return Html(f"<{name}{_attributes(attributes)}>{join(children)}</{name}>")


def void(name: str, /, **attributes: str | int | None) -> Html:
    """An element that holds nothing, such as an image."""
    return Html(f"<{name}{_attributes(attributes)}>")


def join(children: Iterable[str], between: str = "") -> Html:
    """Children one after the other, escaped unless they are `Html`."""
    return Html(between.join(child if isinstance(child, Html) else escape(child) for child in children))


def figure(title: str, drawing: Html, caption: str = "", *, class_: str = "panel") -> Html:
    """A drawing under its title, with a caption below."""
    heading = element("div", title, class_="panel-title") if title else Html("")
    return element("figure", heading, drawing, element("figcaption", caption) if caption else Html(""), class_=class_)


def panels(*figures: Html, class_: str = "panels") -> Html:
    """Figures side by side where there is room."""
    return element("div", *figures, class_=class_)


def chips(entries: Sequence[tuple[str, str]], shape: str = "line") -> Html:
    """A legend: (colour, name) pairs; the colour is a CSS value of ours."""
    items = [
        element("li", element("span", style=f"--chip:{colour}", class_=f"chip {shape}", aria_hidden="true"), name)
        for colour, name in entries
    ]
    return element("ul", *items, class_="chips")


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, class_: str = "") -> Html:
    """A table whose first column heads its rows."""
    header = element("tr", *(element("th", cell, scope="col") for cell in head))
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    ]
    whole = element(
        "table",
        element("caption", caption),
        element("thead", header),
        element("tbody", *body),
        class_=class_ or None,
    )
    return element("div", whole, class_="scroll", tabindex=0, role="region", aria_label=caption)


def minus(text: str) -> str:
    """Numbers with a true minus sign."""
    return text.replace("-", "−")


def _attributes(attributes: dict[str, str | int | None]) -> str:
    return "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None
    )

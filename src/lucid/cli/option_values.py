"""How the values of options are read: counts or fractions, sizes, lists of columns."""

from __future__ import annotations

import argparse

__all__ = ["columns", "number", "number_or_none", "size", "yes_or_no"]


def number(text: str) -> float:
    """A count if it is written as one, else a fraction."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def number_or_none(text: str) -> float | str:
    """A number, or the word none."""
    return text if text == "none" else float(text)


def yes_or_no(text: str) -> bool | str:
    """True for yes, False for no, or the word auto."""
    meanings: dict[str, bool | str] = {"yes": True, "no": False, "auto": "auto"}
    if text not in meanings:
        raise argparse.ArgumentTypeError(f"yes, no or auto; received {text!r}")
    return meanings[text]


def columns(text: str) -> list[str] | dict[str, str | list[str]]:
    """Names of columns, or what some columns are."""
    said = [name.strip() for name in text.split(",") if name.strip()]
    if "=" not in text:
        return said
    kinds: dict[str, str | list[str]] = {}
    for item in said:
        name, equals, kind = item.partition("=")
        if not equals:
            raise argparse.ArgumentTypeError(
                f"either names, A,B, or what columns are, A=count,B=real; received {text!r}"
            )
        kinds[name.strip()] = [part.strip() for part in kind.split("<")] if "<" in kind else _kind(kind.strip(), item)
    return kinds


def _kind(text: str, item: str) -> str:
    from lucid.data.schema import KINDS

    if text not in KINDS:
        raise argparse.ArgumentTypeError(
            f"{item!r}: a column is {', '.join(KINDS)}, or its categories in order, S<M<L; received {text!r}"
        )
    return text


def size(text: str) -> list[int]:
    """Height and width, written 32x32."""
    height, _, width = text.lower().partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise argparse.ArgumentTypeError(f"a size is HEIGHTxWIDTH, for example 32x32; received {text!r}")
    return [int(height), int(width)]

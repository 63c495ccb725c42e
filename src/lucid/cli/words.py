"""Facts below one another, as `lucid info` prints them."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["print_lines"]


def print_lines(lines: Mapping[str, str]) -> None:
    """Print names and what they are, in two columns."""
    width = max(len(name) for name in lines)
    for name, text in lines.items():
        print(f"{name:<{width}}  {text}")

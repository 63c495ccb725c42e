"""Which of several columns hold x, by what they hold and by what the user says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from lucid.data.found import Options, listing

__all__ = ["Form", "choose"]

Form = Literal["image", "array", "number", "other"]


def choose(forms: Mapping[str, Form], options: Options, holds: str) -> tuple[tuple[str, ...], Form]:
    """The columns that are x, and what they hold; "number" stands for the columns of a table.

    Without `key` and `columns` it is the one column of images or arrays, or, where there is none, all of numbers.

    Args:
        forms: What each column holds.
        options: Those of `load`: `key` names one column of images or arrays, `columns` several of numbers.
        holds: What the columns are, in a sentence.

    Raises:
        ValueError: If this does not say which.
    """
    if options.key is not None and options.columns is not None:
        raise ValueError("key= names the one column that holds x, columns= those of a table: leave one out")
    named = options.columns or (() if options.key is None else (options.key,))
    form: Form | None = None if not named else "number" if options.columns else forms.get(named[0])
    for name in named:
        if name not in forms:
            raise ValueError(f"{'columns' if options.columns else 'key'}= names {name!r}, and {holds}")
        if options.columns and forms[name] != "number":
            raise ValueError(f"columns= names {name!r}, which does not hold single numbers: {holds}")
    if form in ("number", "other") and options.key is not None:
        raise ValueError(
            f"key={options.key!r} holds neither images nor lists of numbers (columns= names those of a table): {holds}"
        )
    if form is not None:
        return named, form
    whole = [name for name, form in forms.items() if form in ("image", "array")]
    numbers = tuple(name for name, form in forms.items() if form == "number")
    if len(whole) == 1:
        return (whole[0],), forms[whole[0]]
    if numbers and not whole:
        return numbers, "number"
    which = f"{listing(whole)} could be the data" if whole else "none of these holds images, lists or numbers"
    raise ValueError(f"{holds}: {which}. Choose one, key='…', or several of numbers, columns=(…)")

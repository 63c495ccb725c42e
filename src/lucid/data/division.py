"""Training, validation and test: parts the source gives, a field's habit, or a seeded draw."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real

import torch
from torch import Tensor

from lucid.data.seeds import generator

__all__ = ["DEFAULT_FRACTION", "divide"]

DEFAULT_FRACTION = 0.1


def divide(
    num_examples: int,
    validation: float | None = None,
    test: float | None = None,
    *,
    seed: int = 0,
    given: Mapping[str, int] | None = None,
    habit: int | None = None,
) -> tuple[dict[str, Tensor], str]:
    """Which examples belong to which part.

    Args:
        num_examples: Of all parts together.
        validation: A fraction or a count, 0 for no such part; None for a tenth, or the habit.
        test: Likewise; None for a tenth.
        seed: Of the draw.
        given: Sizes of the parts that the source has, in their order.
        habit: Where the test part is official: the validation part is the last so many training examples, not drawn.

    Returns:
        Ascending rows of "train", "validation" and "test", and the division in words.

    Raises:
        TypeError, ValueError: If a part is asked for twice, is not a fraction or count, or nothing is left in a part.
    """
    given = given or {"train": num_examples}
    for name, value in (("validation", validation), ("test", test)):
        if name in given and value is not None:
            raise ValueError(f"the source has a {name} part of {given[name]} examples: leave {name}={value} out")
    rows: dict[str, Tensor] = {}
    first = 0
    for name, size in given.items():
        rows[name] = torch.arange(first, first + size)
        first += size
    available = len(rows["train"])
    counts = {
        name: _count(name, value, available)
        for name, value in (("validation", habit if validation is None and habit else validation), ("test", test))
        if name not in given
    }
    _check_room(available, counts)
    if habit:
        rows["train"], rows["validation"] = rows["train"].split(
            [available - counts["validation"], counts["validation"]]
        )
        words = f"official test set; validation the last {counts['validation']} of the training file"
    else:
        order = rows["train"][torch.randperm(available, generator=generator(seed, "split"))]
        for name, count in counts.items():
            rows[name], order = order[:count].sort().values, order[count:]
        rows["train"] = order.sort().values
        words = _words(given, counts, seed)
    sizes = "/".join(str(len(rows[name])) for name in ("train", "validation", "test"))
    return rows, f"split {sizes} ({words})"


def _words(given: Mapping[str, int], counts: Mapping[str, int], seed: int) -> str:
    own = [name for name in given if name != "train"]
    drawn = f"{' and '.join(counts)} drawn with seed {seed}" if counts else ""
    return "; ".join(part for part in (f"{' and '.join(own)} given" if own else "", drawn) if part)


def _count(name: str, value: float | None, available: int) -> int:
    value = DEFAULT_FRACTION if value is None else value
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a fraction or a count; received {value!r}")
    if isinstance(value, int):
        if value < 0:
            raise ValueError(f"{name} must be a fraction in [0, 1) or a count; received {value}")
        return value
    if value == 0:
        return 0
    if not 0 < value < 1:
        raise ValueError(f"{name} must be a fraction in [0, 1) or a whole count; received {value}")
    count = round(available * value)
    if count == 0:
        raise ValueError(
            f"{name}={value:g} of {available} example{'s' if available != 1 else ''} is none: give a larger fraction, "
            "a count, or more data"
        )
    return count


def _check_room(available: int, counts: Mapping[str, int]) -> None:
    taken = sum(counts.values())
    if taken >= available:
        asked = " and ".join(f"{name} {count}" for name, count in counts.items())
        raise ValueError(f"{asked} leave nothing to train on: there are {available} examples")

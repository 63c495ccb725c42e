"""Data for a likelihood of counts: the numbers as they are."""

from __future__ import annotations

from typing import Any

from lucid.cli.errors import UsageError

__all__ = ["for_counts"]

_OF_COUNTS = ("poisson", "negative-binomial", "zero-inflated-negative-binomial")


def for_counts(data: dict[str, Any], likelihood: object) -> dict[str, Any]:
    """How data is to be loaded: not scaled where the likelihood is one of counts, else as it was said.

    Args:
        data: What `lucid.data.load` is to be given.
        likelihood: What was said of p(x|z), a specification such as "poisson"; anything else is none of counts.

    Raises:
        UsageError: If the data is to be made into something else than counts.
    """
    name = str(likelihood).partition(":")[0]
    if name not in _OF_COUNTS:
        return data
    options = {"levels": "--levels", "scaling": "--scaling", "binarisation": "--binarise"}
    said = [option for key, option in options.items() if data.get(key) not in (None, "none")]
    if said:
        raise UsageError(f"{name} takes counts 0, 1, 2, … as they are: leave {' and '.join(said)} out")
    return {**data, "scaling": "none"}

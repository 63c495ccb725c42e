"""What the values of one column of a table are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["Column", "Kind"]

Kind = Literal["real", "positive", "count", "binary", "categorical", "ordinal"]
Category = str | bool | int | float


@dataclass(frozen=True)
class Column:
    r"""One column of a table: what its values are, and how they become the numbers a model sees.

    The kinds, and their values in model space:

    - "real", numbers: :math:`(x - \text{shift}) / \text{scale}`
    - "positive", numbers above 0: :math:`(\log x - \text{shift}) / \text{scale}`
    - "count", 0, 1, 2, …: themselves
    - "binary", two categories: 0 or 1
    - "categorical", categories without order: their number, 0, 1, …
    - "ordinal", categories in order: likewise

    A missing value is NaN in every kind.

    Args:
        name: Of the column.
        kind: One of the above.
        categories: Of binary, categorical and ordinal columns: the values, in the order of their numbers.
        dtype: The type of the column in a file or a frame, as Arrow names it; "dictionary" for categories that are
            declared there.
        pandas: The type in pandas, where the table came from there.
        shift: Of real and positive columns.
        scale: Likewise; positive.
        whole: Whether a real or positive column holds whole numbers only: what a model makes is rounded to them.

    Raises:
        ValueError: If the parts do not go together.

    Example:
        >>> from lucid.distributions import Column
        >>> Column("species", "categorical", categories=("Adelie", "Chinstrap", "Gentoo")).levels
        3
    """

    name: str
    kind: Kind
    categories: tuple[Category, ...] = ()
    dtype: str = "double"
    pandas: str = ""
    shift: float = 0.0
    scale: float = 1.0
    whole: bool = False

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}; received {self.kind!r}")
        least = {"binary": 2, "categorical": 2, "ordinal": 2}.get(self.kind, 0)
        if (least == 0) != (not self.categories) or len(self.categories) < least:
            needs = "no categories" if least == 0 else "at least two categories"
            raise ValueError(f"the {self.kind} column {self.name!r} has {needs}; received {self.categories!r}")
        if self.kind == "binary" and len(self.categories) != 2:
            raise ValueError(f"the binary column {self.name!r} has two categories; received {self.categories!r}")
        if len(set(self.categories)) != len(self.categories):
            raise ValueError(f"the categories of {self.name!r} must differ; received {self.categories!r}")
        if not (math.isfinite(self.shift) and 0 < self.scale < math.inf):
            raise ValueError(
                f"shift must be finite and scale finite and positive; {self.name!r} received {self.shift} and "
                f"{self.scale}"
            )
        if self.kind not in ("real", "positive") and (self.shift, self.scale) != (0.0, 1.0):
            raise ValueError(f"only real and positive columns are shifted and scaled; {self.name!r} is {self.kind}")

    @property
    def levels(self) -> int | None:
        """Number of categories; None for numbers."""
        return len(self.categories) or None

    @property
    def is_number(self) -> bool:
        """Whether the values are numbers: real, positive or counts."""
        return not self.categories

"""One figure of an evaluation, with everything that is needed to trust it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

__all__ = ["Figure", "check_figures", "rounded"]


@dataclass(frozen=True)
class Figure:
    """One measured quantity: its value, its standard error, and where both come from.

    Attributes:
        name: What it is, as people read it and unique within an evaluation: "IW bound, k = 100", "MIG".
        value: The estimate.
        standard_error: Of the estimate; what it is over (examples, seeds, resamples) is said by `estimator`. None where
            it has none.
        unit: "nats per example", "bits per dimension", "accuracy", "score in [0, 1]" …
        estimator: How the value and its standard error were made, in a few words.
        num_samples: Draws per example, or whatever the estimator draws; None where it draws nothing.
        num_examples: Examples it is from, each counted once.
        seed: Of the draws; None where nothing is drawn.
        split: Which part of the data: "test", "train", "tensor" …
        protocol: The data protocol in one line, as `DataProtocol.describe` words it; "not declared" without one.
        meaning: How to read it, in one sentence.
        warning: Why it should not be trusted as it stands, and what to do; None where nothing speaks against it.
        details: Whatever else belongs to it, as plain JSON values.

    Raises:
        TypeError: If a field is not of its type, or `details` holds what JSON cannot.
        ValueError: If the value or its standard error is not finite, the standard error or a count is negative, or a
            text that must say something is empty.

    Example:
        >>> found = Figure(
        ...     name="MIG",
        ...     value=0.31,
        ...     standard_error=0.02,
        ...     unit="score in [0, 1]",
        ...     estimator="20 bins",
        ...     num_samples=None,
        ...     num_examples=10_000,
        ...     seed=0,
        ...     split="test",
        ...     protocol="not declared",
        ...     meaning="1: one latent for each factor",
        ... )
        >>> str(found), Figure.from_json(found.to_json()) == found
        ('MIG: 0.310 ± 0.020 score in [0, 1]', True)
    """

    name: str
    value: float
    standard_error: float | None
    unit: str
    estimator: str
    num_samples: int | None
    num_examples: int
    seed: int | None
    split: str
    protocol: str
    meaning: str
    warning: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in ("name", "unit", "estimator", "split", "protocol", "meaning"):
            _check_text(key, getattr(self, key))
        if self.warning is not None:
            _check_text("warning", self.warning)
        object.__setattr__(self, "value", _number("value", self.value))
        if self.standard_error is not None:
            object.__setattr__(self, "standard_error", _number("standard_error", self.standard_error))
            if self.standard_error < 0:
                raise ValueError(f"standard_error must not be negative; {self.name} has {self.standard_error}")
        for key, least in (("num_samples", 0), ("num_examples", 0), ("seed", None)):
            _check_count(key, getattr(self, key), least, optional=key != "num_examples")
        object.__setattr__(self, "details", _as_json(self.name, self.details))

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary; `warning` and `details` only where there are any."""
        record = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        record["details"] = dict(self.details)
        return {key: value for key, value in record.items() if key not in ("warning", "details") or value}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Figure:
        """What `to_json` wrote, read back.

        Raises:
            ValueError: If a key is missing or unknown, or a value is not of its type.
        """
        try:
            return cls(**record)
        except TypeError as error:
            raise ValueError(f"this is not a figure as Figure.to_json writes it ({error})") from error

    def rounded(self) -> str:
        """The value and its standard error as people write them, to about two digits of the error."""
        return rounded(self.value, self.standard_error)

    def __str__(self) -> str:
        return f"{self.name}: {self.rounded()} {self.unit}"


def check_figures(figures: Iterable[Figure]) -> tuple[Figure, ...]:
    """The figures, as a tuple, if each has a name of its own.

    Raises:
        TypeError: If something else than a `Figure` is among them.
        ValueError: If two have one name.
    """
    found = tuple(figures)
    for figure in found:
        if not isinstance(figure, Figure):
            raise TypeError(f"figures must be lucid.evaluation.Figure records; received {type(figure).__name__}")
    names = [figure.name for figure in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"each figure of an evaluation needs a name of its own; received twice: {', '.join(twice)}")
    return found


def rounded(value: float, standard_error: float | None = None) -> str:
    """A value with its standard error, to about two digits of the error; without one, to about four digits.

    Args:
        value: The value.
        standard_error: Of the value.

    Example:
        >>> rounded(-84.4512, 0.0312), rounded(1234.5, 12.0), rounded(0.03125), rounded(8.0, 0.0)
        ('−84.451 ± 0.031', '1,234.5 ± 12.0', '0.03125', '8 ± 0')
    """
    if not standard_error:
        alone = _alone(value)
        return alone if standard_error is None else f"{alone} ± 0"
    decimals = 1 if standard_error >= 9.5 else next((n for n in range(2, 8) if standard_error * 10**n >= 9.5), 8)
    return f"{_written(value, decimals)} ± {standard_error:,.{decimals}f}"


def _alone(value: float) -> str:
    if value == int(value):
        return _written(value, 0)
    size = math.floor(math.log10(abs(value)))
    return _written(value, min(8, max(1, 3 - size)))


def _written(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}".replace("-", "−")


def _check_text(key: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{key} must be a text; received {value!r}")
    if not value.strip():
        raise ValueError(f"{key} must say something; received an empty text")


def _number(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{key} must be a number, such as float(tensor); received {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{key} must be finite; received {value}")
    return float(value)


def _check_count(key: str, value: object, least: int | None, *, optional: bool) -> None:
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{key} must be an int{' or None' if optional else ''}; received {value!r}")
    if least is not None and value < least:
        raise ValueError(f"{key} must be at least {least}; received {value}")


def _as_json(name: str, details: object) -> dict[str, Any]:
    """The details as JSON gives them back, so that a figure that was written and read equals itself."""
    if not isinstance(details, Mapping):
        raise TypeError(f"details must be a mapping of plain JSON values; {name} has {details!r}")
    try:
        return json.loads(json.dumps(dict(details), allow_nan=False))  # pyright: ignore[reportUnknownArgumentType]
    except (TypeError, ValueError) as error:
        raise TypeError(f"details must be plain, finite JSON values; those of {name} are not ({error})") from error

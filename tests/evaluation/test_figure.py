"""A figure says what it is, refuses what it is not, and reads back as it was written."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from lucid.evaluation import Figure
from lucid.evaluation.figure import check_figures, rounded


def figure(**changes: Any) -> Figure:
    fields: dict[str, Any] = {
        "name": "MIG",
        "value": 0.25,
        "standard_error": 0.01,
        "unit": "score in [0, 1]",
        "estimator": "20 bins",
        "num_samples": None,
        "num_examples": 100,
        "seed": 3,
        "split": "test",
        "protocol": "not declared",
        "meaning": "how far one latent tells a factor alone",
    }
    return Figure(**(fields | changes))


def test_what_is_written_as_json_is_read_back_as_it_was() -> None:
    for one in (
        figure(),
        figure(warning="too few", details={"bins": 20, "of": ("a", "b"), "nested": {"x": [1.5, None]}}),
        figure(standard_error=None, seed=None, value=3),
    ):
        assert Figure.from_json(json.loads(json.dumps(one.to_json(), allow_nan=False))) == one
    assert "warning" not in figure().to_json()
    assert isinstance(figure(value=3).value, float)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"value": math.nan}, ValueError, "value must be finite; received nan"),
        ({"value": "0.2"}, TypeError, "value must be a number"),
        ({"value": True}, TypeError, "value must be a number"),
        ({"standard_error": -0.1}, ValueError, "must not be negative"),
        ({"standard_error": math.inf}, ValueError, "standard_error must be finite"),
        ({"unit": " "}, ValueError, "unit must say something"),
        ({"meaning": None}, TypeError, "meaning must be a text"),
        ({"num_examples": None}, TypeError, "num_examples must be an int; received None"),
        ({"num_samples": 0.5}, TypeError, "num_samples must be an int or None"),
        ({"num_examples": -1}, ValueError, "num_examples must be at least 0"),
        ({"warning": ""}, ValueError, "warning must say something"),
        ({"details": {"x": math.nan}}, TypeError, "details must be plain, finite JSON"),
        ({"details": {"x": {1, 2}}}, TypeError, "details must be plain, finite JSON"),
        ({"details": [1]}, TypeError, "details must be a mapping"),
    ],
)
def test_a_figure_that_says_nothing_or_nonsense_is_refused(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        figure(**changes)


def test_a_record_with_other_keys_is_no_figure() -> None:
    record = figure().to_json()
    for changed in ({**record, "colour": "red"}, {key: value for key, value in record.items() if key != "unit"}):
        with pytest.raises(ValueError, match=r"not a figure as Figure\.to_json writes it"):
            Figure.from_json(changed)


def test_two_figures_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="received twice: MIG"):
        check_figures([figure(), figure(name="SAP"), figure(value=0.5)])
    with pytest.raises(TypeError, match="received str"):
        check_figures(["MIG"])


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (-84.4512, 0.0312, "−84.451 ± 0.031"),
        (-84.4512, 0.951, "−84.45 ± 0.95"),
        (12345.678, 33.3, "12,345.7 ± 33.3"),
        (9.00187, 0.000042, "9.001870 ± 0.000042"),
        (8.0, 0.0, "8 ± 0"),
        (0.083333, 0.0, "0.08333 ± 0"),
        (0.0001234, None, "0.0001234"),
        (1234.0, None, "1,234"),
        (0.0, None, "0"),
    ],
)
def test_values_are_written_to_about_two_digits_of_their_error(value: float, error: float | None, text: str) -> None:
    assert rounded(value, error) == text

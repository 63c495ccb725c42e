"""The page of errors: every row of it is an error."""

from __future__ import annotations

import pytest
from tests.error_table import artefact_rows, cell


@pytest.mark.parametrize("row", list(artefact_rows()), ids=lambda row: row[0])
def test_every_damage_of_a_saved_model_is_an_error_in_words(row: tuple[str, str, str]) -> None:
    _, kind, text = row
    assert kind in ("ValueError", "FileNotFoundError")
    assert len(text) > 30


def test_a_cell_stays_one_cell() -> None:
    assert cell("a|b\n c_d") == "a\\|b c\\_d"

"""What a network reads of a table."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

import lucid
from lucid import nn

NAN = math.nan


def test_each_kind_is_read_as_it_says() -> None:
    layer = nn.TableInput([0, 3, 0, 2], counts=[2])
    x = torch.tensor([[0.5, 2.0, 7.0, 1.0], [NAN, NAN, NAN, NAN]])
    expected = torch.tensor(
        [
            [0.5, math.log(8.0), 0, 0, 1, 0, 1, 1, 1, 1, 1],
            [0.0] * 11,
        ]
    )
    assert layer.out_features == 11
    torch.testing.assert_close(layer(x), expected)


def test_a_missing_value_is_told_from_one_that_is_zero() -> None:
    layer = nn.TableInput([0, 2])
    there, missing = layer(torch.tensor([[0.0, 0.0]])), layer(torch.tensor([[NAN, NAN]]))
    assert there.tolist() == [[0.0, 1.0, 0.0, 1.0, 1.0]]
    assert missing.tolist() == [[0.0] * 5]


def test_dropout_hides_observed_values_in_training_alone() -> None:
    layer = nn.TableInput([0], dropout=0.25)
    x = torch.ones(4000, 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        read = layer(x)
    assert torch.equal(read[:, 0], read[:, 1])  # the value and its mark go together
    assert float(read[:, 1].mean()) == pytest.approx(0.75, abs=4 * math.sqrt(0.25 * 0.75 / 4000))
    assert torch.equal(layer.eval()(x), torch.ones(4000, 2))


def test_it_is_saved_with_a_model(tmp_path: Path) -> None:
    model = nn.Sequential(nn.TableInput([0, 3], counts=[0], dropout=0.5), nn.Linear(6, 2))
    lucid.save(model, tmp_path / "m")
    again = lucid.load(tmp_path / "m")
    x = torch.tensor([[3.0, NAN]])
    assert torch.equal(again.eval()(x), model.eval()(x))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"levels": [1]}, "levels must be 0 or at least 2"),
        ({"levels": []}, "one or more columns"),
        ({"levels": [0, 3], "counts": [1]}, r"counts must be places of columns of numbers; received \[1\]"),
        ({"levels": [0], "dropout": 1.0}, r"dropout must be in \[0, 1\)"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        nn.TableInput(**options)  # pyright: ignore[reportArgumentType]

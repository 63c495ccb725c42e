"""`DataProtocol`: raw to model space and back, and what it refuses."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch

from lucid.models import DataProtocol


def protocol(**options: Any) -> DataProtocol:
    return DataProtocol(**{"name": "toy", "kind": "vector", "shape": (3,), **options})


@pytest.mark.parametrize(
    ("levels", "dtype"), [(2, torch.uint8), (17, torch.uint8), (256, torch.uint8), (4096, torch.int32)]
)
def test_every_level_comes_back_exactly(levels: int, dtype: torch.dtype) -> None:
    declared = protocol(levels=levels)
    raw = torch.arange(levels, dtype=dtype)
    x = declared.to_model(raw)
    assert x.dtype == torch.float32
    assert (float(x.min()), float(x.max())) == (0.0, 1.0)
    back = declared.to_data(x)
    assert back.dtype == dtype
    assert torch.equal(back, raw)
    # Model output between and beyond the levels goes to the nearest one.
    assert declared.to_data(torch.tensor([-3.0, 0.4 / (levels - 1), 9.0])).tolist() == [0, 0, levels - 1]


@pytest.mark.parametrize(
    ("shift", "scale"), [(0.0, 1.0), (2.0, 4.0), ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)), (1.0, (4.0, 5.0, 6.0))]
)
def test_continuous_data_is_standardised_and_back(shift: Any, scale: Any) -> None:
    declared = protocol(shift=shift, scale=scale)
    raw = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = declared.to_model(raw)
    assert x.dtype == torch.float64
    torch.testing.assert_close(x, (raw - torch.tensor(shift).double()) / torch.tensor(scale).double())
    torch.testing.assert_close(declared.to_data(x), raw)


def test_binarising_draws_ones_at_their_probability() -> None:
    declared = protocol(levels=256, binarisation="dynamic")
    x = torch.tensor([0.0, 0.25, 1.0]).expand(20_000, 3)
    drawn = declared.binarise(x, torch.Generator().manual_seed(0))
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert drawn[:, 0].eq(0).all()
    assert drawn[:, 2].eq(1).all()
    assert float(drawn[:, 1].mean()) == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 20_000))
    assert torch.equal(drawn, declared.binarise(x, torch.Generator().manual_seed(0)))
    assert (declared.levels, declared.model_levels) == (256, 2)


def test_sizes_and_words() -> None:
    image = protocol(name="digits", kind="image", shape=(1, 8, 8), levels=17, split="80/10/10")
    assert (image.num_features, image.model_levels) == (64, 17)
    assert image.describe() == "digits; image 1×8×8; 17 levels; 80/10/10"
    assert protocol().model_levels is None
    assert protocol().describe() == "toy; vector 3; continuous"
    assert "binarised once (seed 7)" in protocol(levels=2, binarisation="static", seed=7).describe()
    assert "binarised at each visit" in protocol(levels=2, binarisation="dynamic").describe()
    assert "scaled units" in protocol(shift=1.0, scale=2.0).describe()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "video"}, "kind must be one of image, table, series, vector; received 'video'"),
        ({"shape": ()}, "shape must list the positive sizes"),
        ({"shape": (3, 0)}, "shape must list the positive sizes"),
        ({"levels": 1}, "levels must be at least 2, or None for continuous data; received 1"),
        ({"binarisation": "once"}, "binarisation must be one of none, static, dynamic; received 'once'"),
        ({"scale": 0.0}, "scale must be finite and positive; received 0.0"),
        ({"scale": (1.0, -1.0, 1.0)}, "scale must be finite and positive"),
        ({"scale": math.inf}, "scale must be finite and positive"),
        ({"shift": math.nan}, "shift must be finite; received nan"),
        ({"shift": (1.0, 2.0)}, "shift must have one number per element of the last dimension, 3; it has 2"),
        ({"levels": 17, "scale": 2.0}, "data with declared levels is scaled by them"),
    ],
)
def test_what_is_wrong_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        protocol(**change)


def test_it_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        protocol().levels = 3  # pyright: ignore[reportAttributeAccessIssue]

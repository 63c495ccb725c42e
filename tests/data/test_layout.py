"""Which axis is which: what is inferred, and that writing back undoes it."""

from __future__ import annotations

import pytest
import torch

from lucid.data.layout import arrange, restore


@pytest.mark.parametrize(
    ("shape", "kind", "layout", "expected"),
    [
        ((9, 5), None, None, ("vector", None, (5,))),
        ((9, 5), "table", None, ("table", None, (5,))),
        ((9, 5), "series", None, ("series", "NT", (1, 5))),
        ((9, 2, 5), "series", None, ("series", "NCT", (2, 5))),
        ((9, 5, 2), None, "NTC", ("series", "NTC", (2, 5))),
        ((9, 8, 6), None, None, ("image", "NHW", (1, 8, 6))),
        ((9, 8, 6, 3), None, None, ("image", "NHWC", (3, 8, 6))),
        ((9, 4, 8, 6), None, None, ("image", "NCHW", (4, 8, 6))),
        ((9, 8, 6, 1), "image", None, ("image", "NHWC", (1, 8, 6))),
        ((9, 3, 8, 3), None, "NCHW", ("image", "NCHW", (3, 8, 3))),
        ((9, 3, 8, 3), None, "NHWC", ("image", "NHWC", (3, 3, 8))),
        ((9, 12, 8, 6), None, "NCHW", ("image", "NCHW", (12, 8, 6))),
        ((9, 2, 3, 4, 5), "vector", None, ("vector", None, (120,))),
    ],
)
def test_shapes_are_read_as_documented(shape, kind, layout, expected) -> None:
    x = torch.arange(float(torch.Size(shape).numel())).reshape(shape)
    arranged, found_kind, found_layout = arrange(x, kind, layout)
    assert (found_kind, found_layout, tuple(arranged.shape[1:])) == expected
    assert arranged.is_contiguous()
    if found_layout is not None:
        assert torch.equal(restore(arranged, found_layout, tuple(arranged.shape[1:])), x)


def test_channels_move_with_their_pixels() -> None:
    x = torch.arange(2 * 6 * 5 * 3).reshape(2, 6, 5, 3)
    arranged, _, _ = arrange(x, None, None)
    assert int(arranged[1, 2, 3, 4]) == int(x[1, 3, 4, 2])


@pytest.mark.parametrize(
    ("shape", "kind", "layout", "message"),
    [
        ((9,), None, None, r"must be \(examples, features, ...\); received shape \(9,\)"),
        ((9, 3, 8, 3), None, None, "either of two dimensions could be the channels: give layout="),
        ((9, 7, 8, 9), None, None, "no dimension with 1, 3 or 4 entries can be the channels"),
        ((9, 2, 3, 4, 5), None, None, "kind='vector' to flatten"),
        ((9, 5), "image", None, "an image is"),
        ((9, 2, 3), "table", None, "a table is"),
        ((9, 2, 3, 4), "series", None, "a series is"),
        ((9, 5), None, "NHW", "names 3 dimensions and the data has 2"),
        ((9, 5), "image", "NT", "belongs to the kind 'series', and kind says 'image'"),
        ((9, 5), None, "HWC", "layout must be one of"),
        ((9, 5), "sound", None, "kind must be"),
        ((0, 5), None, None, "the data is empty"),
        ((9, 0), None, None, "the data is empty"),
    ],
)
def test_what_does_not_fit_is_refused(shape, kind, layout, message) -> None:
    with pytest.raises(ValueError, match=message):
        arrange(torch.zeros(shape), kind, layout)

"""Arrays become levels and come back bit for bit, whatever their type and axes; what is off the grid is refused."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.codec.inputs.plain_codec import images, prepared, table

from lucid.codec.errors import CodecError
from lucid.codec.inputs.arrays import form_from_json, form_of, form_to_json, levels_of, restored
from lucid.codec.layout import DataLayout
from lucid.models import DataProtocol

K = np.random.default_rng(0).integers(0, 17, (5, 3, 8, 6))
DTYPES = ["|u1", "|i1", "<i2", ">i2", "<u2", "<i4", "<u4", "<i8", "<u8", ">u8", "<f2", "<f4", ">f4", "<f8", ">f8"]
RGB17 = images(17, 3).data


def same_bits(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.shape == b.shape and raw(a) == raw(b)
    return isinstance(b, np.ndarray) and (a.dtype.str, a.shape, a.tobytes()) == (b.dtype.str, b.shape, b.tobytes())


def raw(x: torch.Tensor) -> bytes:
    return x.contiguous().view(torch.uint8).numpy().tobytes()


def back(x: Any, data: DataLayout) -> Any:
    levels, form = levels_of(x, data)
    assert levels.dtype == torch.int64
    assert tuple(levels.shape[1:]) == data.shape
    return restored(levels, form, data)


@pytest.mark.parametrize("dtype", DTYPES)
def test_whole_numbers_of_every_type_come_back(dtype: str) -> None:
    x = K.astype(dtype)
    assert torch.equal(levels_of(x, RGB17)[0], torch.from_numpy(K))
    assert same_bits(back(x, RGB17), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("levels", [2, 17, 256])
def test_what_a_model_sees_comes_back(dtype: torch.dtype, levels: int) -> None:
    k = torch.arange(levels).repeat(2, 1)
    data = prepared(DataProtocol("v", "vector", (levels,), levels=levels)).data
    x = k.to(dtype) / (levels - 1)
    if len(x.unique()) == levels:  # bfloat16 cannot tell 256 levels apart
        assert torch.equal(levels_of(x, data)[0], k)
    assert same_bits(back(x, data), x)
    assert same_bits(back(x.numpy(), data), x.numpy()) if dtype != torch.bfloat16 else True


def test_the_division_is_the_one_of_the_data_protocol() -> None:
    protocol = DataProtocol("v", "vector", (256,), levels=256)
    x = protocol.to_model(torch.arange(256, dtype=torch.uint8).unsqueeze(0))
    assert same_bits(back(x, prepared(protocol).data), x)


@pytest.mark.parametrize("axes", ["NHWC", "NCHW"])
def test_axes_are_told_apart_and_come_back(axes: str) -> None:
    x = K.astype(np.uint8)
    given = np.ascontiguousarray(np.moveaxis(x, 1, 3)) if axes == "NHWC" else x
    for reading in ({}, {"layout": "NHWC"}, {"layout": "NCHW"}):
        data = images(17, 3, reading=reading).data
        assert torch.equal(levels_of(given, data)[0], torch.from_numpy(K))
        assert same_bits(back(given, data), given)


def test_where_both_axes_are_possible_the_model_s_own_decide() -> None:
    x = np.random.default_rng(1).integers(0, 17, (2, 3, 4, 3)).astype(np.uint8)
    data = images(17, 3, (4, 3), reading={"layout": "NHWC"}).data
    assert torch.equal(levels_of(x, data)[0], torch.from_numpy(x.astype(np.int64)))  # (3, 4, 3) last is no (4, 3)
    cube = np.random.default_rng(1).integers(0, 17, (2, 3, 3, 3)).astype(np.uint8)
    data = images(17, 3, (3, 3), reading={"layout": "NHWC"}).data
    assert torch.equal(levels_of(cube, data)[0], torch.from_numpy(cube.astype(np.int64)).movedim(3, 1))
    assert same_bits(back(cube, data), cube)


def test_grey_images_series_and_flattened_examples() -> None:
    grey = K[:, 0].astype(np.uint8)
    assert same_bits(back(grey, images(17).data), grey)
    series = prepared(DataProtocol("s", "series", (3, 9), levels=17)).data
    for shape in ((4, 3, 9), (4, 9, 3)):
        x = np.random.default_rng(2).integers(0, 17, shape)
        assert same_bits(back(x, series), x)
    flat = prepared(DataProtocol("v", "vector", (48,), levels=17)).data
    assert levels_of(grey, flat)[0].shape == (5, 48)
    assert same_bits(back(grey, flat), grey)


def test_views_booleans_and_nothing_at_all() -> None:
    x = torch.from_numpy(K.astype(np.uint8)).movedim(0, 0)[::2].flip(3)
    assert same_bits(back(x, RGB17), x.contiguous())
    bits = images(2).data
    b = K[:, 0] > 8
    assert same_bits(back(b, bits), b)
    assert same_bits(back(torch.from_numpy(b), bits), torch.from_numpy(b))
    empty = np.zeros((0, 3, 8, 6), np.float32)
    assert same_bits(back(empty, RGB17), empty)


def test_a_table_in_an_array_with_missing_values() -> None:
    import pandas as pd

    frame = pd.DataFrame({"c": [0, 3, 40, 7] * 10, "k": ["a", "b", "c", None] * 10})
    data = table(frame, columns={"c": "count", "k": "categorical"}).data
    x = np.array([[3.0, np.nan], [1e9, 2.0]])
    levels, _ = levels_of(x, data)
    assert levels.tolist() == [[3, -1], [10**9, 2]]
    assert same_bits(back(x, data), x)
    for bad, message in (
        ([[3.0, 3.0]], "the column 'k' of x holds 3 in row 0; the model knows whole numbers 0 … 2 there, and NaN"),
        ([[-1.0, 0.0]], "the column 'c' of x holds -1 in row 0; the model knows counts 0, 1, 2, … 2147483646 there"),
        ([[1.5, 0.0]], "the column 'c' of x holds 1.5 in row 0"),
    ):
        with pytest.raises(ValueError, match=message.replace(".", r"\.").replace("…", ".")):
            levels_of(np.array(bad), data)
    odd = np.array([[3.0, np.nan]])
    odd.view(np.int64)[0, 1] |= -(2**63)  # NaN with a sign, which would come back without
    with pytest.raises(ValueError, match="holds nan in row 0"):
        levels_of(odd, data)


def test_counts_end_where_the_entropy_coder_does() -> None:
    data = prepared(DataProtocol("n", "vector", (2,), reading={"scaling": "none"})).data
    for dtype in (np.int64, np.float64):
        x = np.array([[0, 2**31 - 2]], dtype=dtype)
        assert same_bits(back(x, data), x)
    for bad in (-1, 2**31 - 1, 2**62):
        with pytest.raises(ValueError, match=r"in example 0; the model knows counts 0, 1, 2, … 2147483646"):
            levels_of(np.array([[0, bad]]), data)


REFUSED = [
    (np.full((2, 8, 6), 17), 17, "x holds 17 in example 0; the model has 17 levels: whole numbers 0 … 16, or floating"),
    (np.full((2, 8, 6), -1), 17, "x holds -1 in example 0"),
    (
        np.full((2, 8, 6), 0.3),
        17,
        r"k / 16, exactly\. What was rounded on the way is brought back by \(x \* 16\)\.round",
    ),
    (np.full((2, 8, 6), np.nan), 17, "x holds nan in example 0"),
    (np.full((2, 8, 6), -0.0), 17, r"x holds -0\.0 in example 0"),
    (np.full((2, 8, 6), np.inf), 17, "x holds inf in example 0"),
    (np.full((2, 8, 6), 0.5), 2, "the model knows 0 and 1 alone. It was trained on binarised data"),
    (np.full((2, 8, 6), 200, np.uint8), 2, "binarise them first, for instance x > x.max"),
    (np.zeros((2, 7, 6)), 17, r"x has the shape \(2, 7, 6\), and the model codes examples of shape \(1, 8, 6\)"),
    (np.zeros((8, 6)), 17, r"x has the shape \(8, 6\)"),
]


@pytest.mark.parametrize(("x", "levels", "message"), REFUSED)
def test_what_does_not_lie_on_the_grid_is_refused(x: np.ndarray, levels: int, message: str) -> None:
    for array in (x, torch.from_numpy(x)):
        with pytest.raises(ValueError, match=message):
            levels_of(array, images(levels).data)


def test_no_array_is_refused_by_type() -> None:
    for thing in ([[0]], "x", None):
        with pytest.raises(TypeError, match="a codec takes NumPy arrays and PyTorch tensors; received"):
            levels_of(thing, RGB17)
    with pytest.raises(TypeError, match="real numbers"):
        levels_of(np.zeros((1, 3, 8, 6), complex), RGB17)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 65536), st.sampled_from([np.float32, np.float64]), st.integers(0, 2**32 - 1))
def test_either_the_same_bits_or_an_error(levels: int, dtype: type, seed: int) -> None:
    """Also one unit in the last place beside the grid."""
    rng = np.random.default_rng(seed)
    data = prepared(DataProtocol("v", "vector", (20,), levels=levels)).data
    x = (rng.integers(0, levels, (3, 20)).astype(dtype) / dtype(levels - 1)).astype(dtype)
    assert same_bits(back(x, data), x)
    beside = x.copy()
    beside[1, 7] = np.nextafter(beside[1, 7], dtype(beside[1, 7] == 0))
    with pytest.raises(ValueError, match="in example 1"):
        levels_of(beside, data)


def test_a_form_from_a_file_is_doubted() -> None:
    for shape, dtype, own in (((2, 8, 6, 3), "<f4", torch.float32), ((2, 3, 8, 6), "|u1", torch.uint8)):
        form = form_of(shape, dtype, own, (0, 1), RGB17, "x")
        assert form_from_json(form_to_json(form), RGB17) == form
    flat = prepared(DataProtocol("v", "vector", (48,), levels=17)).data
    form = form_of((2, 8, 6), "|u1", torch.uint8, (0, 1), flat, "x")
    assert form_from_json(form_to_json(form), flat) == form
    for shape in ([8, 7], "abc", [8, 6, -1], [8.0, 6], [2**70], None):
        with pytest.raises(CodecError):
            form_from_json({**form_to_json(form), "shape": shape}, flat)
    sound = {"dtype": "<f4", "axes": "NHWC", "scale": "unit"}
    assert form_from_json(sound, RGB17).shape == (8, 6, 3)
    changes: list[tuple[str, Any]] = []
    changes += product(["dtype"], ["|O", "x", "<U3", "<f16", "V8", 3, "<u1,<u1", "|u1"])
    changes += product(["axes"], ["NHW", "NT", "NQ", 3, ["NHWC"], "flat"])
    changes += product(["scale"], ["half", None, []])
    for name, value in changes:
        with pytest.raises(CodecError):
            form_from_json({**sound, name: value}, RGB17)

"""Drawings: numbers keep their digits, tiles show the data's own pixels, and names do not cover one another."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import numpy as np
import torch
from PIL import Image
from tests.report.worlds import World, digits, pictures

from lucid.report.drawing import INK, draw, placeholder, short_number
from lucid.report.images import reconstructions
from lucid.report.latents import _stacked
from lucid.report.look import Look


def test_numbers_on_an_axis_are_not_rounded_with_the_coordinates() -> None:
    def paint(axes: Any) -> None:
        axes.plot([0.0012345, 0.0098765], [1 / 3, 2 / 3], color=INK)
        axes.set_xticks([0.0025, 0.0075])

    svg = draw("digits", paint, "a line")
    assert ">0.0025<" in svg
    assert ">0.0075<" in svg
    coordinates = re.findall(r' d="([^"]+)"', svg)
    assert all(len(number.split(".")[1]) <= 2 for path in coordinates for number in re.findall(r"\d+\.\d+", path))


def test_users_texts_replace_placeholders_once() -> None:
    def paint(axes: Any) -> None:
        axes.text(0.5, 0.5, placeholder(0))
        axes.text(0.5, 0.7, placeholder(1))

    svg = draw("texts", paint, "two names", texts={0: placeholder(1), 1: "<&>"})
    assert svg.count("[[1]]") == 1
    assert svg.count("&lt;&amp;&gt;") == 1


def test_large_numbers_are_written_short() -> None:
    assert [short_number(n) for n in (0, 950, 9999, 12000, -12500, 2.5e6)] == [
        "0",
        "950",
        "9,999",
        "12 k",
        "−12.5 k",
        "2.5 M",
    ]


def tiles(world: World) -> list[np.ndarray]:
    html = reconstructions(Look.at(world.model, world.dataset))
    sources = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(source)))) for source in sources]


def test_tiles_of_levels_span_black_to_white_exactly() -> None:
    world = digits()
    raw = world.dataset.test.raw[0, 0].numpy().astype(float)
    np.testing.assert_array_equal(tiles(world)[0], np.round(raw / 16 * 255).astype(np.uint8))


def test_tiles_of_colour_and_transparency_are_the_bytes_of_the_file() -> None:
    for shape in ((3, 12, 10), (4, 8, 8)):
        world = pictures(shape)
        np.testing.assert_array_equal(tiles(world)[0], world.dataset.test.raw[0].permute(1, 2, 0).numpy())


def test_every_input_is_followed_by_its_reconstruction() -> None:
    world = digits()
    drawn = tiles(world)
    x = world.dataset.test.tensor(limit=3)
    means = (world.model.reconstruct(x).clamp(0, 1) * 255).round().to(torch.uint8)
    for i in range(3):
        np.testing.assert_array_equal(drawn[2 * i + 1], means[i, 0].numpy())


def test_names_at_one_place_are_set_apart() -> None:
    heights = _stacked([(0.0, 0.0), (0.1, 0.0), (5.0, 0.0)], [2.0, 2.0, 2.0], 1.0)
    assert abs(heights[0] - heights[1]) >= 0.98
    assert heights[2] == 0.0

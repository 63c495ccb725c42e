"""Further data under a protocol: read the same way, or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lucid.data import load, load_like, write
from lucid.models import DataProtocol


def images(n: int = 20) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 6, 5, 3), dtype=np.uint8)


def test_a_single_example_is_read_by_the_protocol() -> None:
    protocol = load(images()).protocol
    one = load_like(images()[:1], protocol)
    assert len(one) == 1
    assert torch.equal(one.raw[0], torch.from_numpy(images()[0]).movedim(-1, 0))
    assert one.tensor().dtype == torch.float32


def test_examples_may_come_in_the_model_s_own_shape() -> None:
    data = load(images())
    assert torch.equal(load_like(data.test.raw, data.protocol).raw, data.test.raw)


def test_what_write_wrote_is_read_back(tmp_path: Path) -> None:
    data = load(images())
    for name in ("x.npy", "x.npz", "pictures"):
        write(data.train.raw, tmp_path / name, data.protocol)
        assert torch.equal(load_like(tmp_path / name, data.protocol).raw, data.train.raw)


def test_images_are_resized_as_in_training(tmp_path: Path) -> None:
    for i, image in enumerate(images()):
        Image.fromarray(image).save(tmp_path / f"{i:02d}.png")
    protocol = load(tmp_path, resize=(4, 4), crop="centre", channels="grey").protocol
    (tmp_path / "more").mkdir()
    Image.fromarray(np.zeros((30, 9, 4), np.uint8)).save(tmp_path / "more" / "a.png")
    assert load_like(tmp_path / "more", protocol).raw.shape == (1, 1, 4, 4)


def test_a_table_keeps_its_scaling_and_the_order_of_its_columns(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": np.arange(20.0), "b": 100 + np.arange(20.0)})
    protocol = load(table).protocol
    further = pd.DataFrame({"name": ["p", "q"], "b": [100.0, 101.0], "a": [0.0, 1.0]})
    further.to_csv(tmp_path / "f.csv", index=False)
    expected = protocol.to_model(torch.tensor([[0.0, 100.0], [1.0, 101.0]], dtype=torch.float64)).float()
    for source in (further, tmp_path / "f.csv"):
        assert torch.equal(load_like(source, protocol).tensor(), expected)
    labelled = load_like(further, replace(protocol, classes=("p", "q")), labels="name")
    assert labelled.labels is not None
    assert labelled.labels.tolist() == [0, 1]


def test_a_part_of_the_training_file_is_the_same_part(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", images())
    data = load(tmp_path / "x.npy", test=5, seed=3, binarisation="static")
    again = load_like(tmp_path / "x.npy", data.protocol, part="test")
    assert torch.equal(again.raw, data.test.raw)
    assert torch.equal(again.tensor(), data.test.tensor())
    assert len(load_like(tmp_path / "x.npy", data.protocol)) == 20


def test_a_named_set_gives_its_test_part() -> None:
    data = load("digits", test=0.2, seed=1)
    again = load_like("digits", data.protocol)
    assert torch.equal(again.raw, data.test.raw)
    assert again.labels is not None
    assert data.test.labels is not None
    assert torch.equal(again.labels, data.test.labels)


def test_unknown_folders_are_no_labels(tmp_path: Path) -> None:
    for i, image in enumerate(images()):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "ab"[i % 2] / f"{i:02d}.png")
    protocol = load(tmp_path).protocol
    (tmp_path / "further" / "new").mkdir(parents=True)
    Image.fromarray(images()[0]).save(tmp_path / "further" / "new" / "x.png")
    assert load_like(tmp_path / "further", protocol).labels is None
    (tmp_path / "further" / "new").rename(tmp_path / "further" / "b")
    labels = load_like(tmp_path / "further", protocol).labels
    assert labels is not None
    assert labels.tolist() == [1]


IMAGE = DataProtocol(name="p", kind="image", shape=(1, 6, 5), levels=17, reading={"layout": "NHW"})
TABLE = DataProtocol(name="t", kind="table", shape=(2,), columns=("a", "b"))


@pytest.mark.parametrize(
    ("source", "protocol", "message"),
    [
        (np.zeros((3, 6, 6), np.uint8), IMAGE, r"examples of shape \(1, 6, 6\); the protocol of 'p' says \(1, 6, 5\)"),
        (np.full((3, 6, 5), 17), IMAGE, "declares whole numbers 0 to 16; the data holds values from 17 to 17"),
        (np.full((3, 6, 5), -1), IMAGE, "the data holds values from -1 to -1"),
        (np.full((3, 6, 5), 0.5), IMAGE, r"the data holds 0.5. Data scaled to \[0, 1\] is brought back"),
        (np.zeros((3, 30)), IMAGE, "an image is"),
        (np.zeros((0, 6, 5)), IMAGE, "the data is empty"),
        (pd.DataFrame({"a": [1.0], "c": [1.0]}), TABLE, "columns= names 'b'; the table has the columns a, c"),
        (pd.DataFrame({"a": [1.0], "b": [None]}), TABLE, "values are missing, or are not numbers, in 'b'"),
        (np.array([[1.0, np.nan]]), TABLE, "1 NaN and 0 infinite values, the first in example 0"),
        (
            np.full((2, 2), 1.5),
            replace(TABLE, binarisation="static"),
            "binarisation takes each value as the probability",
        ),
    ],
)
def test_what_does_not_fit_is_refused(source: Any, protocol: DataProtocol, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_like(source, protocol)

"""What values mean: levels, scaling, protocol, and the description from which the same data is loaded again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lucid.data import load


@pytest.mark.parametrize("levels", [2, 17, 256, 257, 1000, 65536])
def test_integers_come_back_exactly(levels: int) -> None:
    values = np.resize(np.arange(levels), (20, -(-levels // 20)))
    data = load(values, levels=levels)
    split = data.train
    assert split.raw.dtype == (torch.uint8 if levels <= 256 else torch.int16 if levels <= 2**15 else torch.int32)
    x = split.tensor()
    assert float(x.min()) >= 0
    assert float(x.max()) <= 1
    assert torch.equal(data.protocol.to_data(x).long(), split.raw.long())


@pytest.mark.parametrize("scaling", ["none", "standardise", "unit"])
def test_continuous_values_come_back_to_rounding(scaling: str) -> None:
    values = np.random.default_rng(0).normal(5, 3, (200, 4))
    data = load(values, scaling=scaling)
    back = data.protocol.to_data(data.test.tensor()).double()
    torch.testing.assert_close(back, data.test.raw, atol=1e-5, rtol=1e-5)


def test_scaling_is_measured_on_the_training_part_alone() -> None:
    x = {
        "train": np.array([[0.0], [10.0], [20.0]] * 4),
        "validation": np.full((2, 1), 500.0),
        "test": np.full((2, 1), 900.0),
    }
    standardised = load(x, scaling="standardise")
    assert standardised.protocol.shift == pytest.approx(10)
    assert standardised.protocol.scale == pytest.approx(np.sqrt(200 / 3))
    unit = load(x, scaling="unit")
    assert (unit.protocol.shift, unit.protocol.scale) == (0.0, 20.0)
    assert float(unit.test.tensor().max()) == 45.0


def test_levels_are_inferred_only_where_the_type_says_them() -> None:
    images = np.random.default_rng(0).integers(0, 256, (30, 6, 6), dtype=np.uint8)
    data = load(images)
    assert data.protocol.levels == 256
    assert data.protocol.reading["levels"] == "256, inferred from uint8"
    assert load(images > 90).protocol.levels == 2
    continuous = load(images, scaling="none").protocol
    assert continuous.levels is None
    for quiet in (images % 100, images.astype(np.int64)):
        with pytest.raises(ValueError, match="does not say how many levels"):
            load(quiet)


def test_whole_floats_may_have_levels_and_fractions_may_not() -> None:
    grid = np.random.default_rng(0).integers(0, 4, (30, 6)).astype(np.float32)
    assert load(grid, levels=4).train.raw.dtype == torch.uint8
    with pytest.raises(ValueError, match=r"brought back by \(x \* 3\).round\(\)"):
        load(grid / 3, levels=4)


def test_kind_overrides_what_a_source_says_of_itself() -> None:
    data = load("digits", kind="vector")
    assert (data.protocol.kind, data.protocol.shape, data.protocol.levels) == ("vector", (64,), 17)


def test_binarised_data_says_so() -> None:
    data = load(np.random.default_rng(0).random((40, 6)), binarisation="dynamic", seed=7)
    assert data.protocol.model_levels == 2
    assert "evaluation binarised once (seed 7)" in data.protocol.describe()


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_source_gives_the_same_dataset_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).integers(0, 5, (50, 5, 5, 1))
    (np.save if name == "x.npy" else np.savez)(name, x)
    np.save("y.npy", np.arange(50))
    options = {"labels": "y.npy"} if name == "x.npy" else {"key": "arr_0"}
    data = load(name, levels=5, seed=3, validation=7, test=0.2, binarisation="static", **options)
    monkeypatch.chdir("/")
    source = json.loads(json.dumps(data.source))
    again = load(**source)
    assert again.protocol == data.protocol
    assert again.source == data.source
    for part in ("train", "validation", "test"):
        one, other = getattr(data, part), getattr(again, part)
        assert torch.equal(one.raw, other.raw)
        assert torch.equal(one.tensor(), other.tensor())
        assert one.labels is None or torch.equal(one.labels, other.labels)


def test_objects_in_memory_have_no_source() -> None:
    assert load(np.zeros((20, 2))).source is None


def test_lists_read_only_and_foreign_byte_orders_are_taken() -> None:
    x = np.arange(40.0).reshape(20, 2)
    frozen = x.copy()
    frozen.setflags(write=False)
    for same in (x.tolist(), frozen, x.astype(">f8"), np.asfortranarray(x), x[::-1][::-1], torch.from_numpy(x)):
        assert torch.equal(load(same).train.raw.double(), load(x).train.raw)


def test_text_labels_become_classes() -> None:
    labels = ["cat", "dog"] * 10
    data = load(np.zeros((20, 2)), labels=labels)
    assert data.protocol.classes == ("cat", "dog")
    assert data.train.labels is not None
    rows = data.train.rows.tolist()
    assert data.train.labels.tolist() == [r % 2 for r in rows]


def test_importing_the_room_loads_no_reader() -> None:
    code = "import sys, lucid.data; print([m for m in ('pyarrow', 'pandas', 'PIL', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

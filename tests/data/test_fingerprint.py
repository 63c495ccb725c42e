"""Fingerprints: equal for equal data however it is held, different for a change, cheap."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from lucid.data import fingerprint as room
from lucid.data import load

DIGITS = np.random.default_rng(0).integers(0, 17, (1797, 64), dtype=np.uint8)


class Items(Dataset[Any]):
    def __init__(self, n: int = 50, change: int = -1, random: bool = False, counting: bool = False) -> None:
        self.n, self.change, self.random, self.counting, self.asked = n, change, random, counting, 0

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> Tensor:
        self.asked += 1
        noise = torch.rand(3) if self.random else torch.zeros(3)
        return torch.full((3,), float(i)) + (i == self.change) + noise + (self.asked if self.counting else 0)


class Stream(IterableDataset[Tensor]):
    def __init__(self, first: float = 0) -> None:
        self.first = first

    def __iter__(self) -> Any:
        n = self.first
        while True:
            yield torch.tensor([n, float(torch.rand(()))])
            n += 1


def prints(x: Any, **options: Any) -> dict[str, str]:
    return load(x, **options).fingerprint()


@pytest.mark.parametrize("example", [0, 777, 1796])
def test_one_pixel_of_a_small_dataset_changes_one_part(example: int) -> None:
    changed = DIGITS.copy()
    changed[example, 63] = (changed[example, 63] + 1) % 17
    one, again, other = (prints(x, levels=17) for x in (DIGITS, DIGITS.copy(), changed))
    assert one == again
    assert sum(one[part] != other[part] for part in one) == 1
    assert all(len(digits) == 16 and int(digits, 16) >= 0 for digits in one.values())


def test_division_shape_and_type_count_and_storage_does_not(tmp_path: Path) -> None:
    one = prints(DIGITS, levels=17)
    assert prints(DIGITS.astype(np.int64), levels=17) == one
    np.save(tmp_path / "x.npy", DIGITS)
    assert prints(tmp_path / "x.npy", levels=17, in_memory=False) == one
    for other in (
        prints(DIGITS, levels=17, seed=1),
        prints(DIGITS.reshape(-1, 8, 8), levels=17),
        prints(DIGITS.astype(np.float32)),
    ):
        assert all(other[part] != one[part] for part in one)


def test_of_large_data_a_sample_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_BYTES", 6400)  # 100 examples of 64 bytes
    changed = [DIGITS.copy() for _ in range(3)]
    changed[0][0] = 3
    changed[1][-1] = 3
    changed[2][1] = 3  # between the first and the second that are looked at
    one, *others = (prints(x, levels=17, validation=0, test=0)["train"] for x in (DIGITS, *changed))
    assert [other != one for other in others] == [True, True, False]


def test_it_is_cheap() -> None:
    data = load(torch.zeros(1_000_000, 784, dtype=torch.uint8), levels=2, kind="vector")
    began = time.perf_counter()
    data.fingerprint()
    assert time.perf_counter() - began < 1.0  # 0.07 s on an idle processor


def test_map_style_datasets_by_length_and_some_items() -> None:
    one = prints(Items())
    assert prints(Items()) == one
    assert prints(Items(51))["train"] != one["train"]
    first = int(load(Items()).train.rows[0])
    assert prints(Items(change=first))["train"] != one["train"]


def test_random_items_count_as_seeded_and_unrepeatable_ones_by_shape() -> None:
    assert prints(Items(random=True)) == prints(Items(random=True)) != prints(Items())
    counting = Items(counting=True)
    data = load(counting)
    assert data.fingerprint() == data.fingerprint()


def test_streams_by_their_first_items() -> None:
    parts = {"validation": np.zeros((3, 2)), "test": np.zeros((3, 2))}
    one = prints({"train": Stream(), **parts})
    assert prints({"train": Stream(), **parts}) == one
    assert prints({"train": Stream(1), **parts})["train"] != one["train"]
    assert one["validation"] != one["test"]
    empty = load({"train": Stream()}, validation=0, test=0).fingerprint()
    assert empty["train"] == one["train"]

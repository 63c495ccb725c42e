"""Parts: disjoint, complete, seeded; official and given parts stay what they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lucid.data import load
from lucid.data.division import divide


@pytest.mark.parametrize(
    ("validation", "test", "sizes"),
    [(None, None, (80, 10, 10)), (0.25, 0.5, (25, 25, 50)), (1, 98, (1, 1, 98)), (30, 0.1, (60, 30, 10))],
)
def test_parts_are_disjoint_and_complete(
    validation: float | None, test: float | None, sizes: tuple[int, int, int]
) -> None:
    rows, words = divide(100, validation, test, seed=3)
    assert tuple(len(rows[p]) for p in ("train", "validation", "test")) == sizes
    assert sorted(torch.cat(list(rows.values())).tolist()) == list(range(100))
    assert words == f"split {'/'.join(map(str, sizes))} (validation and test drawn with seed 3)"
    assert all(r.tolist() == sorted(r.tolist()) for r in rows.values())


def test_the_seed_decides_the_division() -> None:
    first, again, other = (divide(100, seed=s)[0]["test"].tolist() for s in (0, 0, 1))
    assert first == again != other
    assert first != list(range(10))


def test_given_parts_keep_their_examples() -> None:
    x = {"train": np.zeros((50, 2)), "test": np.ones((20, 2))}
    data = load(x)
    assert (len(data.train), len(data.validation), len(data.test)) == (45, 5, 20)
    assert bool((data.test.raw == 1).all())
    assert bool((data.validation.raw == 0).all())
    assert data.protocol.split == "split 45/5/20 (test given; validation drawn with seed 0)"


def test_all_parts_given() -> None:
    data = load({"test": np.full((2, 1), 3.0), "train": np.full((5, 1), 1.0), "validation": np.full((4, 1), 2.0)})
    assert [float(s.raw.unique()) for s in (data.train, data.validation, data.test)] == [1, 2, 3]
    assert data.protocol.split == "split 5/4/2 (validation and test given)"


def test_a_part_may_be_done_without() -> None:
    data = load(np.arange(40.0).reshape(20, 2), validation=0, test=0.0)
    assert (len(data.train), len(data.validation), len(data.test)) == (20, 0, 0)
    assert list(data.validation.batches(8)) == []
    assert data.test.tensor().shape == data.test.tensor(3).shape == (0, 2)


def test_a_field_s_habit_takes_the_last_training_examples() -> None:
    rows, words = divide(120, given={"train": 100, "test": 20}, habit=10)
    assert rows["validation"].tolist() == list(range(90, 100))
    assert rows["test"].tolist() == list(range(100, 120))
    assert words == "split 90/10/20 (official test set; validation the last 10 of the training file)"
    assert len(divide(120, 25, given={"train": 100, "test": 20}, habit=10)[0]["validation"]) == 25

"""Labels travel with their examples: through every order, share and store; and they are refused where they are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conditional import ConditionalGaussian, labelled
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import IterableDataset

from lucid import data
from lucid.data import Dataset, Share, tells_labels
from lucid.models import VAE, Condition, VAEConfig
from lucid.nn import Linear

N = 53


def numbered(tmp_path: Path, where: str, **options: Any) -> Dataset:
    """Examples whose value is their number and whose label is three times it, so that a batch tells what belongs."""
    x, labels = np.arange(N, dtype=np.int32).reshape(N, 1), 3 * np.arange(N)
    if where == "resident":
        return data.load(x, levels=N, labels=labels, **options)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "labels.npy", labels)
    return data.load(tmp_path / "x.npy", levels=N, labels=str(tmp_path / "labels.npy"), in_memory=False, **options)


@pytest.mark.parametrize("where", ["resident", "disk"])
@pytest.mark.parametrize("seed", [None, 4])
@pytest.mark.parametrize("of", [1, 3, 20])
def test_each_row_has_its_own_label(tmp_path: Path, where: str, seed: int | None, of: int) -> None:
    """Batches of 16: of 20 processes some have no row, and an empty condition."""
    found = numbered(tmp_path, where)
    for split in (found.train, found.validation):
        passes = [
            list(split.portions(16, seed=seed, epoch=1, start=0, share=Share(rank, of), condition=True))
            for rank in range(of)
        ]
        seen: list[int] = []
        for portions in passes:
            for portion in portions:
                assert portion.condition is not None
                assert portion.condition.dtype == torch.int64
                assert portion.condition.shape == (len(portion.x),)
                numbers = split.protocol.to_data(portion.x).flatten().long()
                assert torch.equal(portion.condition, 3 * numbers)
                seen += numbers.tolist()
        assert sorted(seen) == split.rows.tolist()


@pytest.mark.parametrize("where", ["resident", "disk"])
def test_a_resumed_pass_has_the_labels_of_the_unbroken_one(tmp_path: Path, where: str) -> None:
    split = numbered(tmp_path, where).train
    run: dict[str, Any] = {"seed": 2, "epoch": 3, "share": Share(), "condition": True}
    whole, tail = list(split.portions(8, **run)), list(split.portions(8, start=2, **run))
    assert len(tail) == len(whole) - 2
    for a, b in zip(tail, whole[2:], strict=True):
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.condition, b.condition)


@pytest.mark.parametrize("binarisation", ["static", "dynamic"])
def test_asking_for_labels_changes_no_draw(binarisation: str) -> None:
    split = data.load("digits", binarisation=binarisation).train
    plain = list(split.portions(100, seed=1, share=Share()))
    told = list(split.portions(100, seed=1, share=Share(), condition=True))
    assert all(torch.equal(a.x, b.x) for a, b in zip(plain, told, strict=True))
    assert all(portion.condition is None for portion in plain)


def test_a_portion_is_cut_with_its_labels() -> None:
    portion = next(labelled().train.portions(16, seed=0, share=Share(1, 2), condition=True))
    part = portion.cut(2, 5)
    assert (part.first, part.whole) == (portion.first + 2, portion.whole)
    assert torch.equal(part.x, portion.x[2:5])
    assert part.condition is not None
    assert portion.condition is not None
    assert torch.equal(part.condition, portion.condition[2:5])


class Items(TorchDataset[Any]):
    def __len__(self) -> int:
        return N

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return torch.full((2,), float(i)), i


class Stream(IterableDataset[Any]):
    def __iter__(self):
        return (Items()[i] for i in range(N))


@pytest.mark.parametrize("source", [torch.zeros(N, 2), Items(), Stream()], ids=["unlabelled", "map-style", "stream"])
def test_a_source_without_known_labels_is_refused(source: Any) -> None:
    split = data.load(source, validation=0, test=0).train
    with pytest.raises(ValueError, match="the train part has none: name them"):
        split.portions(8, share=Share(), condition=True)
    with pytest.raises(ValueError, match="in_memory=True"):
        tells_labels(ConditionalGaussian(), split)


def test_items_with_labels_are_taken_once_they_are_in_memory() -> None:
    split = data.load(Items(), in_memory=True).train
    portion = next(split.portions(8, seed=0, share=Share(), condition=True))
    assert portion.condition is not None
    assert torch.equal(portion.condition, portion.x[:, 0].long())


def test_an_empty_part_needs_no_labels() -> None:
    empty = data.load(Stream(), validation=0, test=0).validation
    assert list(empty.portions(8, share=Share(), condition=True)) == []
    assert tells_labels(ConditionalGaussian(), empty)


def test_labels_the_model_does_not_know_are_refused() -> None:
    with pytest.raises(ValueError, match=r"2 classes, labels 0 … 1, and the train part has labels from 0 to 2: build"):
        tells_labels(ConditionalGaussian(2), labelled().train)
    below = data.load(torch.zeros(N, 2), labels=torch.arange(N) % 3 - 1).train
    with pytest.raises(ValueError, match="labels from -1 to 1"):
        tells_labels(ConditionalGaussian(3), below)


def test_a_model_that_asks_for_vectors_is_not_told_labels() -> None:
    model = ConditionalGaussian()
    model.condition = Condition(size=5)
    with pytest.raises(ValueError, match="a dataset gives labels alone"):
        tells_labels(model, labelled().train)


def test_an_unconditional_model_is_told_nothing() -> None:
    assert not tells_labels(VAE(VAEConfig(encoders=[Linear(4, 4)], decoders=[Linear(2, 4)])), labelled().train)


def test_classes_are_counted_over_all_parts_and_names() -> None:
    assert labelled().num_classes == 3
    assert data.load("digits").num_classes == 10
    assert data.load(torch.zeros(N, 2)).num_classes is None
    assert data.load(torch.zeros(20, 2), labels=np.array(["b", "a"] * 10)).num_classes == 2


def test_labels_are_known_by_their_digits() -> None:
    x, labels = torch.zeros(N, 2), torch.arange(N) % 3
    one, same = (data.load(x, labels=labels).label_fingerprint() for _ in range(2))
    other = data.load(x, labels=labels.flip(0)).label_fingerprint()
    assert one == same
    assert one != other

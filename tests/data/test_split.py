"""Batches: pure functions of (seed, epoch, batch), every example once, draws that are what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from lucid.data import Dataset, Split, load
from lucid.data.split import ResidentSplit


def numbered(n: int = 100, **options: Any) -> Dataset:
    """Examples whose single value is their number, so that batches tell which examples they hold."""
    return load(np.arange(n, dtype=np.int32).reshape(n, 1), levels=n, **options)


def rows(split: Split, batch_size: int = 7, **options: Any) -> list[list[int]]:
    return [split.protocol.to_data(x).flatten().tolist() for x in split.batches(batch_size, **options)]


class Items(TorchDataset[Tensor]):
    """A map-style dataset over a tensor: read item by item."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Tensor:
        return self.x[i]


def probabilities(n: int, loaded: bool, binarisation: str) -> Dataset:
    x = torch.linspace(0, 1, 11).repeat(n, 1)
    return load(Items(x) if loaded else x, binarisation=binarisation)


@pytest.mark.parametrize("batch_size", [1, 7, 80, 1000])
@pytest.mark.parametrize("seed", [None, 0, 3])
def test_every_example_comes_once_an_epoch(batch_size: int, seed: int | None) -> None:
    data = numbered()
    held = sorted(data.train.raw.flatten().tolist())
    seen = [r for batch in rows(data.train, batch_size, seed=seed, epoch=2) for r in batch]
    assert sorted(seen) == held
    assert (seen == held) == (seed is None)


def test_order_is_a_pure_function_of_seed_and_epoch() -> None:
    once = rows(numbered().train, seed=1, epoch=2)
    assert rows(numbered().train, seed=1, epoch=2) == once
    others = [rows(numbered().train, seed=s, epoch=e) for s, e in ((1, 3), (2, 2), (2, 1), (0, 3))]
    assert all(other != once for other in others)
    assert others[0] != others[1]  # seed + epoch would make these equal


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize("binarisation", ["none", "static", "dynamic"])
def test_a_resumed_pass_is_the_tail_of_the_unbroken_one(loaded: bool, seed: int | None, binarisation: str) -> None:
    train = probabilities(60, loaded, binarisation).train
    whole = list(train.batches(7, seed=seed, epoch=4))
    assert len(whole) == train.num_batches(7) == 7
    for start in (0, 1, 6, 7):
        tail = list(train.batches(7, seed=seed, epoch=4, start=start))
        assert len(tail) == len(whole) - start
        assert all(torch.equal(a, b) for a, b in zip(tail, whole[start:], strict=True))


def test_drop_last_leaves_only_full_batches() -> None:
    data = numbered()
    assert [len(b) for b in rows(data.train, 7, seed=0, drop_last=True)] == [7] * 11
    assert data.train.num_batches(7, drop_last=True) == 11
    assert [len(b) for b in rows(data.train, 7, seed=0)] == [7] * 11 + [3]


@pytest.mark.parametrize("binarisation", ["static", "dynamic"])
@pytest.mark.parametrize("loaded", [False, True])
def test_draws_have_the_declared_probabilities(binarisation: str, loaded: bool) -> None:
    data = probabilities(2000, loaded, binarisation)
    drawn = torch.cat(list(data.train.batches(100, seed=1)))
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    p = torch.linspace(0, 1, 11)
    error = (p * (1 - p) / len(drawn)).sqrt()
    assert bool(((drawn.mean(0) - p).abs() <= 4 * error).all())  # exact where p is 0 or 1


def test_static_draws_are_made_once_whatever_the_batches() -> None:
    data = probabilities(50, False, "static")
    table = data.train.tensor()
    for batch_size in (1, 7, 40):
        assert torch.equal(torch.cat(list(data.train.batches(batch_size))), table)
    shuffled = torch.cat(list(data.train.batches(7, seed=0, epoch=0)))
    assert not torch.equal(shuffled, table)
    assert sorted(map(tuple, shuffled.tolist())) == sorted(map(tuple, table.tolist()))


def test_dynamic_training_draws_change_with_the_epoch_and_evaluation_draws_do_not() -> None:
    data = load(torch.full((100, 50), 0.5), binarisation="dynamic")
    first, second = (torch.cat(list(data.train.batches(20, seed=0, epoch=e))) for e in (0, 1))
    assert not torch.equal(first, second)
    for split in (data.validation, data.test):
        assert torch.equal(split.tensor(), torch.cat(list(split.batches(3, epoch=9))))
        seen = torch.cat(list(split.batches(3, seed=4, epoch=9)))
        assert sorted(map(tuple, seen.tolist())) == sorted(map(tuple, split.tensor().tolist()))
    assert not torch.equal(data.validation.tensor(), data.test.tensor())


def test_the_seed_of_the_protocol_decides_the_draws_made_once() -> None:
    x = torch.full((100, 50), 0.5)
    first, again, other = (load(x, binarisation="static", seed=s).test.tensor() for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("loaded", [False, True])
def test_tensor_is_a_prefix_of_the_evaluation_pass(loaded: bool) -> None:
    train = probabilities(2000, loaded, "dynamic").train
    whole = train.tensor()
    assert whole.shape == (1600, 11)
    for limit in (1, 10, 1025, 1600, 5000):
        assert torch.equal(train.tensor(limit), whole[:limit])


def test_batches_draw_nothing_from_the_global_generator() -> None:
    for loaded in (False, True):
        data = probabilities(60, loaded, "dynamic")
        before = torch.get_rng_state()
        list(data.train.batches(7, seed=0))
        data.test.tensor()
        assert torch.equal(torch.get_rng_state(), before)


def test_integers_stay_compact_and_become_float_in_batches() -> None:
    data = load(np.random.default_rng(0).integers(0, 256, (50, 8, 8)), levels=256)
    assert data.train.raw.dtype == torch.uint8
    x = next(data.train.batches(4, seed=0))
    assert x.dtype == torch.float32
    assert float(x.max()) <= 1.0
    # One store for all parts, not a copy for each.
    assert isinstance(data.train, ResidentSplit)
    assert isinstance(data.test, ResidentSplit)
    assert data.train._store is data.test._store


def test_double_precision_is_kept_until_the_scaling_is_done() -> None:
    seconds = 1.7e9 + np.arange(100.0).reshape(-1, 1)  # float32 resolves 128 of these
    data = load(seconds, scaling="standardise")
    train = data.train.tensor()
    assert train.dtype == torch.float32
    assert len(train.unique()) == 80
    torch.testing.assert_close(train.double().std(correction=0), torch.tensor(1.0).double(), atol=1e-6, rtol=0)


def test_labels_go_with_their_examples() -> None:
    data = numbered(labels=np.arange(100) * 10)
    for split in (data.train, data.validation, data.test):
        assert split.labels is not None
        assert split.labels.dtype == torch.int64
        assert split.labels.tolist() == [10 * r for r in split.raw.flatten().tolist()]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1; received 0"),
        ({"batch_size": 2.0}, TypeError, "batch_size must be an int"),
        ({"batch_size": 8, "epoch": -1}, ValueError, "epoch must be at least 0"),
        ({"batch_size": 8, "seed": True}, TypeError, "seed must be an int"),
        ({"batch_size": 8, "start": 11}, ValueError, "start must be at most 10, the number of batches"),
        ({"batch_size": 81, "drop_last": True}, ValueError, "drop_last leaves no batch"),
    ],
)
def test_wrong_arguments_are_told_at_the_call(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        numbered().train.batches(**options)


def test_the_limit_of_tensor_is_a_positive_count() -> None:
    with pytest.raises(ValueError, match="limit must be at least 1"):
        numbered().train.tensor(0)

"""PyTorch datasets: map-style read batch by batch or once, iterable ones as streams."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from lucid.data import Share, load, load_like


class Pictures(Dataset[Any]):
    """Items (x, label); with `noise`, as with a random transform, x differs at every reading."""

    def __init__(self, n: int = 40, noise: bool = False) -> None:
        self.x = torch.arange(n * 30).reshape(n, 1, 5, 6) % 256
        self.noise = noise

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        x = self.x[i].to(torch.uint8)
        return (torch.randint(0, 256, x.shape, dtype=torch.uint8) if self.noise else x), i


class Stream(IterableDataset[Tensor]):
    """Rows first, first + 1, …; `None` for no end."""

    def __init__(self, first: int = 0, n: int | None = 20) -> None:
        self.first, self.n = first, n

    def __iter__(self) -> Iterator[Tensor]:
        i = self.first
        while self.n is None or i < self.first + self.n:
            yield torch.tensor([float(i), 1.0])
            i += 1


def test_map_style_gives_what_its_items_are() -> None:
    source = Pictures()
    data = load(source, levels=256)
    assert data.protocol.shape == (1, 5, 6)
    x = torch.cat(list(data.train.batches(7, seed=0)))
    raw = data.protocol.to_data(x).long()
    assert sorted(raw[:, 0, 0, 0].tolist()) == sorted(source.x[data.train.rows][:, 0, 0, 0].tolist())
    assert (len(data.train), len(data.validation), len(data.test)) == (32, 4, 4)
    assert data.train.labels is None
    with pytest.raises(TypeError, match="never held whole; load it with in_memory=True"):
        _ = data.train.raw


def test_random_transforms_draw_anew_in_every_epoch_and_again_the_same_in_a_resumed_one() -> None:
    train = load(Pictures(noise=True), levels=256).train
    whole, again, other = (list(train.batches(8, seed=0, epoch=e)) for e in (0, 0, 1))
    assert torch.equal(torch.cat(whole), torch.cat(again))
    assert not torch.equal(torch.cat(whole).sort(0).values, torch.cat(other).sort(0).values)
    tail = list(train.batches(8, seed=0, epoch=0, start=2))
    assert torch.equal(torch.cat(tail), torch.cat(whole[2:]))
    assert not torch.equal(torch.cat(list(train.batches(8, seed=1))), torch.cat(whole))


class Noise(Dataset[Tensor]):
    """Draws from each of the three global generators."""

    def __len__(self) -> int:
        return 30

    def __getitem__(self, i: int) -> Tensor:
        drawn = [float(torch.rand(())), random.random(), float(np.random.random())]  # noqa: NPY002
        return torch.tensor([float(i), *drawn], dtype=torch.float64)


class NoiseStream(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        yield from (Noise()[i] for i in range(30))


def by_item(x: Tensor) -> dict[float, list[float]]:
    return {float(row[0]): row[1:].tolist() for row in x}


@pytest.mark.parametrize("workers", [0, 2])
def test_what_an_item_draws_is_a_function_of_seed_epoch_and_row(workers: int) -> None:
    expected = by_item(torch.cat(list(load(Noise(), validation=0, test=0).train.batches(30, seed=4, epoch=2))))
    assert all(len({row[place] for row in expected.values()}) == 30 for place in range(3))
    train = load(Noise(), validation=0, test=0, workers=workers).train
    for batch_size, of in ((7, 1), (5, 2)):
        shares = [train.portions(batch_size, seed=4, epoch=2, share=Share(rank, of)) for rank in range(of)]
        assert by_item(torch.cat([portion.x for share in shares for portion in share])) == expected
    whole = load(torch.utils.data.Subset(Noise(), range(30)), validation=0, test=0, workers=workers).train
    assert by_item(torch.cat(list(whole.batches(4, seed=4, epoch=2)))) == expected


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_stream_draws_is_a_function_of_seed_and_epoch(workers: int) -> None:
    train = load(NoiseStream(), validation=0, test=0, workers=workers).train
    whole, again, other = (list(train.batches(7, seed=4, epoch=e)) for e in (2, 2, 3))
    assert torch.equal(torch.cat(whole), torch.cat(again))
    assert not torch.equal(torch.cat(whole)[:, 1:], torch.cat(other)[:, 1:])
    assert len(torch.cat(whole)[:, 1].unique()) == 30  # every batch goes on where the last one stopped
    resumed = []
    for x in train.batches(7, seed=4, epoch=2, start=1):
        _ = torch.rand(3), random.random(), np.random.random()  # noqa: NPY002 (the caller's own draws change nothing)
        resumed.append(x)
    assert torch.equal(torch.cat(resumed), torch.cat(whole[1:]))


@pytest.mark.parametrize("source", [Noise(), NoiseStream()])
def test_the_callers_generators_go_on_as_if_nothing_had_been_read(source: Any) -> None:
    def drawn() -> tuple[float, ...]:
        return float(torch.rand(())), random.random(), float(np.random.random())  # noqa: NPY002

    before = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    expected = [drawn() for _ in range(6)]
    torch.set_rng_state(before[0])
    random.setstate(before[1])
    np.random.set_state(before[2])  # noqa: NPY002
    found = []
    data = load(source, validation=0, test=0)
    data.fingerprint()
    for number, _ in enumerate(data.train.batches(5, seed=0)):
        found.append(drawn())
        assert number < 6
    assert found == expected


def test_the_callers_generators_are_put_back_after_an_error() -> None:
    class Broken(Noise):
        def __getitem__(self, i: int) -> Tensor:
            torch.rand(3)
            if i > 3:
                raise RuntimeError("a broken item")
            return super().__getitem__(i)

    data = load(Broken(), validation=0, test=0)
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="a broken item"):
        list(data.train.batches(5, seed=0))
    assert torch.equal(torch.get_rng_state(), before)


def test_in_memory_reads_once_and_refuses_random_transforms() -> None:
    data = load(Pictures(), levels=256, in_memory=True)
    assert data.train.raw.dtype == torch.uint8
    assert data.train.labels is not None
    assert data.train.labels.tolist() == data.train.rows.tolist()
    with pytest.raises(ValueError, match="item 0 of the dataset differs each time it is read"):
        load(Pictures(noise=True), levels=256, in_memory=True)


def test_in_memory_and_batch_by_batch_agree() -> None:
    one, other = (load(Pictures(), levels=256, in_memory=m) for m in (True, None))
    assert one.protocol.split == other.protocol.split
    for a, b in zip(one.train.batches(5, seed=3, epoch=1), other.train.batches(5, seed=3, epoch=1), strict=True):
        assert torch.equal(a, b)


def test_worker_processes_change_nothing() -> None:
    alone, helped = (load(Pictures(), levels=256, workers=w).train for w in (0, 2))
    for a, b in zip(alone.batches(5, seed=3), helped.batches(5, seed=3), strict=True):
        assert torch.equal(a, b)


def test_a_tensor_dataset_is_resident() -> None:
    data = load(TensorDataset(torch.rand(20, 3), torch.arange(20)))
    assert data.train.raw.shape == (16, 3)
    assert data.train.labels is not None
    assert data.train.labels.tolist() == data.train.rows.tolist()


def test_items_may_be_arrays_or_images() -> None:
    class Photos(Dataset[Any]):
        def __len__(self) -> int:
            return 20

        def __getitem__(self, i: int) -> Any:
            return Image.fromarray(np.full((6, 5, 3), 10 * i + 60, np.uint8))

    data = load(Photos(), levels=256)
    assert data.protocol.shape == (3, 6, 5)
    assert data.protocol.to_data(next(data.test.batches(1))).unique().numel() == 1


def test_streams_have_no_size_and_come_in_their_order() -> None:
    data = load({"train": Stream(0), "validation": Stream(100, 5), "test": Stream(200, 5)})
    assert data.train.size is None
    with pytest.raises(TypeError, match="a stream does not know its length"):
        len(data.train)
    batches = list(data.train.batches(8, seed=1))
    assert torch.cat(batches)[:, 0].tolist() == list(range(20))
    resumed = list(data.train.batches(8, seed=1, start=1))
    assert all(torch.equal(a, b) for a, b in zip(resumed, batches[1:], strict=True))
    assert data.test.tensor()[:, 0].tolist() == [200, 201, 202, 203, 204]
    assert data.test.tensor(2)[:, 0].tolist() == [200, 201]
    assert data.protocol.split == "parts given"


def test_an_endless_stream_is_read_as_far_as_asked() -> None:
    data = load({"train": Stream(0, None), "validation": np.ones((5, 2)), "test": Stream(200, 5)})
    batches = data.train.batches(4, seed=0)
    assert [next(batches)[0, 0].item() for _ in range(3)] == [0, 4, 8]
    assert data.train.tensor(3).shape == (3, 2)
    assert len(data.validation) == 5


def test_parts_given_as_map_style_datasets() -> None:
    data = load({"train": Pictures(30), "test": Pictures(10)}, levels=256, validation=5)
    assert (len(data.train), len(data.validation), len(data.test)) == (25, 5, 10)
    assert data.protocol.split == "split 25/5/10 (test given; validation drawn with seed 0)"
    assert sorted([*data.train.rows.tolist(), *data.validation.rows.tolist()]) == list(range(30))


def test_a_later_item_that_does_not_fit_is_told() -> None:
    class Odd(Pictures):
        def __getitem__(self, i: int) -> Any:
            return torch.zeros((1, 5, 6 if i < 5 else 7), dtype=torch.uint8)

    with pytest.raises(ValueError, match="must have one shape"):
        list(load(Odd(), levels=256).train.batches(32))
    with pytest.raises(ValueError, match=r"declares whole numbers 0 to 16; the data holds values from"):
        list(load(Pictures(), levels=17).train.batches(32))


def test_further_data_may_be_a_dataset() -> None:
    protocol = load(Pictures(), levels=256).protocol
    split = load_like(Pictures(6), protocol)
    assert split.tensor().shape == (6, 1, 5, 6)

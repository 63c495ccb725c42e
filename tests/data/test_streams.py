"""Streams: iterable datasets, and Hugging Face's `datasets`: shuffled by a buffer, and taken up at any batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.shard_files import SHAPE, all_numbers, numbers, parquet_shards, picture
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from lucid.data import Share, load, load_like


class Count(IterableDataset[Tensor]):
    """Pictures 0 … n - 1; each worker process gives every so-manieth."""

    def __init__(self, n: int = 64) -> None:
        self.n = n

    def __iter__(self) -> Iterator[Tensor]:
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return (torch.from_numpy(picture(i)) for i in range(first, self.n, step))


def streamed(source: Any, **options: Any) -> Any:
    return load(source, validation=0, test=0, **{"levels": 256, **options}).train


def test_a_buffer_permutes_blocks_and_loses_nothing() -> None:
    split = streamed(Count(), shuffle_buffer=10)
    one, again, other = (all_numbers(split.batches(9, seed=1, epoch=e)) for e in (0, 0, 1))
    assert one == again != other
    assert sorted(one) == list(range(64))
    for first in range(0, 64, 10):
        assert sorted(one[first : first + 10]) == list(range(first, min(first + 10, 64)))
    assert all_numbers(split.batches(9)) == list(range(64))
    assert all_numbers(streamed(Count()).batches(9, seed=1)) == list(range(64))


@pytest.mark.parametrize("buffer", [None, 1, 10, 100])
@pytest.mark.parametrize("start", [0, 1, 4, 7])
@pytest.mark.parametrize("of", [1, 3, 20])
@pytest.mark.parametrize("binarisation", ["none", "static", "dynamic"])
def test_processes_share_one_order_from_any_batch_on(
    buffer: int | None, start: int, of: int, binarisation: str
) -> None:
    split = streamed(Count(), shuffle_buffer=buffer, binarisation=binarisation)
    whole = list(split.batches(9, seed=3, epoch=1))
    shares = [list(split.portions(9, seed=3, epoch=1, start=start, share=Share(r, of))) for r in range(of)]
    assert {len(portions) for portions in shares} == {8 - start}
    for number, batch in enumerate(whole[start:]):
        assert torch.equal(torch.cat([portions[number].x for portions in shares]), batch)
    assert [len(x) for x in split.batches(9, seed=3, drop_last=True)] == [9] * 7


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_lose_and_repeat_nothing(workers: int) -> None:
    split = streamed(Count(200), shuffle_buffer=50, workers=workers)
    whole = list(split.batches(9, seed=3))
    assert sorted(all_numbers(whole)) == list(range(200))
    resumed = list(split.batches(9, seed=3, start=13))
    assert all(torch.equal(a, b) for a, b in zip(resumed, whole[13:], strict=True))
    if workers == 1:
        assert all_numbers(whole) == all_numbers(streamed(Count(200), shuffle_buffer=50).batches(9, seed=3))


def test_a_transform_that_draws_is_repeated_when_resumed() -> None:
    class Noisy(Count):
        def __iter__(self) -> Iterator[Tensor]:
            return (x.float() + torch.rand(()) for x in super().__iter__())

    split = streamed(Noisy(200), levels=None, shuffle_buffer=30)
    state = torch.get_rng_state()
    whole = list(split.batches(16, seed=2, epoch=1))
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in zip(split.batches(16, seed=2, epoch=1, start=9), whole[9:], strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(next(split.batches(200, seed=2, epoch=2)).sort(0)[0], torch.cat(whole).sort(0)[0])


# Hugging Face


@pytest.fixture(scope="module")
def hub() -> Any:
    return pytest.importorskip("datasets")


def pictures_of(hub: Any, n: int = 40) -> Any:
    features = hub.Features({"image": hub.Image(), "label": hub.ClassLabel(num_classes=n), "note": hub.Value("string")})
    images = [Image.fromarray(picture(i)) for i in range(n)]
    return hub.Dataset.from_dict({"image": images, "label": list(range(n)), "note": ["x"] * n}, features=features)


def test_a_streamed_dataset_is_shuffled_and_resumed(hub: Any) -> None:
    source = pictures_of(hub).to_iterable_dataset(num_shards=3)
    split = streamed(source, levels=None, shuffle_buffer=16)
    assert split.protocol.describe() == "dataset; image 1×4×5; 256 levels; no validation and no test"
    assert all_numbers(split.batches(9)) == list(range(40))
    whole = list(split.batches(9, seed=1))
    assert sorted(all_numbers(whole)) == list(range(40)) != all_numbers(whole)
    for start in range(6):
        shares = [list(split.portions(9, seed=1, start=start, share=Share(r, 2))) for r in range(2)]
        for number, batch in enumerate(whole[start:]):
            assert torch.equal(torch.cat([portions[number].x for portions in shares]), batch)
    assert all_numbers(streamed(source, levels=None).batches(9, seed=1)) != list(range(40))


def test_each_process_decodes_its_own_images_alone(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from lucid.data import hub as room

    split = streamed(pictures_of(hub).to_iterable_dataset(), levels=None)
    decoded: list[int] = []
    real = room.decode_image
    monkeypatch.setattr(room, "decode_image", lambda *args: decoded.append(1) or real(*args))
    rows = sum(len(portion.x) for portion in split.portions(8, seed=1, start=2, share=Share(1, 4)))
    assert rows == 6 == len(decoded)


def test_a_user_s_own_shuffling_follows_the_epoch(hub: Any) -> None:
    source = pictures_of(hub).to_iterable_dataset(num_shards=4).shuffle(seed=5, buffer_size=7)
    split = streamed(source, levels=None, shuffle_buffer=1)
    passes = [list(split.batches(9, seed=1, epoch=e)) for e in (0, 1, 0)]
    assert all_numbers(passes[0]) == all_numbers(passes[2]) != all_numbers(passes[1])
    assert sorted(all_numbers(passes[1])) == list(range(40))
    resumed = list(split.batches(9, seed=1, epoch=1, start=2))
    assert all(torch.equal(a, b) for a, b in zip(resumed, passes[1][2:], strict=True))


def test_a_map_style_dataset_is_divided_and_may_be_held(hub: Any) -> None:
    one = load(pictures_of(hub), seed=3)
    held = load(pictures_of(hub), seed=3, in_memory=True, labels="label")
    assert (len(one.train), len(one.validation), len(one.test)) == (32, 4, 4)
    assert replace(one.protocol, reading={}) == replace(held.protocol, reading={})
    for a, b in zip(one.train.batches(9, seed=1), held.train.batches(9, seed=1), strict=True):
        assert torch.equal(a, b)
    assert held.train.labels is not None
    assert held.train.labels.tolist() == numbers(held.train.tensor())


def test_columns_of_lists_and_numbers(hub: Any) -> None:
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    source = hub.Dataset.from_dict({"v": x.tolist(), "a": x[:, 0], "b": x[:, 1], "c": ["z"] * 20})
    assert torch.equal(load(source, validation=0, test=0).train.tensor(), torch.from_numpy(x))
    table = load(source, validation=0, test=0, columns=["b", "a"])
    assert (table.protocol.kind, table.protocol.columns) == ("table", ("b", "a"))
    assert torch.equal(table.train.tensor(), torch.from_numpy(x[:, [1, 0]]))
    stream = streamed(source.to_iterable_dataset(), levels=None, key="v")
    assert torch.equal(stream.tensor(), torch.from_numpy(x))
    assert torch.equal(load_like(source.to_iterable_dataset(), table.protocol).tensor(), table.train.tensor())
    unknown = hub.IterableDataset.from_generator(lambda: ({"x": [float(i), 2.0]} for i in range(5)))
    assert streamed(unknown, levels=None).tensor()[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_a_user_s_transform_is_taken_as_it_is(hub: Any) -> None:
    def halves(batch: dict[str, Any]) -> dict[str, Any]:
        return {"half": [np.asarray(image)[:2] for image in batch["image"]]}

    split = load(pictures_of(hub).with_transform(halves), validation=0, test=0, levels=256).train
    assert split.protocol.shape == (1, 2, SHAPE[1])
    assert numbers(split.tensor()) == list(range(40))


def test_parts_of_a_dataset_dict_and_options_of_images(hub: Any, tmp_path: Path) -> None:
    parquet_shards(tmp_path, [12, 8], "image")
    files = {"train": [str(tmp_path / "part-0000.parquet")], "test": [str(tmp_path / "part-0001.parquet")]}
    cache = str(tmp_path / "cache")
    source = hub.load_dataset("parquet", data_files=files, streaming=True, cache_dir=cache)
    data = load(source, validation=0, resize=(8, 8), channels="rgb")
    assert data.protocol.shape == (3, 8, 8)
    assert [len(x) for x in data.test.batches(5)] == [5, 3]
    again = load_like(source["test"], data.protocol)
    assert torch.equal(again.tensor(), data.test.tensor())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": "label"}, "key='label' holds neither images nor lists of numbers"),
        ({"key": "picture"}, "key= names 'picture', and the dataset has the columns image, label, note"),
        (
            {"labels": "class", "in_memory": True},
            "labels= names 'class'; the dataset has the columns image, label, note",
        ),
        ({"labels": "label"}, r"labels= of a dataset of `datasets` goes with in_memory=True"),
        ({"shuffle_buffer": 4}, "shuffle_buffer= does not apply to a PyTorch dataset"),
    ],
)
def test_what_does_not_fit_is_told(hub: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(pictures_of(hub), **options)


def test_an_empty_dataset_is_told(hub: Any) -> None:
    with pytest.raises(ValueError, match="the dataset holds no items"):
        load(hub.Dataset.from_dict({"x": []}))
    with pytest.raises(ValueError, match="gave no items"):
        list(streamed(Count(0)).batches(4))

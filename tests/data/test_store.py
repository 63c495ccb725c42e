"""Where data in memory lies: on a device that has room for it, once for all parts; else where it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lucid.data import load, store
from lucid.data.split import ResidentSplit
from lucid.data.store import Store, has_room

PIXELS = torch.randint(0, 256, (101, 7), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.mark.parametrize(("num_bytes", "fits"), [(250, True), (251, False)])
def test_data_may_take_a_quarter_of_what_is_free(monkeypatch: pytest.MonkeyPatch, num_bytes: int, fits: bool) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 4000))
    assert has_room(torch.device("cuda", 0), num_bytes) == fits
    assert not has_room(torch.device("cpu"), 1)


def test_the_decision_is_made_once_and_the_copy_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def answer(device: torch.device, num_bytes: int) -> bool:
        asked.append(num_bytes)
        return True

    monkeypatch.setattr(store, "has_room", answer)
    held, device = Store(PIXELS), torch.device("cpu")
    copy = held.on(device)
    assert copy.data_ptr() != PIXELS.data_ptr()
    assert torch.equal(copy, PIXELS)
    assert held.on(device) is copy
    assert asked == [707]


def test_data_that_does_not_fit_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "has_room", lambda *_: False)
    assert Store(PIXELS).on(torch.device("cpu")) is not None
    assert Store(PIXELS).on(torch.device("cpu")).data_ptr() == PIXELS.data_ptr()


@pytest.mark.parametrize("seed", [None, 2])
@pytest.mark.parametrize("binarisation", ["none", "static", "dynamic"])
def test_batches_are_the_same_from_the_device_and_the_parts_share_it(
    monkeypatch: pytest.MonkeyPatch, binarisation: Any, seed: int | None
) -> None:
    """The path of a device, taken on the CPU: everything is indexed in the copy, which the parts have in common."""
    expected = load(PIXELS, levels=256, binarisation=binarisation)
    monkeypatch.setattr(store, "has_room", lambda *_: True)
    data = load(PIXELS.clone(), levels=256, binarisation=binarisation)
    for part in ("train", "validation", "test"):
        one, other = getattr(data, part), getattr(expected, part)
        for _ in range(2):
            for a, b in zip(one.batches(8, seed=seed), other.batches(8, seed=seed), strict=True):
                assert torch.equal(a, b)
    assert isinstance(data.train, ResidentSplit)
    assert isinstance(data.test, ResidentSplit)
    assert data.train._store is data.test._store
    assert data.train._store.values.dtype == torch.uint8


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_cuda_device() -> None:
    data = load(PIXELS, levels=256)
    for a, b in zip(data.train.batches(8, seed=0, device="cuda"), data.train.batches(8, seed=0), strict=True):
        assert a.is_cuda
        assert torch.equal(a.cpu(), b)

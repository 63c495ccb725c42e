"""Batches divided among processes: together they are the batches of one, bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import Dataset, IterableDataset

from lucid import data
from lucid.data import Share


class Items(Dataset):
    def __init__(self, x: torch.Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.x[i]


class Stream(IterableDataset):
    def __init__(self, x: torch.Tensor) -> None:
        self.x = x

    def __iter__(self):
        return iter(self.x)


PIXELS = torch.randint(0, 256, (53, 7), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
SOURCES = {"resident": PIXELS, "map-style": Items(PIXELS), "stream": Stream(PIXELS)}


@pytest.mark.parametrize("of", [2, 3, 20])
@pytest.mark.parametrize("binarisation", ["none", "static", "dynamic"])
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("seed", [None, 4])
def test_the_portions_of_all_processes_are_the_batches_of_one(
    source: str, binarisation: str, of: int, seed: int | None
) -> None:
    """53 examples in batches of 16: the last has 5 rows, so that of 20 processes most have none of it."""
    split = data.load(SOURCES[source], levels=256, binarisation=binarisation, validation=0, test=0).train
    whole = list(split.batches(16, seed=seed, epoch=1, start=1))
    shares = [list(split.portions(16, seed=seed, epoch=1, start=1, share=Share(rank, of))) for rank in range(of)]
    assert {len(portions) for portions in shares} == {3}
    for number, batch in enumerate(whole):
        here = [portions[number] for portions in shares]
        assert torch.equal(torch.cat([portion.x for portion in here]), batch)
        assert [portion.whole for portion in here] == [len(batch)] * of
        assert [portion.first for portion in here] == [Share(rank, of).rows(len(batch))[0] for rank in range(of)]

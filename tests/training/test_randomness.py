"""Every draw of a run is a function of the seed and of its place in the run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from lucid.training.randomness import Randomness

CPU = torch.device("cpu")


def drawn(randomness: Randomness, *place: int | str) -> tuple[Tensor, Tensor]:
    """Numbers of the noise and of the global stream at a place."""
    randomness.at(*place)
    return torch.rand(4, generator=randomness.noise), torch.rand(4)


@pytest.fixture(autouse=True)
def callers_stream() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        yield


def test_a_place_has_the_same_numbers_whatever_was_drawn_before() -> None:
    first, again = Randomness(3, CPU, 0), Randomness(3, CPU, 0)
    expected = drawn(first, "train", 17)
    for step in range(17):
        drawn(again, "train", step)
    torch.rand(100)
    assert all(torch.equal(a, b) for a, b in zip(expected, drawn(again, "train", 17), strict=True))


def test_no_two_places_share_their_numbers() -> None:
    """Neither do seed 0 at step 1 and seed 1 at step 0, nor training and validation, nor the two streams of a place."""
    seen: set[tuple[float, ...]] = set()
    places = list(itertools.product(range(6), ("train", "validation"), range(6)))
    for seed, purpose, step in places:
        seen |= {tuple(numbers.tolist()) for numbers in drawn(Randomness(seed, CPU, 0), purpose, step)}
    assert len(seen) == 2 * len(places)


def test_processes_share_the_noise_and_not_the_rest() -> None:
    noise, rest = zip(*(drawn(Randomness(0, CPU, rank), "train", 5) for rank in range(4)), strict=True)
    assert all(torch.equal(noise[0], other) for other in noise)
    assert len({tuple(numbers.tolist()) for numbers in rest}) == 4


def test_the_callers_stream_is_put_back_after_an_error_too() -> None:
    randomness = Randomness(0, CPU, 0)
    before = torch.get_rng_state()

    def run() -> None:
        with randomness.borrowed():
            drawn(randomness, "train", 0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_numbers_are_these() -> None:
    """They are a promise: a run begun with one version goes on with the next."""
    randomness = Randomness(0, CPU, 0)
    randomness.at("train", 0)
    assert (randomness.noise.initial_seed(), torch.initial_seed()) == (4219113913667441461, 3510462159089328551)

"""Global random streams lent to a user's dataset: its own inside, the caller's outside."""

from __future__ import annotations

import random

import numpy as np
import torch

from lucid.data.item_seeds import OwnStreams


def drawn() -> tuple[float, ...]:
    return float(torch.rand(())), random.random(), float(np.random.random())  # noqa: NPY002


def test_inside_draws_go_on_where_they_stopped_and_outside_they_are_the_callers() -> None:
    with OwnStreams(0, "one"):
        expected = [drawn() for _ in range(4)]
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    callers = [drawn() for _ in range(4)]
    torch.set_rng_state(before[0])
    random.setstate(before[1])
    np.random.set_state(before[2])  # noqa: NPY002
    streams, own, outside = OwnStreams(0, "one"), [], []
    for _ in range(4):
        with streams:
            own.append(drawn())
        outside.append(drawn())
    assert own == expected
    assert outside == callers


def test_purposes_have_streams_of_their_own_and_so_have_the_three_generators() -> None:
    found = []
    for purpose in ((0, "one"), (0, "two"), (1, "one"), (None, "one")):
        with OwnStreams(*purpose):
            found.append(drawn())
    assert len({number for numbers in found for number in numbers}) == 12

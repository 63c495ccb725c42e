"""Draws made once: a pure function of purpose, row and feature; uniform; independent."""

from __future__ import annotations

import math

import torch

from lucid.data import load
from lucid.data.draws import uniform


def test_an_examples_numbers_do_not_depend_on_what_is_asked_beside_it() -> None:
    whole = uniform((0, "test"), range(1000), 7)
    chosen = torch.tensor([999, 3, 4, 500])
    assert torch.equal(uniform((0, "test"), chosen, 7), whole[chosen])
    assert torch.equal(uniform((0, "test"), [12], 7), whole[12:13])
    assert uniform((0, "test"), [], 7).shape == (0, 7)


def test_they_are_uniform_and_independent() -> None:
    u = uniform((3, "test"), range(10_000), 100).double()
    assert float(u.min()) >= 0
    assert float(u.max()) < 1
    n = u.numel()
    counts = torch.histc(u, 100, 0, 1)
    chi2 = float(((counts - n / 100).square() / (n / 100)).sum())
    assert abs(chi2 - 99) < 5 * math.sqrt(2 * 99)
    centred = (u - 0.5) * math.sqrt(12)
    for a, b in ((centred[1:], centred[:-1]), (centred[:, 1:], centred[:, :-1])):
        assert abs(float((a * b).mean())) < 5 / math.sqrt(a.numel())
    # Of each bit that a float32 in [0, 1) shows, half are set.
    bits = (u * 2**24).long()
    for place in range(24):
        assert abs(float((bits >> place & 1).double().mean()) - 0.5) < 5 * 0.5 / math.sqrt(n)


def test_purposes_are_independent() -> None:
    one, other = (uniform((seed, "test"), range(1000), 100).double() - 0.5 for seed in (0, 1))
    assert abs(float((one * other).mean() * 12)) < 5 / math.sqrt(one.numel())


def test_known_values() -> None:
    """SplitMix64 from state 0: 0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, as published with the generator."""
    import hashlib
    from unittest import mock

    class Zero:
        def digest(self) -> bytes:
            return bytes(8)

    with mock.patch.object(hashlib, "blake2b", return_value=Zero()):
        drawn = uniform(("any",), [0], 2)
    assert drawn.flatten().tolist() == [(v >> 40) / 2**24 for v in (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4)]


def test_parts_seeds_and_rows_have_draws_of_their_own() -> None:
    x = torch.full((100, 50), 0.5)
    drawn = [load(x, binarisation="static", seed=seed).test.tensor() for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert len({tuple(row) for row in drawn[0].tolist()}) == 10

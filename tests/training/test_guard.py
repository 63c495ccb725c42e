"""The judge of updates: what it leaves out, that it recovers, and that both of its kinds judge alike."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

import pytest
import torch

from lucid.training.guard import DeviceGuard, Guard, HostGuard

CPU = torch.device("cpu")


def judged(guard: Guard, norms: Iterable[float]) -> list[bool]:
    """Which of the norms are left out."""
    if isinstance(guard, DeviceGuard):
        return [bool(guard.leaves_out(torch.tensor(norm))) for norm in norms]
    assert isinstance(guard, HostGuard)
    return [guard.leaves_out(norm) for norm in norms]


def lognormal(n: int, sigma: float, seed: int = 0) -> list[float]:
    return (sigma * torch.randn(n, generator=torch.Generator().manual_seed(seed))).exp().tolist()


def troubled(seed: int) -> list[float]:
    """Lognormal norms whose level shifts, with spikes, zeros, NaN and infinities among them, and streaks of each."""
    generator = torch.Generator().manual_seed(seed)
    norms = torch.tensor(lognormal(2000, 0.8, seed))
    levels = 10 ** (6 * torch.rand(4, generator=generator) - 3)
    norms *= levels.repeat_interleave(500)
    kind = torch.rand(2000, generator=generator)
    norms[kind < 0.05] *= 1000
    for low, value in ((0.05, math.nan), (0.07, math.inf), (0.09, 0.0)):
        norms[(kind >= low) & (kind < low + 0.02)] = value
    norms[1200:1260] = math.nan
    return norms.tolist()


@pytest.mark.parametrize(("skip", "seed"), [(None, 0), (1.5, 1), (10.0, 2)])
def test_host_and_device_judge_alike(skip: float | None, seed: int) -> None:
    host, device = HostGuard(skip), DeviceGuard(skip, CPU)
    norms = troubled(seed)
    left_out = judged(host, norms)
    assert left_out == judged(device, norms)
    theirs = device.state()
    assert host.state() == theirs | {"mean": pytest.approx(theirs["mean"], rel=1e-9)}
    assert host.broken == sum(not math.isfinite(norm) for norm in norms)
    assert (host.skipped > host.broken) == (skip is not None)
    assert not all(left_out[1500:])


@pytest.mark.parametrize(("rise", "skip"), [(100.0, 10.0), (1e3, 10.0), (100.0, 3.0), (1e6, 30.0)])
def test_after_a_lasting_rise_it_lets_updates_through_again(rise: float, skip: float) -> None:
    """The mean of the logarithms goes up by 1, 2, 3 … fiftieths of log(skip) until the rise is within `skip` of it."""
    guard = HostGuard(skip)
    assert not any(judged(guard, [1.0] * 200))
    after = judged(guard, [rise] * 1000)
    needed = math.log(rise) / math.log(skip) - 1
    expected = next(steps for steps in range(50) if steps * (steps + 1) / 100 >= needed - 1e-9)
    assert sum(after) == expected
    assert after == sorted(after, reverse=True)  # once let through, always


def test_a_fixed_threshold_would_never_update_again() -> None:
    """Norms that vary, and become a hundred times as long for good."""
    before, after = lognormal(300, 0.3), [100 * norm for norm in lognormal(300, 0.3, seed=1)]
    typical = math.exp(sum(map(math.log, before)) / len(before))
    assert all(norm > 10 * typical for norm in after)
    guard = HostGuard(10.0)
    assert not any(judged(guard, before))
    left_out = judged(guard, after)
    assert all(left_out[:9])
    assert not any(left_out[70:])


def test_the_default_recovers_from_a_rise_before_training_is_given_up() -> None:
    """`max_skips` is 100 and `skip` 10: a rise of up to 900 times is lived through."""
    guard = HostGuard(10.0)
    judged(guard, [1.0] * 200)
    streaks = []
    for _ in range(200):
        guard.leaves_out(900.0)
        streaks.append(guard.streak)
    assert max(streaks) < 100
    assert guard.streak == 0


def test_a_stationary_sequence_loses_nothing() -> None:
    for guard, norms in ((HostGuard(10.0), lognormal(20_000, 0.45)), (DeviceGuard(10.0, CPU), lognormal(1_000, 0.45))):
        assert not any(judged(guard, norms))


def test_one_spike_is_left_out_however_long_and_hardly_moves_the_mean() -> None:
    guard = HostGuard(10.0)
    judged(guard, [1.0] * 200)
    assert judged(guard, [9.9, 1e30, 11.0, 1.0]) == [False, True, True, False]
    assert (guard.skipped, guard.broken, guard.streak) == (2, 0, 0)


def test_a_slow_rise_is_followed() -> None:
    """A thousandfold over a thousand steps, never ten times the typical norm."""
    assert not any(judged(HostGuard(10.0), [1000 ** (step / 1000) for step in range(2000)]))


def test_nothing_finite_is_left_out_before_the_typical_norm_is_known() -> None:
    wild = [10.0 ** (3 * (-1) ** step) for step in range(20)]
    guard = HostGuard(2.0)
    assert not any(judged(guard, wild))
    assert judged(guard, [math.nan, 1e9]) == [True, True]


def test_what_is_not_finite_counts_nothing_in_the_mean() -> None:
    with_it, without = HostGuard(10.0), HostGuard(10.0)
    norms = lognormal(100, 0.5)
    judged(with_it, [value for norm in norms for value in (norm, math.inf)])
    judged(without, norms)
    assert with_it.state()["mean"] == without.state()["mean"]
    assert (with_it.skipped, with_it.broken, with_it.streak) == (100, 100, 1)


def test_without_a_limit_only_what_is_not_finite_is_left_out() -> None:
    for guard in (HostGuard(None), DeviceGuard(None, CPU)):
        assert judged(guard, [1.0] * 50 + [1e30, math.nan, 1e-30, 0.0]) == [False] * 51 + [True, False, False]


@pytest.mark.parametrize("first", [HostGuard, DeviceGuard])
@pytest.mark.parametrize("then", [HostGuard, DeviceGuard])
def test_a_restored_judge_goes_on_as_if_it_had_not_stopped(first: type[Guard], then: type[Guard]) -> None:
    """Also on another kind of device, where a run may be resumed."""

    def new(kind: type[Guard]) -> Guard:
        return HostGuard(3.0) if kind is HostGuard else DeviceGuard(3.0, CPU)

    norms = troubled(7)
    for stop in (5, 1210):  # before the typical norm is known, and within a streak
        unbroken, stopped, resumed = new(then), new(first), new(then)
        expected = judged(unbroken, norms[: stop + 300])
        judged(stopped, norms[:stop])
        said = json.loads(json.dumps(stopped.state()))
        resumed.restore(said)
        assert resumed.state() == said
        assert (resumed.skipped, resumed.broken, resumed.streak) == tuple(
            said[k] for k in ("skipped", "broken", "streak")
        )
        assert judged(resumed, norms[stop : stop + 300]) == expected[stop:]
        if first is then:
            assert resumed.state() == unbroken.state()


def test_the_counts_of_a_device_are_known_when_they_are_read() -> None:
    guard = DeviceGuard(10.0, CPU)
    judged(guard, [math.nan, 1.0, math.nan, math.nan])
    assert (guard.skipped, guard.broken, guard.streak) == (0, 0, 0)
    guard.read()
    assert (guard.skipped, guard.broken, guard.streak) == (3, 3, 2)

"""β schedules: their shape, their limits, and that they can be saved."""

from __future__ import annotations

import dataclasses
import math

import pytest

from lucid import io
from lucid.objectives import Constant, Cosine, Cyclical, Linear, Schedule, Sigmoid

SCHEDULES: list[Schedule] = [
    Constant(0.5),
    Linear(steps=10, start=0.1, end=2.0),
    Cosine(steps=7, hold=5),
    Sigmoid(steps=9, sharpness=6.0),
    Cyclical(steps=12, cycles=3, ramp=0.25),
]
RAMPS = [schedule for schedule in SCHEDULES if isinstance(schedule, Linear | Cosine | Sigmoid)]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
class TestEvery:
    """What each schedule must do: it passes by being listed."""

    def test_is_saved_and_rebuilt_without_running_code(self, schedule: Schedule) -> None:
        assert io.build(io.describe(schedule)) == schedule

    def test_is_constant_once_it_is_complete(self, schedule: Schedule) -> None:
        done = schedule.num_steps
        assert schedule(done) == schedule(done + 1) == schedule(done + 10**6)

    def test_stays_in_range(self, schedule: Schedule) -> None:
        low, high = getattr(schedule, "start", schedule(0)), getattr(schedule, "end", schedule(0))
        assert all(low <= schedule(step) <= high for step in range(2 * schedule.num_steps + 1))

    def test_is_frozen(self, schedule: Schedule) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            schedule.beta = 3.0  # type: ignore[attr-defined]


@pytest.mark.parametrize("schedule", RAMPS, ids=lambda s: type(s).__name__)
def test_a_ramp_begins_at_start_ends_at_end_and_never_falls(schedule: Linear) -> None:
    values = [schedule(step) for step in range(schedule.num_steps + 1)]
    assert values[0] == pytest.approx(schedule.start, abs=1e-12)
    assert values[-1] == schedule.end
    assert values == sorted(values)


def test_ramps_follow_their_equations_half_way_and_at_a_quarter() -> None:
    assert Linear(steps=8)(2) == 0.25
    assert Cosine(steps=8)(2) == pytest.approx((1 - math.cos(math.pi / 4)) / 2)
    assert Cosine(steps=8)(4) == pytest.approx(0.5)
    sigmoid, logistic = Sigmoid(steps=8, sharpness=10.0), lambda t: 1 / (1 + math.exp(-10 * (t - 0.5)))
    assert sigmoid(4) == pytest.approx(0.5)
    assert sigmoid(2) == pytest.approx((logistic(0.25) - logistic(0)) / (logistic(1) - logistic(0)))


def test_a_ramp_can_be_held_back() -> None:
    schedule = Linear(steps=4, start=0.5, hold=3)
    assert [schedule(step) for step in range(9)] == [0.5, 0.5, 0.5, 0.5, 0.625, 0.75, 0.875, 1.0, 1.0]
    assert schedule.num_steps == 7


def test_a_cycle_ramps_then_stays_and_the_next_begins_again() -> None:
    schedule = Cyclical(steps=40, cycles=4, ramp=0.5)
    assert [schedule(step) for step in (0, 1, 4, 5, 9)] == pytest.approx([0.0, 0.2, 0.8, 1.0, 1.0])
    assert [schedule(step) for step in range(10)] == pytest.approx([schedule(step + 10) for step in range(10)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Linear(steps=0), "steps must be a positive number of training steps; received 0"),
        (lambda: Linear(steps=2.5), "steps must be a positive number"),  # type: ignore[arg-type]
        (lambda: Linear(steps=True), "steps must be a positive number"),
        (lambda: Linear(steps=5, hold=-1), "hold must be a non-negative number of training steps; received -1"),
        (lambda: Linear(steps=5, end=-1.0), "end must be non-negative and finite; received -1.0"),
        (lambda: Cosine(steps=5, start=math.nan), "start must be non-negative and finite; received nan"),
        (lambda: Constant(math.inf), "beta must be non-negative and finite; received inf"),
        (lambda: Sigmoid(steps=5, sharpness=0.0), "sharpness must be positive and finite; received 0.0"),
        (lambda: Cyclical(steps=5, cycles=9), "cycles must be positive and at most steps; received 9 in 5 steps"),
        (lambda: Cyclical(steps=5, ramp=1.5), r"ramp must be a fraction in \(0, 1\]; received 1.5"),
    ],
)
def test_a_wrong_value_is_refused_at_construction(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]

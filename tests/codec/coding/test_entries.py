"""When weak latents enter: never before the stack can pay, and first what gains most."""

from __future__ import annotations

import numpy as np
import pytest

from lucid.codec.coding.entries import DRAWN, ENTRIES, PACE, drawn, entered, marks_of
from lucid.codec.layout import MOST_MARK


def test_marks_end_where_a_record_says_they_do() -> None:
    assert DRAWN + len(ENTRIES) == MOST_MARK
    assert list(ENTRIES) == sorted({*ENTRIES})


@pytest.mark.parametrize("added", [20.0, 120.0, 1000.0])
def test_what_a_batch_pops_is_what_the_stack_holds(added: float) -> None:
    """A stack that grows by as much as was calibrated, simulated batch by batch."""
    generator = np.random.default_rng(0)
    popped = generator.uniform(2, 6, 300)
    marks = marks_of(generator.exponential(0.01, 300), popped, added)
    assert marks.max() > DRAWN
    for rows in (1, 2, 7):
        for first in range(rows, 400 * rows, rows):
            needed = rows * popped[~drawn(marks, entered(first, rows, PACE))].sum()
            assert needed <= 56 * rows + first * added


def test_what_gains_most_for_a_bit_enters_first() -> None:
    gain = np.array([1.0, 1e-3, 0.1, 1e-2, 1e-4])
    marks = marks_of(gain, np.full(5, 50.0), 10.0).astype(int)
    order = marks[np.argsort(-gain)]
    assert order[0] == 0
    assert (np.diff(order) > 0).all()


def test_what_cannot_be_drawn_is_coded_at_once_and_a_longer_seed_pays_for_it() -> None:
    cost, popped = np.array([np.inf] * 40 + [1e-3]), np.full(41, 5.0)
    assert marks_of(cost, popped, 100.0).tolist() == [0] * 40 + [DRAWN + 1]


def test_a_block_that_is_begun_slower_waits_longer() -> None:
    tiers = [entered(12, 1, pace) for pace in (PACE // 2, PACE, 2 * PACE)]
    assert [ENTRIES[tier - 1] for tier in tiers] == [24, 12, 6]
    assert entered(0, 1, PACE) == 0
    assert entered(1 << 20, 1, PACE) == len(ENTRIES)


def test_drawn_are_the_collapsed_ones_and_the_tiers_to_come() -> None:
    marks = np.array([0, 1, 2, 3, 4], dtype=np.uint8)
    assert drawn(marks, 0).tolist() == [False, True, True, True, True]
    assert drawn(marks, 2).tolist() == [False, True, False, False, True]

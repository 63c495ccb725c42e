"""Means over examples, gathered without a look."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lucid.objectives import Terms
from lucid.training.window import Window


def terms(loss: float, reconstruction: float, *kl: float) -> Terms:
    return Terms(torch.tensor(loss), torch.tensor(reconstruction), tuple(map(torch.tensor, kl)))


def test_every_example_counts_once_not_every_batch() -> None:
    window = Window()
    window.add(terms(10.0, 7.0, 1.0, 2.0), 3)
    window.add(terms(20.0, 13.0, 3.0, 4.0), 1)
    loss, elbo, reconstruction, kl = window.averages()
    assert [loss, reconstruction, *kl] == [12.5, 8.5, 1.5, 2.5]
    assert elbo == -8.5 - 4.0  # whatever the weights of the KL in the loss


@pytest.mark.parametrize("broken", [(math.nan, 1.0, 1.0), (1.0, math.inf, 1.0), (1.0, 1.0, -math.inf)])
def test_a_batch_that_is_not_finite_is_not_counted(broken: tuple[float, ...]) -> None:
    window = Window()
    window.add(terms(3.0, 2.0, 1.0), 5)
    window.add(terms(*broken), 5)
    assert window.state() == [15.0, 10.0, 5.0, 5.0]


def test_without_examples_there_is_no_mean() -> None:
    assert all(math.isnan(value) for value in Window().averages()[:3])
    window = Window()
    window.add(terms(1.0, 1.0, 1.0, 1.0), 0)  # of a process that had no row: it must know how many levels there are
    assert window.state() == [0.0] * 5
    averages = window.averages()
    assert math.isnan(averages.loss)
    assert len(averages.kl) == 2


def test_the_sums_do_not_depend_on_when_someone_looked() -> None:
    """Bit for bit: a progress bar looks at times that no resumed run repeats."""
    batches = [(terms(*row), 1 + number % 7) for number, row in enumerate((torch.rand(40, 3) * 1e3).tolist())]
    never, often = Window(), Window()
    for number, (batch, examples) in enumerate(batches):
        never.add(batch, examples)
        often.add(batch, examples)
        if number % 3 == 0:
            often.averages()
        if number == 20:
            often = Window(often.state())
    assert never.state() == often.state()
    assert never.averages() == often.averages()


def test_sums_of_several_processes_make_the_means_of_all() -> None:
    windows = [Window(), Window()]
    windows[0].add(terms(1.0, 1.0, 0.0), 3)
    windows[1].add(terms(9.0, 5.0, 4.0), 1)
    together = [sum(pair) for pair in zip(*(window.state() for window in windows), strict=True)]
    assert windows[0].averages(lambda _mine: together).loss == 3.0


def test_nothing_of_the_graph_is_kept() -> None:
    weight = torch.ones((), requires_grad=True)
    window = Window()
    window.add(Terms(weight * 2, (weight * 2).detach(), ((weight * 1).detach(),)), 1)
    assert all(isinstance(value, Tensor) and not value.requires_grad for row in window._waiting for value in row[:1])

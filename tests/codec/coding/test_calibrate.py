"""Grids: fine enough for the data, wide enough, and no finer or wider than they need to be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.codec.coding.networks import SIZE, FunctionNetwork, Model, chain, mixture, one_level

from lucid.codec.coding import BlockCoder, calibrate
from lucid.codec.layout import Grid


def grids(model: Model) -> list[Grid]:
    layout = calibrate(model.network, model.layout, model.data(100))
    return [latent.grid for latent in layout.latents if latent.grid is not None]


@pytest.mark.parametrize("scale", [1.0, 0.1, 0.01])
def test_a_cell_is_a_quarter_to_half_of_a_posterior_but_a_quarter_of_the_prior_at_most(scale: float) -> None:
    model = one_level()
    functions = {**model.network.functions, "q0.logvar": lambda _: torch.full((6,), scale).double().log() * 2}
    grid = grids(Model(FunctionNetwork(functions), model.layout))[0]
    assert grid.standardised
    for step in grid.step.tolist():
        assert step == 0.25 if scale > 0.5 else 0.25 * scale < step <= 0.5 * scale
    assert torch.equal(grid.cells * grid.step, torch.full((6,), 16.0).double())
    assert torch.equal(grid.centre, torch.zeros(6).double())


@pytest.mark.parametrize("make", [chain, mixture])
def test_a_grid_that_stands_alone_holds_all_that_was_seen_and_half_as_much(make: Callable[[], Model]) -> None:
    model = make()
    x = model.data(100)
    run = model.network.start(100)
    run.feed("x", x.double())
    loc, scale = run.read("q0.loc"), (0.5 * run.read("q0.logvar")).exp()
    grid = grids(model)[0]
    assert not grid.standardised
    low, high = grid.centre - grid.step * grid.cells / 2, grid.centre + grid.step * grid.cells / 2
    assert bool((low < (loc - 8 * scale).amin(0)).all())
    assert bool((high > (loc + 8 * scale).amax(0)).all())
    assert bool((grid.step <= 0.5 * scale.amax(0)).all())
    assert bool((grid.cells <= 2**16).all())


def test_collapsed_latents_are_found_and_others_are_not() -> None:
    """Three of six posteriors are the prior to 10⁻⁵ nats; the others are far from it."""
    model = one_level()
    alike = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0, 1.0]).double()
    functions = {
        **model.network.functions,
        "q0.loc": lambda values: alike * values["x"][:6] * 2 + 1e-3,
        "q0.logvar": lambda _: -2 * alike,
    }
    grid = grids(Model(FunctionNetwork(functions), model.layout))[0]
    assert grid.shared.tolist() == (alike == 0).tolist()


def test_what_all_collapsed_latents_give_up_is_bounded() -> None:
    """Each of 30 has a KL of 8·10⁻⁴ nats: one by one they are nothing, together 0.024, and so but twelve are shared."""
    model = one_level(latents=SIZE)
    functions = {
        **model.network.functions,
        "q0.loc": lambda _: torch.full((SIZE,), (2 * 8e-4) ** 0.5).double(),
        "q0.logvar": lambda _: torch.arange(SIZE).double() * 1e-9,
    }
    assert int((grids(Model(FunctionNetwork(functions), model.layout))[0].shared == 1).sum()) == 12


def test_no_examples_are_refused() -> None:
    model = one_level()
    with pytest.raises(ValueError, match="needs one example at least"):
        calibrate(model.network, model.layout, torch.zeros(0, SIZE, dtype=torch.int64))


def test_a_layout_without_grids_cannot_code() -> None:
    model = one_level()
    with pytest.raises(ValueError, match="has no grid; give its layout to calibrate first"):
        BlockCoder(model.network, model.layout)

"""What every objective keeps to: a new one is tested by being listed here."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from tests.objectives.families import FAMILIES, data, one_level

from lucid.distributions import Rows
from lucid.io import build, describe
from lucid.models import LatentModel, Record
from lucid.objectives import (
    CIWAE,
    ELBO,
    GECO,
    IWAE,
    MIWAE,
    BetaTC,
    Capacity,
    DReG,
    FreeBits,
    InfoVAE,
    KLBalancing,
    Linear,
    Objective,
    figures_of,
    record_of,
)

OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "elbo": lambda: ELBO(Linear(steps=10), spread=True),
    "free bits": lambda: FreeBits(0.1, schedule=0.5),
    "free bits per channel": lambda: FreeBits(0.1, per_channel=True),
    "balancing": lambda: KLBalancing(Linear(steps=10)),
    "capacity": lambda: Capacity(Linear(steps=10, end=3.0), gamma=5.0),
    "geco": lambda: GECO(7.0, rate=0.01, momentum=0.5),
    "iwae": lambda: IWAE(3),
    "dreg": lambda: DReG(3, schedule=Linear(steps=10)),
    "miwae": lambda: MIWAE(2, 3),
    "ciwae": lambda: CIWAE(0.2, 3),
    "beta-tc": lambda: BetaTC(50, Linear(steps=10, end=4.0), information=0.5, stratified=False),
    "infovae": lambda: InfoVAE(0.3, 10.0),
}

every_objective = pytest.mark.parametrize("name", OBJECTIVES)
every_family = pytest.mark.parametrize("family", FAMILIES)


def driven(objective: Objective, model: LatentModel, x: torch.Tensor | None = None) -> Record:
    return record_of(objective, model.walk(data() if x is None else x), torch.Generator().manual_seed(0))


@every_objective
@every_family
def test_gives_a_scalar_loss_and_the_parts_of_the_bound(name: str, family: str) -> None:
    model, objective = FAMILIES[family](), OBJECTIVES[name]()
    record = driven(objective, model)
    terms = objective(record, objective.beta(3))
    assert terms.loss.shape == terms.reconstruction.shape == ()
    assert terms.loss.requires_grad
    assert not any(part.requires_grad for part in (terms.reconstruction, terms.elbo, *terms.kl))
    torch.testing.assert_close(terms.elbo, record.elbo().mean().detach())
    for found, expected in zip(terms.kl, record.kl(), strict=True):
        torch.testing.assert_close(found, expected.mean().detach())


@every_objective
@every_family
def test_every_parameter_feels_it(name: str, family: str) -> None:
    model, objective = FAMILIES[family](), OBJECTIVES[name]()
    objective(driven(objective, model), objective.beta(3)).loss.backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
    assert any(parameter.grad.any() for parameter in model.parameters() if parameter.grad is not None)


@every_objective
@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_no_finite_output_makes_a_loss_or_a_gradient_that_is_not(name: str, scale: float) -> None:
    model, objective = one_level().float(), OBJECTIVES[name]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    terms = objective(driven(objective, model, data().float()), objective.beta(3))
    assert terms.loss.isfinite()
    terms.loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@every_objective
@every_family
def test_without_gradients_it_has_the_same_value(name: str, family: str) -> None:
    model = FAMILIES[family]()
    with_them, without = OBJECTIVES[name](), OBJECTIVES[name]()
    expected = with_them(driven(with_them, model), with_them.beta(3)).loss
    with torch.no_grad():
        found = without(driven(without, model), without.beta(3)).loss
    torch.testing.assert_close(found, expected.detach())


@every_objective
def test_is_made_again_from_its_description(name: str) -> None:
    objective = OBJECTIVES[name]()
    again = build(describe(objective))
    assert repr(again) == repr(objective)
    assert [again.beta(step) for step in (0, 3, 99)] == [objective.beta(step) for step in (0, 3, 99)]
    model = one_level()
    torch.testing.assert_close(
        again(driven(again, model), 0.7).loss, OBJECTIVES[name]()(driven(objective, model), 0.7).loss
    )


@every_objective
def test_its_figures_tell_the_weight_of_the_kl(name: str) -> None:
    figures = figures_of(OBJECTIVES[name](), 2.0)
    assert figures["beta"] > 0
    assert all(isinstance(value, float) for value in figures.values())


@every_objective
@every_family
def test_parts_of_a_batch_draw_what_the_whole_draws(name: str, family: str) -> None:
    model, objective = FAMILIES[family](), OBJECTIVES[name]()
    whole = record_of(objective, model.walk(data(6)), torch.Generator().manual_seed(0))
    part = record_of(objective, model.walk(data(6)[2:4]), Rows(torch.Generator().manual_seed(0), 2, 6))
    draws = len(whole.params) // 6
    for here, there in zip(part.latents, whole.latents, strict=True):
        torch.testing.assert_close(here.value, there.value.unflatten(0, (draws, 6))[:, 2:4].flatten(0, 1))


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "dreg"])
def test_compiles_as_a_whole_graph(name: str) -> None:
    model, objective, eager = one_level(), OBJECTIVES[name](), OBJECTIVES[name]()
    x, beta = data(), torch.tensor(0.6, dtype=torch.float64)

    def loss(of: Objective) -> torch.Tensor:
        return of(record_of(of, model.walk(x, check=False)), beta).loss

    def step(make: Callable[[Objective], torch.Tensor], of: Objective) -> tuple[torch.Tensor, ...]:
        with torch.random.fork_rng():
            torch.manual_seed(0)  # a compiled step draws from the global stream
            value = make(of)
        return value.detach(), *torch.autograd.grad(value, list(model.parameters()))

    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own remarks
        found = step(torch.compile(loss, fullgraph=True, backend="eager"), objective)
    for a, b in zip(found, step(loss, eager), strict=True):
        torch.testing.assert_close(a, b)

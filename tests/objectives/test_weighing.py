"""Capacity, KL balancing and GECO: what they weigh the KL with, and that it does what it is for."""

from __future__ import annotations

import math

import pytest
import torch
from tests.objectives.families import FAMILIES, chain, data, one_level

from lucid.models import LatentModel, Record, draws, drive
from lucid.objectives import GECO, Capacity, KLBalancing, Linear


def driven(model: LatentModel, seed: int = 0) -> Record:
    return drive(model.walk(data()), draws(torch.Generator().manual_seed(seed)))


def parts(record: Record) -> tuple[float, list[float]]:
    return float(record.reconstruction().mean().detach()), [float(kl.mean().detach()) for kl in record.kl()]


# Capacity


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("capacity", [0.0, 2.0, 500.0])
def test_capacity_is_its_definition(family: str, capacity: float) -> None:
    record = driven(FAMILIES[family]())
    reconstruction, kl = parts(record)
    expected = reconstruction + 30.0 * abs(sum(kl) - capacity)
    found = Capacity(capacity, gamma=30.0)(record, capacity).loss
    assert float(found.detach()) == pytest.approx(expected, rel=1e-10)


def test_capacity_schedules_nats_and_says_so() -> None:
    objective = Capacity(Linear(steps=10, end=25.0), gamma=7.0)
    assert [objective.beta(step) for step in (0, 5, 20)] == [0.0, 12.5, 25.0]
    assert objective.figures(objective.beta(5)) == {"beta": 7.0, "capacity": 12.5}
    with pytest.raises(ValueError, match="gamma must be positive and finite"):
        Capacity(1.0, gamma=0.0)


def test_capacity_holds_the_kl_at_it() -> None:
    model, objective = one_level(), Capacity(1.5, gamma=100.0)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for step in range(600):
        optimizer.zero_grad()
        objective(driven(model, step), 1.5).loss.backward()
        optimizer.step()
    assert sum(parts(driven(model))[1]) == pytest.approx(1.5, abs=0.3)


# KL balancing


@pytest.mark.parametrize("family", FAMILIES)
def test_balancing_is_its_definition(family: str) -> None:
    record = driven(FAMILIES[family]())
    reconstruction, kl = parts(record)
    share = [(abs(k) + 0.01) / latent.value[0].numel() for k, latent in zip(kl, record.latents, strict=True)]
    gamma = [len(kl) * s / sum(share) for s in share]
    assert sum(gamma) == pytest.approx(len(kl))
    expected = reconstruction + 0.6 * sum(g * k for g, k in zip(gamma, kl, strict=True))
    objective = KLBalancing(Linear(steps=10))
    assert float(objective(record, 0.6).loss.detach()) == pytest.approx(expected, rel=1e-10)
    # As a tensor, as the compiled step gives it; and once β is 1 all levels weigh alike.
    assert float(objective(record, torch.tensor(0.6)).loss.detach()) == pytest.approx(expected, rel=1e-6)
    for one in (1.0, torch.tensor(1.0)):
        torch.testing.assert_close(objective(record, one).loss, -record.elbo().mean())


def test_the_balance_is_a_constant_to_the_gradient() -> None:
    model = chain()
    record = driven(model)
    _, kl = parts(record)
    share = [(abs(k) + 0.01) / latent.value[0].numel() for k, latent in zip(kl, record.latents, strict=True)]
    fixed = record.reconstruction().mean() + 0.5 * sum(
        (2 * s / sum(share)) * level.mean() for s, level in zip(share, record.kl(), strict=True)
    )
    expected = torch.autograd.grad(fixed, list(model.parameters()), retain_graph=True)
    found = torch.autograd.grad(KLBalancing(Linear(steps=10))(record, 0.5).loss, list(model.parameters()))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_a_level_that_says_less_weighs_less() -> None:
    record = driven(chain())
    _, kl = parts(record)
    at_first, plain = KLBalancing(Linear(steps=10))(record, 0.5), -record.elbo().mean()
    assert kl[0] != kl[1]
    assert not torch.isclose(at_first.loss, plain)


def test_balancing_needs_a_warm_up() -> None:
    with pytest.raises(TypeError, match=r"received 1.0. Give a schedule, such as Linear\(steps=10_000\)"):
        KLBalancing(1.0)  # type: ignore[arg-type]


# GECO


def test_geco_follows_its_recurrence() -> None:
    model, target, rate, momentum = one_level(), 9.0, 0.01, 0.9
    objective = GECO(target, rate=rate, momentum=momentum).double()
    log_multiplier, average = 0.0, None
    for seed in range(5):
        record = driven(model, seed)
        reconstruction, kl = parts(record)
        missed = reconstruction - target
        average = missed if average is None else momentum * average + (1 - momentum) * missed
        expected = sum(kl) + math.exp(log_multiplier) * average
        terms = objective(record, 1.0)
        assert float(terms.loss.detach()) == pytest.approx(expected, rel=1e-6)
        assert float(terms.reconstruction) == pytest.approx(reconstruction)
        gradient = torch.autograd.grad(terms.loss, list(model.parameters()), retain_graph=True)
        by_hand = torch.stack(record.kl()).sum(0).mean() + math.exp(log_multiplier) * record.reconstruction().mean()
        for a, b in zip(gradient, torch.autograd.grad(by_hand, list(model.parameters())), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)
        log_multiplier += max(-0.1, min(0.1, rate * average))
        assert float(objective.log_multiplier) == pytest.approx(log_multiplier, rel=1e-6)
    assert objective.figures(1.0)["beta"] == pytest.approx(math.exp(-log_multiplier))


def test_geco_rests_in_evaluation_and_judges_by_the_target() -> None:
    objective = GECO(1.0).double().eval()
    record = driven(one_level())
    reconstruction, kl = parts(record)
    assert float(objective(record, 1.0).loss.detach()) == pytest.approx(sum(kl) + 10 * (reconstruction - 1.0))
    assert float(GECO(1e3).double().eval()(record, 1.0).loss.detach()) == pytest.approx(sum(kl))
    assert int(objective.num_batches) == 0
    assert float(objective.log_multiplier) == 0.0


def test_geco_reaches_the_target_with_the_least_kl() -> None:
    # Reconstructions cost between ½·6·log 2π = 5.5 nats, at best, and about 8.4 without latents.
    model, objective = one_level(), GECO(7.0, rate=0.01, momentum=0.9).double()
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    seen: list[float] = []
    for step in range(800):
        optimizer.zero_grad()
        terms = objective(driven(model, step), 1.0)
        terms.loss.backward()
        optimizer.step()
        seen.append(float(terms.reconstruction))
    assert sum(seen[-200:]) / 200 == pytest.approx(7.0, abs=0.15)
    assert float(objective.log_multiplier.exp()) > 1, "the target asks for more than the ELBO would give"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"target": math.nan}, "target must be finite"),
        ({"target": 1.0, "rate": 0.0}, "rate must be positive"),
        ({"target": 1.0, "momentum": 1.0}, r"momentum must be in \[0, 1\)"),
    ],
)
def test_geco_is_checked(arguments: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        GECO(**arguments)  # type: ignore[arg-type]

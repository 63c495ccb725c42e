"""Importance-weighted objectives: their definitions by brute force, their order, and an exact log p(x)."""

from __future__ import annotations

import math

import pytest
import torch
from tests.objectives.families import FAMILIES, chain, data, one_level
from torch import Tensor

from lucid import nn
from lucid.models import VAE, LatentModel, Record, draws, drive
from lucid.objectives import CIWAE, ELBO, IWAE, MIWAE, Objective


def driven(model: LatentModel, num_samples: int, x: Tensor | None = None, seed: int = 0) -> Record:
    stream = torch.Generator().manual_seed(seed)
    return drive(model.walk(data() if x is None else x), draws(stream, num_samples=num_samples))


def decoder_of(model: LatentModel) -> nn.Linear:
    assert isinstance(model, VAE)
    decoder = model.decoders[0]
    assert isinstance(decoder, nn.Linear)
    return decoder


def weights(record: Record, beta: float) -> list[list[float]]:
    """log w of each example (outer) and draw (inner), summed by hand."""
    assert record.x is not None
    rows = -record.reconstruction()
    for latent in record.latents:
        rows = rows - beta * latent.log_ratio()
    examples = len(record.x)
    return [[float(rows[k * examples + i].detach()) for k in range(len(rows) // examples)] for i in range(examples)]


def bound(log_w: list[float]) -> float:
    return math.log(sum(math.exp(w) for w in log_w) / len(log_w))


def mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("beta", [1.0, 0.25])
def test_are_their_definitions(family: str, beta: float) -> None:
    record = driven(FAMILIES[family](), 6)
    log_w = weights(record, beta)
    expected: dict[Objective, float] = {
        IWAE(6): -mean([bound(w) for w in log_w]),
        MIWAE(2, 3): -mean([mean([bound(w[:3]), bound(w[3:])]) for w in log_w]),
        MIWAE(3, 2): -mean([mean([bound(w[:2]), bound(w[2:4]), bound(w[4:])]) for w in log_w]),
        CIWAE(0.3, 6): -mean([0.3 * mean(w) + 0.7 * bound(w) for w in log_w]),
    }
    for objective, value in expected.items():
        assert float(objective(record, beta).loss.detach()) == pytest.approx(value, rel=1e-10), objective


def test_one_draw_of_each_is_the_sampled_elbo() -> None:
    record = driven(one_level(), 8)
    elbo = -record.log_weight().mean()
    torch.testing.assert_close(MIWAE(8, 1)(record, 1.0).loss, elbo)
    torch.testing.assert_close(CIWAE(1.0, 8)(record, 1.0).loss, elbo)
    torch.testing.assert_close(CIWAE(0.0, 8)(record, 1.0).loss, IWAE(8)(record, 1.0).loss)
    torch.testing.assert_close(MIWAE(1, 8)(record, 1.0).loss, IWAE(8)(record, 1.0).loss)


def test_more_draws_tighten_towards_the_exact_likelihood() -> None:
    # One linear level: x ~ N(b, W Wᵀ + I).
    model, x = one_level(), data(1000)
    decoder = decoder_of(model)
    weight, bias = decoder.weight.detach(), decoder.bias.detach()
    covariance = weight @ weight.T + torch.eye(6, dtype=torch.float64)
    exact = float(torch.distributions.MultivariateNormal(bias, covariance).log_prob(x).mean())
    found = [float(-IWAE(k)(driven(model, k, x), 1.0).loss.detach()) for k in (1, 10, 100, 1000)]
    assert found[0] < found[1] < found[2] < found[3] < exact + 0.01
    assert abs(found[3] - exact) < 0.05 * abs(found[0] - exact)


def test_the_gradient_is_weighted_by_the_normalised_weights() -> None:
    model = one_level()
    record = driven(model, 5)
    decoder = decoder_of(model)
    (found,) = torch.autograd.grad(IWAE(5)(record, 1.0).loss, decoder.bias, retain_graph=True)
    log_w = record.log_weight().view(5, -1)
    by_hand = (log_w.detach().softmax(0) * log_w).sum(0).mean()
    (expected,) = torch.autograd.grad(-by_hand, decoder.bias)
    torch.testing.assert_close(found, expected)


def test_what_is_told_beside_the_loss_is_the_elbo_of_all_draws() -> None:
    record = driven(chain(), 4)
    terms = IWAE(4)(record, 1.0)
    torch.testing.assert_close(terms.elbo, record.elbo().mean().detach())
    torch.testing.assert_close(terms.kl, ELBO()(record, 1.0).kl)


def test_far_weights_neither_overflow_nor_vanish() -> None:
    model = one_level()
    x = torch.full((2, 6), 1e4, dtype=torch.float64)
    for objective in (IWAE(3), MIWAE(3, 1), CIWAE(0.5, 3)):
        loss = objective(driven(model, 3, x), 1.0).loss
        assert loss.isfinite()
        assert all(g.isfinite().all() for g in torch.autograd.grad(loss, list(model.parameters())))


@pytest.mark.parametrize("objective", [IWAE(4), MIWAE(2, 2), CIWAE(0.5, 4)])
def test_a_record_of_other_draws_is_refused(objective: Objective) -> None:
    with pytest.raises(ValueError, match=r"must hold 4 draws of each of its 5 examples; it has 15 rows"):
        objective(driven(one_level(), 3), 1.0)


@pytest.mark.parametrize("bad", [0, -1, 2.0, True])
def test_draws_are_counted(bad: object) -> None:
    for make in (IWAE, lambda n: MIWAE(n, 2), lambda n: MIWAE(2, n), lambda n: CIWAE(0.5, n)):
        with pytest.raises(ValueError, match="must be a positive number of draws; received"):
            make(bad)  # type: ignore[arg-type]


def test_the_mix_is_a_part() -> None:
    with pytest.raises(ValueError, match=r"mix must be in \[0, 1\], the part of the ELBO; received 1.5"):
        CIWAE(1.5)

"""Doubly reparameterised gradients: their definition by brute force, their expectation, their variance."""

from __future__ import annotations

import math

import pytest
import torch
from tests.linear_gaussian import linear
from tests.objectives.families import FAMILIES, chain, data, seeded
from torch import Tensor

from lucid import nn
from lucid.distributions import Bernoulli, FlowPosterior
from lucid.models import VAE, LatentModel, VAEConfig, draws, drive
from lucid.objectives import IWAE, DReG, Objective, record_of


def gradient(model: LatentModel, objective: Objective, x: Tensor, seed: int, beta: float = 1.0) -> Tensor:
    """The gradient in all parameters, flat."""
    model.zero_grad()
    record = record_of(objective, model.walk(x), torch.Generator().manual_seed(seed))
    objective(record, beta).loss.backward()
    return torch.cat(
        [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in model.parameters()]
    )


def log_normal(z: Tensor, loc: Tensor, logvar: Tensor) -> Tensor:
    return -0.5 * ((z - loc).square() / logvar.exp() + logvar + math.log(2 * math.pi)).sum(-1)


def definition(model: VAE, x: Tensor, noise: tuple[Tensor, Tensor], beta: float) -> Tensor:
    """The published formula for the chain of two levels, written out: one term for each kind of parameter."""
    first, second = model.encoders
    samples, batch = noise[0].shape[:2]

    def draw_both() -> tuple[Tensor, Tensor]:
        loc, logvar = first(x).chunk(2, 1)
        z0 = loc + (0.5 * logvar).exp() * noise[0]
        loc, logvar = second(z0).chunk(2, -1)
        return z0, loc + (0.5 * logvar).exp() * noise[1]

    def log_joint(z0: Tensor, z1: Tensor) -> tuple[Tensor, Tensor]:
        mean = model.decoders[0](model.decoders[1](z1))
        prior = log_normal(z1, torch.zeros_like(z1), torch.zeros_like(z1))
        prior = prior + log_normal(z0, *model.priors[0](z1).chunk(2, -1))  # type: ignore[index]
        return log_normal(x, mean, torch.zeros_like(mean)), prior

    def log_weight(z0: Tensor, z1: Tensor) -> Tensor:
        posterior = log_normal(z0, *first(x).chunk(2, 1)) + log_normal(z1, *second(z0).chunk(2, -1))
        likelihood, prior = log_joint(z0, z1)
        return likelihood + beta * (prior - posterior)

    drawn = draw_both()
    fixed = [z.detach().requires_grad_() for z in drawn]
    log_w = log_weight(*fixed)
    w = log_w.detach().softmax(0)
    partial = torch.autograd.grad(log_w.sum(), fixed)  # of z: no parameter is touched
    model.zero_grad()
    factor = ((1 - beta) * w + beta * w.square())[..., None]
    by_draws = sum((factor * part * z).sum() for part, z in zip(partial, drawn, strict=True))
    likelihood, prior = log_joint(*(z.detach() for z in drawn))
    total = by_draws + (w * (likelihood + beta * prior)).sum()
    (-total / batch).backward()
    assert samples == w.shape[0]
    return torch.cat([p.grad.flatten() for p in model.parameters()])  # type: ignore[union-attr]


@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_is_the_published_formula(beta: float) -> None:
    model, x, samples = chain(), data(4), 3
    assert isinstance(model, VAE)
    stream = torch.Generator().manual_seed(7)
    noise = tuple(torch.randn(samples, 4, width, generator=stream, dtype=torch.float64) for width in (3, 2))
    found = gradient(model, DReG(samples), x, 7, beta)
    torch.testing.assert_close(found, definition(model, x, noise, beta), rtol=1e-9, atol=1e-12)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("beta", [1.0, 0.4])
def test_its_expectation_is_the_gradient_of_the_bound(family: str, beta: float) -> None:
    check_expectation(FAMILIES[family](), beta)


def check_expectation(model: LatentModel, beta: float) -> None:
    x = data(1).expand(400, 6)  # one example, many times: each batch is a mean over 400 draws of K
    means, errors = [], []
    for objective in (IWAE(3), DReG(3)):
        found = torch.stack([gradient(model, objective, x, seed, beta) for seed in range(40)])
        means.append(found.mean(0))
        errors.append(found.std(0) / math.sqrt(len(found)))
    error = torch.stack(errors).norm(dim=0)
    z = (means[0] - means[1]).abs() / error.clamp(min=1e-12)
    assert float(z.max()) < 4.5, "40 batches; the largest of a few hundred z-scores"
    assert float(means[0].norm()) > 10 * float(error.norm()), "there is a gradient to be equal to"


def test_its_expectation_is_that_of_a_flow_too() -> None:
    pytest.importorskip("zuko")

    def make() -> LatentModel:
        posterior = FlowPosterior(2, 3, passes=2, hidden=8)
        parts = {"encoders": [nn.Linear(6, posterior.num_outputs(2))], "decoders": [nn.Linear(2, 6)]}
        return VAE(VAEConfig(**parts, posterior=posterior))  # type: ignore[arg-type]

    check_expectation(seeded(make), 1.0)


W = 1.7


def scalar_model(shift: float) -> VAE:
    """p(z) = N(0, 1), p(x|z) = N(w z, 1); the posterior N(w x / (1 + w²), 1 / (1 + w²)), its mean off by `shift`."""
    slope, logvar = W / (1 + W * W), -math.log(1 + W * W)
    encoder = linear(torch.tensor([[slope], [0.0]]).double(), torch.tensor([shift, logvar]).double())
    return VAE(VAEConfig(encoders=[encoder], decoders=[linear(torch.tensor([[W]]).double(), torch.zeros(1).double())]))


def test_where_the_posterior_is_exact_the_encoder_feels_nothing_at_all() -> None:
    model, x = scalar_model(0.0), data(20)[:, :1]
    encoder = slice(0, 4)
    assert float(gradient(model, DReG(6), x, 0)[encoder].abs().max()) < 1e-6, "the weights are all p(x)"
    assert float(gradient(model, IWAE(6), x, 0)[encoder].abs().max()) > 1e-3, "plain gradients are noise there"


def test_the_decoder_feels_the_gradient_of_the_likelihood_itself() -> None:
    # There, log p(x) = log N(0, 1 + w²), and its derivative is w (x² − 1 − w²) / (1 + w²)².
    model, x = scalar_model(0.0), data(20)[:, :1]
    found = torch.stack([gradient(model, DReG(6), x, seed)[4] for seed in range(300)])
    exact = -(W * (x.square() - 1 - W * W) / (1 + W * W) ** 2).mean()
    assert abs(float(found.mean() - exact)) < 4 * float(found.std()) / math.sqrt(300)


def test_has_less_variance_in_the_encoder() -> None:
    model, x = scalar_model(0.02), data(20)[:, :1]
    spread = [
        float(torch.stack([gradient(model, objective, x, seed)[:4] for seed in range(40)]).var(0).sum())
        for objective in (IWAE(32), DReG(32))
    ]
    assert spread[1] < 0.1 * spread[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_its_value_is_that_of_the_bound(family: str) -> None:
    model, x = FAMILIES[family](), data()
    terms = [
        objective(record_of(objective, model.walk(x), torch.Generator().manual_seed(3)), 1.0)
        for objective in (IWAE(4), DReG(4))
    ]
    torch.testing.assert_close(terms[0].loss, terms[1].loss)
    torch.testing.assert_close(terms[0].elbo, terms[1].elbo)
    with torch.no_grad():
        record = record_of(DReG(4), model.walk(x), torch.Generator().manual_seed(3))
        torch.testing.assert_close(DReG(4)(record, 1.0).loss, terms[0].loss.detach())


def test_an_encoder_that_is_frozen_is_left_alone() -> None:
    model, x = chain(), data()
    assert isinstance(model, VAE)
    model.encoders[0].requires_grad_(False)
    expected = gradient(chain(), DReG(3), x, 0)
    found = gradient(model, DReG(3), x, 0)
    frozen = sum(p.numel() for p in model.encoders[0].parameters())
    assert not found[:frozen].any()
    torch.testing.assert_close(found[frozen:], expected[frozen:])


def test_a_walk_that_someone_else_drove_is_refused() -> None:
    record = drive(chain().walk(data()), draws(num_samples=3))
    with pytest.raises(ValueError, match=r"driven by DReG itself: record = objective.record"):
        DReG(3)(record, 1.0)


def test_a_posterior_without_reparameterisation_is_refused() -> None:
    def walk():  # type: ignore[no-untyped-def]
        yield Bernoulli()(torch.zeros(2, 3))

    with pytest.raises(ValueError, match=r"BernoulliLogits cannot: train with IWAE"):
        DReG(2).record(walk())


def test_parameters_of_both_kinds_receive_both_parts() -> None:
    # The likelihood's own parameter is a decoder's; with the mean emitted it has the plain weighted gradient.
    model, x = FAMILIES["one level"](), data()
    found = gradient(model, DReG(4), x, 1)
    assert isinstance(model, VAE)
    decoder = sum(p.numel() for p in model.encoders.parameters())
    plain = gradient(model, IWAE(4), x, 1)
    torch.testing.assert_close(found[decoder:], plain[decoder:], rtol=1e-9, atol=1e-12)
    assert isinstance(model.decoders[0], nn.Linear)

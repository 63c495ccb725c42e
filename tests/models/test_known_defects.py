"""Defects found in other libraries, one test each: lucid must not have them. The docstring names where it was seen."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from tests.linear_gaussian import LinearGaussian, exact, near, randn, stranger
from torch import Tensor
from torch.distributions import kl_divergence

import lucid.nn as nn
from lucid.distributions import (
    Bernoulli,
    Categorical,
    DiagonalGaussian,
    DiscretisedLogistic,
    StandardNormal,
    bounded_logvar,
    tempered,
)
from lucid.models import VAE, VAEConfig, draws, drive, importance_weighted


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=generator(seed))


def build(features: int = 6, latents: int = 2, **options: object) -> VAE:
    return VAE(
        VAEConfig(encoders=[nn.Linear(features, 2 * latents)], decoders=[nn.Linear(latents, features)], **options)
    )


def rows_through(decoder: nn.Module) -> list[int]:
    rows: list[int] = []
    decoder.register_forward_hook(lambda *call: rows.append(len(call[-1])))
    return rows


def test_mse_and_kl_are_on_one_scale() -> None:
    """Lucid 2.16 `vae.py`: MSE averaged over elements, KL summed over latents.

    Only with both summed does the loss at the exact posterior equal −log p(x), whatever the number of features.
    """
    for features in (4, 40):
        oracle = exact(features=features)
        x = randn(20, features, seed=1)
        model = oracle.model()
        losses = torch.stack([model.get_loss(x, *model(x)).loss.detach() for _ in range(400)])
        error = float(losses.std()) / math.sqrt(400)
        assert abs(float(losses.mean() + oracle.log_prob(x).mean())) < 4 * error


def test_learned_priors_use_the_sampled_kl() -> None:
    """Lucid 2.16 `vae.py`: closed-form KL with learned priors in a bottom-up chain, +2.99 where the term is −1.01."""
    oracle = stranger()
    x = torch.zeros(1, 1, dtype=torch.float64)
    kl = drive(oracle.model().walk(x), draws(generator(), num_samples=20_000)).kl()[0].detach()
    assert float(kl.mean()) == pytest.approx(float(oracle.kl(x)[0]), abs=4 * float(kl.std()) / math.sqrt(20_000))
    assert float(oracle.kl(x)[0]) == pytest.approx(-1.01, abs=0.01)


@pytest.mark.parametrize("latents", [1, 2, 3, 7])
def test_learned_priors_any_latent_size(latents: int) -> None:
    """Lucid 2.16 `vae.py`: `split` by chunks of 2 crashes unless the latent size is 2."""
    model = VAE(
        VAEConfig(
            encoders=[nn.Linear(6, 2 * latents), nn.Linear(latents, 10)],
            decoders=[nn.Linear(4, 6), nn.Linear(5, 4)],
            priors=[nn.Linear(5, 2 * latents)],
        )
    )
    x = rand(3, 6)
    model.get_loss(x, *model(x)).loss.backward()
    assert model.sample(2).shape == (2, 6)
    assert drive(model.walk(x), draws(generator())).latents[0].prior.event_shape == (latents,)


def test_beta_step_does_not_advance_in_evaluation_and_is_saved() -> None:
    """Lucid 2.16 `vae.py`: the β step advances in validation and is not saved."""
    model, x = build(beta_schedule=float), rand(3, 6)
    for training in (True, False, False, True, False):
        model.train(training)
        model.get_loss(x, *model(x))
    assert model.current_beta() == 2.0
    resumed = build(beta_schedule=float)
    resumed.load_state_dict(copy.deepcopy(model.state_dict()))
    assert resumed.current_beta() == 2.0


@pytest.mark.parametrize("end", [nn.Identity(), nn.Sigmoid()])
def test_bce_saturated_logits_keep_gradients(end: nn.Module) -> None:
    """Lucid 2.16 `vae.py`: BCE on clipped probabilities has no gradient once saturated."""
    decoder = nn.Linear(2, 6)
    with torch.no_grad():
        decoder.weight.zero_()
        decoder.bias.fill_(60.0)
    model = VAE(
        VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Sequential(decoder, end)], reconstruction_loss="bce")
    )
    x = torch.zeros(3, 6)
    loss = model.get_loss(x, *model(x))
    assert float(loss.recon_loss.detach()) == pytest.approx(6 * 60.0)
    loss.loss.backward()
    assert decoder.bias.grad is not None
    torch.testing.assert_close(decoder.bias.grad, torch.ones(6))


def test_iw_with_one_group_tightens() -> None:
    """pythae `miwae_model.py`: softmax over the wrong axis, so M = 1 group of K = 8 is the plain ELBO."""
    x = randn(1, 5, seed=2)
    oracle = near(x, 2, priors=True)
    many = x.repeat(10_000, 1)
    one, eight = importance_weighted(oracle.model(), many, [1, 8], generator())
    elbo, truth = float(oracle.elbo(x)), float(oracle.log_prob(x))
    assert float(one) == pytest.approx(elbo, abs=4 * float(one.standard_error))
    assert float(eight) - 4 * float(eight.standard_error) > elbo
    assert float(eight) < truth + 4 * float(eight.standard_error)
    # The gap falls as 1/k for weights of small variance: at K = 8 less than a quarter of it is left.
    assert truth - float(eight) < 0.25 * (truth - elbo) + 4 * float(eight.standard_error)


def test_iw_is_log_mean_exp_not_weighted_sum() -> None:
    """pythae `iwae_model.py`: Σ w̃·log w reported as the bound is optimistic by up to log K."""
    model, x = build().eval(), rand(1, 6)
    stream = generator(1)
    log_w = torch.stack([model.log_likelihood(x, 1, generator=stream).per_example for _ in range(8)])
    found = model.log_likelihood(x, 8, generator=generator(1), max_rows=1).per_example
    torch.testing.assert_close(found, log_w.logsumexp(0) - math.log(8), rtol=0, atol=1e-5)
    assert bool((found + 1e-3 < (log_w.softmax(0) * log_w).sum(0)).all())


@pytest.mark.parametrize("count", [1, 100, 150])
def test_num_samples_is_exact(count: int) -> None:
    """pythae `vae_model.py` `get_nll`: 1 draws 100 and 150 draw 100. scvi-tools `module/_vae.py`: draws ceil(n/p)·p."""
    model, x = build().eval(), rand(3, 6)
    rows = rows_through(model.decoders[0])
    assert model.log_likelihood(x, count, max_rows=64).num_samples == count
    assert sum(rows) == 3 * count


def test_num_samples_divides_by_what_was_drawn() -> None:
    """scvi-tools `module/_vae.py`: divides ceil(n/p)·p draws by n. Of equal weights the mean is the weight."""
    oracle = exact()
    x = randn(3, 5, seed=4)
    for count, max_rows in ((1, 100), (7, 6), (10, 9), (100, 64)):
        found = oracle.model().log_likelihood(x, count, max_rows=max_rows).per_example
        torch.testing.assert_close(found, oracle.log_prob(x), rtol=0, atol=1e-9)


def test_log_likelihood_is_a_log_likelihood() -> None:
    """pythae `vae_model.py` `get_nll`: mean log p under the name of its negative. Here larger is better."""
    oracle, x = exact(), randn(3, 5, seed=4)
    better, worse = (float(oracle.model().log_likelihood(data, 10)) for data in (x, x + 10))
    assert better > worse
    assert better == pytest.approx(float(oracle.log_prob(x).mean()))


def test_every_example_counts_once_even_in_a_last_short_chunk() -> None:
    """VDVAE `train.py`: evaluation drops the last batch."""
    model = exact().model()
    x = randn(10, 5, seed=4)
    found = model.log_likelihood(x, 2, max_rows=4).per_example
    torch.testing.assert_close(found, exact().log_prob(x), rtol=0, atol=1e-9)


def test_one_objective_in_training_and_evaluation() -> None:
    """PyTorch-VAE `experiment.py`: KL weight 0.00025 in training, 1.0 in validation."""
    model, x = build(kl_weight=0.25), rand(3, 6)
    output = model(x)
    training = model.get_loss(x, *output)
    evaluation = model.eval().get_loss(x, *output)
    assert [float(a.detach()) for a in training] == [float(b.detach()) for b in evaluation]


@pytest.mark.parametrize("depth", [2, 3])
def test_every_level_has_its_kl_against_its_own_prior(depth: int) -> None:
    """PyTorch-VAE `lvae.py`, `hvae.py`: KL against the wrong distribution, the top level's left out."""
    x = randn(1, 5, seed=5)
    oracle: LinearGaussian = near(x, depth, priors=True)
    kls = drive(oracle.model().walk(x), draws(generator(), num_samples=20_000)).kl()
    assert len(kls) == depth
    for level, (found, truth) in enumerate(zip(kls, oracle.kl(x), strict=True)):
        error = float(found.detach().std()) / math.sqrt(20_000)
        assert float(found.detach().mean()) == pytest.approx(float(truth), abs=4 * error + 1e-9), level


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_discrete_masses_sum_to_one(levels: int) -> None:
    """NVAE `distributions.py`: an edge threshold of 0.99 on 8-bit data, probabilities sum to 1.13–1.83."""
    support = (torch.arange(levels, dtype=torch.float64) / (levels - 1)).view(-1, 1, 1)
    likelihoods = [Categorical(levels), DiscretisedLogistic(levels), *([Bernoulli()] if levels == 2 else [])]
    for likelihood in likelihoods:
        for scale in (0.3, 1.0, 5.0):
            params = scale * torch.randn(30, likelihood.num_parameters, generator=generator(levels)).double()
            mass = likelihood(params).log_prob(support.expand(-1, 30, 1)).exp().sum(0)
            torch.testing.assert_close(mass, torch.ones(30, dtype=torch.float64), rtol=0, atol=1e-9)


def test_unbounded_logvar_gradients() -> None:
    """VDVAE `vae_helpers.py`: an unbounded log σ makes the gradient infinite at log σ_p = −43."""
    h = torch.tensor([[0.5, -86.0], [0.5, -3e38], [1e30, 3e38], [-3e38, 88.0]], requires_grad=True)
    p = torch.tensor([[-0.5, -86.0]] * 4, requires_grad=True)
    kl = kl_divergence(DiagonalGaussian.from_concatenated(h), DiagonalGaussian.from_concatenated(p)).sum()
    kl.backward()
    assert bool(kl.isfinite())
    for leaf in (h, p):
        assert leaf.grad is not None
        assert bool(leaf.grad.isfinite().all())


def test_a_runaway_logvar_still_has_a_gradient() -> None:
    """diffusers `vae.py`: a hard clamp kills the gradient of the log-variance outside its range."""
    for value in (-31.0, 21.0, -86.0, 1e4):
        logvar = torch.tensor([value], requires_grad=True)
        (gradient,) = torch.autograd.grad(bounded_logvar(logvar).sum(), logvar)
        assert float(gradient) > 0


def test_kl_sums_all_dims() -> None:
    """diffusers `vae.py`: the KL sums dimensions 1 to 3 only. Any trailing shape must give one number an example."""
    for shape in ((3,), (3, 2), (3, 2, 2), (3, 2, 2, 2), (3, 2, 2, 2, 2)):
        q = DiagonalGaussian(torch.full((5, *shape), 1.0), torch.zeros(5, *shape))
        expected = 0.5 * math.prod(shape)
        for p in (StandardNormal(q.loc), DiagonalGaussian(torch.zeros(5, *shape), torch.zeros(5, *shape))):
            kl = kl_divergence(q, p)
            assert kl.shape == (5,)
            torch.testing.assert_close(kl, torch.full((5,), expected))


def test_kl_has_the_half() -> None:
    """diffusers Oobleck, stable-audio-tools: the KL lacks its ½. Checked by integration, at one point by hand."""
    q = DiagonalGaussian(torch.tensor([[1.5]]).double(), torch.tensor([[-0.4]]).double())
    p = StandardNormal(q.loc)
    z = torch.linspace(-12, 12, 4001, dtype=torch.float64).view(-1, 1, 1)
    integral = float((q.log_prob(z).exp() * (q.log_prob(z) - p.log_prob(z))).sum()) * 24 / 4000
    assert float(kl_divergence(q, p)) == pytest.approx(integral, rel=1e-9)
    assert integral == pytest.approx(0.5 * (1.5**2 + math.exp(-0.4) - 1 + 0.4), rel=1e-9)


def test_temperature_multiplies_scale() -> None:
    """NVAE: temperature divides the scale, so cooling adds noise."""
    prior = StandardNormal(torch.zeros(1, 3))
    assert tempered(prior, 0.5).stddev.tolist() == [[0.5] * 3]
    model = build().eval()
    cold, warm = (model.sample(2000, temperature=t, generator=generator()).std(0) for t in (0.1, 1.0))
    torch.testing.assert_close(cold, 0.1 * warm)


def test_a_loss_under_autocast_is_not_a_bfloat16_number() -> None:
    """The bf16 trap of hand-written loops: with the loss inside autocast the KL is 0.020 where it is 0.046."""
    model, x = build(latents=32).eval(), rand(4, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mus, logvars = (torch.full((4, 32), value) for value in (0.03, -0.045))
        loss = model.get_loss(x, x, [mus], [logvars], [mus])
    truth = 32 * 0.5 * (0.03**2 + math.expm1(-0.045) + 0.045)
    assert truth == pytest.approx(0.03, rel=0.05)
    assert loss.kl.dtype == loss.recon_loss.dtype == torch.float32
    assert float(loss.kl) == pytest.approx(truth, rel=1e-5)
    assert float(loss.recon_loss) == pytest.approx(3 * math.log(2 * math.pi), rel=1e-6)


def test_a_peer_never_sees_global_randomness_change() -> None:
    """Seeding PyTorch from inside a library: looking at a model with a generator leaves the global stream alone."""
    model, x = build(), rand(3, 6)
    before = torch.get_rng_state()
    model.log_likelihood(x, 5, generator=generator())
    model.sample(3, generator=generator())
    assert torch.equal(torch.get_rng_state(), before)

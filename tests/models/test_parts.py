"""`top_prior` and `posterior` of a `VAEConfig`: against densities known exactly, in every family they fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.linear_gaussian import generator, linear, posterior_covariance, randn
from torch import Tensor
from torch.distributions import MultivariateNormal

import lucid
import lucid.nn as nn
from lucid.distributions import (
    DiagonalGaussian,
    DiagonalPosterior,
    FlowPosterior,
    FullCovariancePosterior,
    MixturePrior,
    Posterior,
    Prior,
    VampPrior,
)
from lucid.models import VAE, LadderVAE, VAEConfig, draws, drive

DEEP = {"encoders": [nn.Linear(6, 8), nn.Linear(4, 4)], "decoders": [nn.Linear(4, 6), nn.Linear(2, 4)]}


def weights_and_bias() -> tuple[Tensor, Tensor]:
    """A decoder whose columns are not orthogonal: the true posterior is correlated."""
    return randn(5, 3, seed=0), randn(5, seed=1)


def full_encoder(mean: Tensor, shift: Tensor, covariance: Tensor) -> nn.Linear:
    """The layer that emits N(mean · x + shift, covariance) as `FullCovariancePosterior` reads it."""
    factor = torch.linalg.cholesky(covariance)
    lower = factor / factor.diagonal()[:, None]  # unit diagonal: what lies below is a
    rows, columns = torch.tril_indices(3, 3, -1)
    constants = torch.cat([covariance.diagonal().log(), lower[rows, columns]])
    zeros = torch.zeros(len(constants), mean.shape[1], dtype=torch.float64)
    return linear(torch.cat([mean, zeros]), torch.cat([shift, constants]))


def test_a_full_covariance_reaches_log_p_where_no_diagonal_one_can() -> None:
    weight, bias = weights_and_bias()
    covariance = posterior_covariance(weight)
    gain = covariance @ weight.T
    model = VAE(
        VAEConfig(
            encoders=[full_encoder(gain, -gain @ bias, covariance)],
            decoders=[linear(weight, bias)],
            posterior=FullCovariancePosterior(),
        )
    )
    x = randn(4, 5, seed=2)
    truth = MultivariateNormal(bias, weight @ weight.T + torch.eye(5, dtype=torch.float64)).log_prob(x)
    record = drive(model.walk(x), draws(generator(0), num_samples=20))
    torch.testing.assert_close(record.log_weight().view(20, 4), truth.expand(20, 4), rtol=0, atol=1e-9)
    # What encode returns are the marginals.
    _, (mean,), (logvar,) = model.encode(x)
    torch.testing.assert_close(mean, (x - bias) @ gain.T)
    torch.testing.assert_close(logvar.exp(), covariance.diagonal().expand(4, 3))
    # The best diagonal posterior loses exactly the nats by which the latents depend on each other.
    precision = torch.linalg.inv(covariance).diagonal()
    best = linear(
        torch.cat([gain, torch.zeros(3, 5, dtype=torch.float64)]), torch.cat([-gain @ bias, -precision.log()])
    )
    diagonal = VAE(VAEConfig(encoders=[best], decoders=[linear(weight, bias)]))
    lost = 0.5 * (precision.log().sum() + torch.linalg.slogdet(covariance).logabsdet)
    bound = diagonal.elbo(x, 20_000, generator=generator(1))
    assert float(lost) > 0.1
    assert float(truth.mean()) - float(bound) == pytest.approx(float(lost), abs=0.05)


@pytest.mark.parametrize("family", [VAE, LadderVAE])
def test_a_learned_gaussian_prior_has_the_log_p_of_a_shifted_model(family: type[VAE | LadderVAE]) -> None:
    """One component N(m, S) is a linear-Gaussian model too: x ~ N(W m + b, W S Wᵀ + I)."""
    weight = torch.linalg.qr(randn(5, 3, seed=0))[0] * torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    bias, mean, logvar = randn(5, seed=1), randn(3, seed=2), randn(3, seed=3)
    prior = MixturePrior(3, components=1).double()
    with torch.no_grad():
        prior.loc.copy_(mean)
        prior.logvar.copy_(logvar)
    variance = 1 / ((-logvar).exp() + weight.square().sum(0))
    gain = variance[:, None] * weight.T
    encoder = linear(
        torch.cat([gain, torch.zeros(3, 5, dtype=torch.float64)]),
        torch.cat([variance * (-logvar).exp() * mean - gain @ bias, variance.log()]),
    )
    model = family(VAEConfig(encoders=[encoder], decoders=[linear(weight, bias)], top_prior=prior))
    x = randn(4, 5, seed=4)
    covariance = weight @ logvar.exp().diag() @ weight.T + torch.eye(5, dtype=torch.float64)
    truth = MultivariateNormal(weight @ mean + bias, covariance).log_prob(x)
    record = drive(model.walk(x), draws(generator(0), num_samples=20))
    torch.testing.assert_close(record.log_weight().view(20, 4), truth.expand(20, 4), rtol=0, atol=1e-9)
    drawn = drive(model.walk(num_examples=4000), draws(generator(0))).latents[-1].value
    error = (0.5 * logvar).exp() / 4000**0.5
    assert bool(((drawn.mean(0) - mean).abs() < 4 * error).all())


def test_a_mixture_of_posteriors_takes_means_on_the_way_to_the_deepest() -> None:
    """By hand, on two levels: p(z_1) = mean over u of q(z_1 | z_0 = the mean of q(z_0|u))."""
    prior = VampPrior(6, components=3, unit_interval=False)
    model = VAE(VAEConfig(**DEEP, priors=[nn.Linear(2, 8)], top_prior=prior))
    with torch.no_grad():
        z = torch.randn(5, 2, generator=generator(0))
        below = model.encoders[0](prior.pseudo_inputs).chunk(2, 1)[0]
        loc, logvar = model.encoders[1](below).chunk(2, 1)
        each = [DiagonalGaussian(m[None], v[None]).log_prob(z[:, None])[:, 0] for m, v in zip(loc, logvar, strict=True)]
        expected = torch.stack(each).logsumexp(0) - torch.tensor(3.0).log()
        latent = drive(model.walk(torch.randn(5, 6)), draws(generator(1))).latents[-1]
        torch.testing.assert_close(latent.prior.log_prob(z), expected)


def test_the_prior_of_several_draws_of_an_example() -> None:
    """A sampled KL over K draws is that of each draw alone."""
    prior = MixturePrior(2, components=4)
    model = VAE(VAEConfig(**DEEP, top_prior=prior))
    x = torch.randn(3, 6, generator=generator(0))
    with torch.no_grad():
        record = drive(model.walk(x), draws(generator(1), num_samples=5))
        latent = record.latents[-1]
        values = latent.value.view(5, 3, 2)
        alone = latent.prior.log_prob(values)
        for k in range(5):
            torch.testing.assert_close(prior(values[k], None).log_prob(values[k]), alone[k])
    assert model.log_likelihood(x, 7).num_samples == 7


POSTERIORS: dict[str, Any] = {
    "diagonal": (DiagonalPosterior, 2),
    "full": (FullCovariancePosterior, 2),
    "flow": (lambda: FlowPosterior(3, context=2, transforms=2, hidden=8), None),
}


def with_posterior(name: str, depth: int = 1) -> VAE:
    if name == "flow":
        pytest.importorskip("zuko")
    posteriors = [POSTERIORS[name][0]() for _ in range(depth)]
    width = posteriors[0].num_outputs(3)
    return VAE(
        VAEConfig(
            encoders=[nn.Linear(6, width), *(nn.Linear(3, width) for _ in range(depth - 1))],
            decoders=[nn.Linear(3, 6), *(nn.Linear(3, 3) for _ in range(depth - 1))],
            priors=[nn.Linear(3, 6) for _ in range(depth - 1)] or None,
            posterior=posteriors if name == "flow" else posteriors[0],
        )
    )


@pytest.mark.parametrize("name", POSTERIORS)
@pytest.mark.parametrize("depth", [1, 2])
def test_every_method_takes_any_posterior(name: str, depth: int, tmp_path: Path) -> None:
    model, x = with_posterior(name, depth), torch.randn(4, 6, generator=generator(0))
    (-model.elbo(x).value).backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.log_likelihood(x, 6).per_example.shape == (4,)
    assert model.reconstruct(x).shape == model.interpolate(x, x, steps=2)[0].shape == x.shape
    assert [tuple(t.shape) for tensors in model(x)[1:] for t in tensors] == [(4, 3)] * 3 * depth
    lucid.save(model, tmp_path / "model")
    again = lucid.load(tmp_path / "model")
    bounds = [m.eval().elbo(x, generator=generator(3)).per_example for m in (model, again)]
    assert torch.equal(*bounds)


def test_the_diagonal_posterior_is_what_there_is_without_one() -> None:
    model, x = with_posterior("diagonal", 2), torch.randn(4, 6, generator=generator(0))
    config = {name: getattr(model.config, name) for name in ("encoders", "decoders", "priors")}
    plain = VAE(VAEConfig(**config))
    losses = []
    for other in (model, plain):
        torch.manual_seed(1)
        losses.append(other.get_loss(x, *other(x)))
    assert losses[0] == losses[1]


@pytest.mark.parametrize("name", ["full", "flow"])
def test_get_loss_refuses_posteriors_that_mean_and_variance_do_not_make(name: str) -> None:
    model, x = with_posterior(name), torch.randn(4, 6)
    with pytest.raises(ValueError, match=r"get_loss takes posteriors for diagonal Gaussians.*model\.elbo\(x\)"):
        model.get_loss(x, *model(x))


def test_an_encoder_of_another_width_is_refused_in_the_posteriors_words() -> None:
    model = VAE(VAEConfig(encoders=[nn.Linear(6, 7)], decoders=[nn.Linear(3, 6)], posterior=FullCovariancePosterior()))
    with pytest.raises(ValueError, match=r"full-covariance posterior.*received \(4, 7\)"):
        model.elbo(torch.randn(4, 6))


class Shared(Posterior):
    """A posterior with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(()))

    def num_outputs(self, channels: int) -> int:
        return 2 * channels

    def forward(self, h: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian.from_concatenated(h + self.shift)


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"top_prior": "vamp"}, TypeError, r"top_prior must be a lucid.distributions.Prior; received a str"),
    ({"top_prior": MixturePrior}, TypeError, r"top_prior must be a .*Prior; received the class MixturePrior"),
    (
        {"posterior": nn.Linear(2, 2)},
        TypeError,
        r"posterior must be a .*Posterior; received a Linear",
    ),
    ({"posterior": [DiagonalPosterior(), None]}, TypeError, r"posterior\[1\] must be a .*; received a NoneType"),
    ({"posterior": [DiagonalPosterior()]}, ValueError, "posterior must hold one for each of the 2 levels; received 1"),
    ({"posterior": Shared()}, ValueError, "a Shared has parameters, which 2 levels cannot share: give a list"),
]


@pytest.mark.parametrize(("given", "kind", "words"), REFUSED)
def test_what_is_no_part_is_refused(given: dict[str, Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        VAEConfig(**DEEP, **given)


def test_posteriors_with_parameters_are_trained_one_a_level() -> None:
    model = VAE(VAEConfig(**DEEP, posterior=[Shared(), Shared()]))
    model.elbo(torch.randn(3, 6)).value.backward()
    gradients = [posterior.shift.grad for posterior in model.config.level_posteriors()]
    assert all(gradient is not None and float(gradient) != 0 for gradient in gradients)


def test_a_prior_of_ones_own_fits(tmp_path: Path) -> None:
    """What docs say a new prior is: one class that makes a distribution."""

    class Wide(Prior):
        def forward(self, like: Tensor, infer: Any) -> DiagonalGaussian:
            return DiagonalGaussian(torch.zeros_like(like), torch.full_like(like, 2.0))

    model = VAE(VAEConfig(encoders=[nn.Linear(6, 6)], decoders=[nn.Linear(3, 6)], top_prior=Wide()))
    x = torch.randn(4, 6)
    record = drive(model.walk(x), draws(generator(0)))
    q = record.latents[0].posterior
    assert isinstance(q, DiagonalGaussian)
    # The closed form is used where there is one.
    by_hand = 0.5 * ((q.logvar - 2).exp() - 1 - (q.logvar - 2) + q.loc.square() * torch.tensor(-2.0).exp()).sum(1)
    torch.testing.assert_close(record.kl()[0], by_hand)

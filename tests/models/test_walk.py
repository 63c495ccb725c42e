"""The walk: the order of its stops, its drivers, and that both directions agree, as a codec needs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

import lucid.nn as nn
from lucid.distributions import Categorical, DiagonalGaussian, StandardNormal
from lucid.models import (
    VAE,
    Latent,
    LatentModel,
    Record,
    VAEConfig,
    Walk,
    draws,
    drive,
    given,
    importance_weighted,
    means,
    weighted_loss,
)

SIZES = (5, 4, 3, 2)  # features, then the levels


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=generator(seed))


def build(priors: bool = True, **options: object) -> VAE:
    outputs = SIZES[0] * (3 if "likelihood" in options else 1)
    return VAE(
        VAEConfig(
            encoders=[nn.Linear(SIZES[i], 2 * SIZES[i + 1]) for i in range(3)],
            decoders=[nn.Linear(7, outputs), nn.Linear(6, 7), nn.Linear(2, 6)],
            priors=[nn.Linear(SIZES[i + 2], 2 * SIZES[i + 1]) for i in range(2)] if priors else None,
            **options,
        )
    )


def recorded(choose: Callable[[Distribution], Tensor]) -> tuple[Callable[[Distribution], Tensor], list[Tensor]]:
    """A driver that notes every value it decides."""
    values: list[Tensor] = []

    def and_note(distribution: Distribution) -> Tensor:
        values.append(choose(distribution))
        return values[-1]

    return and_note, values


def stops(walk: Walk, choose: Callable[[Distribution], Tensor]) -> list[tuple[int, ...]]:
    """The event shapes met on the way."""
    met: list[tuple[int, ...]] = []

    def and_note(distribution: Distribution) -> Tensor:
        met.append(tuple(distribution.event_shape))
        return choose(distribution)

    drive(walk, and_note)
    return met


def test_inference_goes_up_and_generation_comes_down() -> None:
    model = build()
    assert stops(model.walk(rand(3, 5)), means()) == [(4,), (3,), (2,)]
    assert stops(model.walk(num_examples=3), means()) == [(2,), (3,), (4,)]


def test_a_walk_yields_distributions_and_last_its_record() -> None:
    walk = build().walk(rand(3, 5))
    met = next(walk)
    for _ in range(2):
        assert isinstance(met, DiagonalGaussian)
        met = walk.send(met.mean)
    assert isinstance(met, DiagonalGaussian)
    record = walk.send(met.mean)
    assert isinstance(record, Record)
    with pytest.raises(StopIteration):
        next(walk)


def test_the_record_of_a_walk_over_data() -> None:
    model, x = build(), rand(3, 5)
    choose, values = recorded(draws(generator()))
    record = drive(model.walk(x), choose)
    assert record.x is x
    assert all(latent.value is value for latent, value in zip(record.latents, values, strict=True))
    assert [latent.prior_known_first for latent in record.latents] == [False, False, True]
    assert isinstance(record.latents[-1].prior, StandardNormal)
    h, posteriors = x, []
    for level in range(3):
        posteriors.append(DiagonalGaussian.from_concatenated(model.encoders[level](h)))
        h = values[level]
    assert model.priors is not None
    for level, latent in enumerate(record.latents):
        posterior = latent.posterior
        assert isinstance(posterior, DiagonalGaussian)
        torch.testing.assert_close(posterior.loc, posteriors[level].loc)
        torch.testing.assert_close(posterior.logvar, posteriors[level].logvar)
        if level < 2:
            prior = DiagonalGaussian.from_concatenated(model.priors[level](values[level + 1]))
            assert isinstance(latent.prior, DiagonalGaussian)
            torch.testing.assert_close(latent.prior.loc, prior.loc)
            torch.testing.assert_close(latent.prior.logvar, prior.logvar)
        ratio = posterior.log_prob(values[level]) - latent.prior.log_prob(values[level])
        torch.testing.assert_close(latent.log_ratio(), ratio)
    torch.testing.assert_close(record.params, model.decode(values))
    torch.testing.assert_close(record.elbo(), -record.reconstruction() - torch.stack(record.kl()).sum(0))


def test_without_learned_priors_every_level_is_a_standard_normal() -> None:
    model = build(priors=False)
    for record in (drive(model.walk(rand(3, 5)), means()), drive(model.walk(num_examples=3), means())):
        assert all(isinstance(latent.prior, StandardNormal) for latent in record.latents)
        assert [tuple(latent.value.shape) for latent in record.latents] == [(3, 4), (3, 3), (3, 2)]
        assert all(latent.prior_known_first for latent in record.latents)


def test_given_values_reproduce_the_record_exactly() -> None:
    model, x = build(), rand(3, 5)
    for walk in (lambda: model.walk(x), lambda: model.walk(num_examples=3)):
        choose, values = recorded(draws(generator()))
        first, again = drive(walk(), choose), drive(walk(), given(values))
        assert torch.equal(first.params, again.params)
        for a, b in zip(first.latents, again.latents, strict=True):
            assert torch.equal(a.value, b.value)
            assert torch.equal(a.prior.mean, b.prior.mean)
    assert torch.equal(drive(model.walk(x), draws(generator())).elbo(), drive(model.walk(x), draws(generator())).elbo())


def test_means_are_means_and_zero_temperature_draws_them() -> None:
    model = build()
    record, cold = (
        drive(model.walk(num_examples=3), choose) for choose in (means(), draws(generator(), temperature=0.0))
    )
    for a, b in zip(record.latents, cold.latents, strict=True):
        assert torch.equal(a.value, a.prior.mean)
        assert torch.equal(a.value, b.value)


def test_several_draws_are_laid_out_draw_major() -> None:
    model, x = build(), rand(3, 5)
    choose, values = recorded(draws(generator(), num_samples=4))
    record = drive(model.walk(x), choose)
    assert [tuple(value.shape) for value in values] == [(12, 4), (12, 3), (12, 2)]
    for quantity in (record.reconstruction(), record.elbo(), record.log_weight(), *record.kl()):
        assert quantity.shape == (12,)
    for k in range(4):
        rows = slice(3 * k, 3 * k + 3)
        alone = drive(model.walk(x), given([value[rows] for value in values]))
        torch.testing.assert_close(alone.reconstruction(), record.reconstruction()[rows])
        torch.testing.assert_close(alone.elbo(), record.elbo()[rows])
        torch.testing.assert_close(alone.log_weight(), record.log_weight()[rows])
        for a, b in zip(alone.kl(), record.kl(), strict=True):
            torch.testing.assert_close(a, b[rows])


@pytest.mark.parametrize("priors", [True, False])
def test_a_codec_finds_the_same_distributions_on_the_way_back(priors: bool) -> None:
    """Encoding pops every latent under its posterior, in inference order, pushes x, then every latent under its prior.

    Decoding undoes it: it pops the latents under their priors, deepest first, pops x, and pushes the latents back under
    their posteriors. Each distribution must be the one of the other direction.
    """
    model, x = build(priors, likelihood=Categorical(3)), torch.randint(3, (4, 5), generator=generator(1)) / 2
    stream = iter([torch.randint(-20, 21, (4, n), generator=generator(n)) for n in SIZES[1:]])

    def pop(distribution: Distribution) -> Tensor:
        # The latent's grid: integers in units of an eighth of a standard deviation.
        return distribution.mean + distribution.stddev * next(stream) / 8

    with torch.no_grad():
        choose, values = recorded(pop)
        sender = drive(model.walk(x), choose)
        met: list[Distribution] = []
        pushed = iter(reversed(values))

        def pull(distribution: Distribution) -> Tensor:
            met.append(distribution)
            return next(pushed)

        receiver = drive(model.walk(num_examples=4), pull)
        back = drive(model.walk(x), given(values))
    assert [tuple(d.event_shape) for d in met] == [(2,), (3,), (4,)]
    for at_sender, at_receiver, again in zip(sender.latents, receiver.latents, back.latents, strict=True):
        assert torch.equal(at_sender.value, at_receiver.value)
        assert torch.equal(at_sender.prior.mean, at_receiver.prior.mean)
        assert torch.equal(at_sender.prior.stddev, at_receiver.prior.stddev)
        assert at_sender.posterior is not None
        assert again.posterior is not None
        assert torch.equal(at_sender.posterior.mean, again.posterior.mean)
        assert torch.equal(at_sender.posterior.stddev, again.posterior.stddev)
    assert torch.equal(sender.params, receiver.params)
    assert torch.equal(sender.likelihood.log_prob(x), receiver.likelihood.log_prob(x))


def test_the_net_length_of_such_a_code_is_minus_the_log_weight() -> None:
    model, x = build(), rand(3, 5)
    choose, values = recorded(draws(generator()))
    sent = drive(model.walk(x), choose)
    received = drive(model.walk(num_examples=3), given(list(reversed(values))))
    pushed = received.likelihood.log_prob(x) + sum(latent.prior.log_prob(latent.value) for latent in received.latents)
    popped = sum(latent.posterior.log_prob(latent.value) for latent in sent.latents if latent.posterior is not None)
    torch.testing.assert_close(sent.log_weight(), pushed - popped)


# Another family, with parts of PyTorch's own distributions, fits the same drivers.


class TopDown(LatentModel):
    """A ladder: the shallow posterior and prior read the deeper latent, which is drawn first. No part is lucid's."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = 2
        self.likelihood = Categorical(2)
        self.protocol, self.figures = None, {}
        self.deep, self.shallow = nn.Linear(5, 4), nn.Linear(5 + 2, 6)
        self.prior, self.decoder = nn.Linear(2, 6), nn.Linear(3, 10)

    @staticmethod
    def normal(h: Tensor) -> Independent:
        loc, logvar = h.chunk(2, 1)
        return Independent(Normal(loc, (0.5 * logvar).exp()), 1)

    def walk(
        self,
        x: Tensor | None = None,
        *,
        num_examples: int = 1,
        check: bool = True,
        condition: Tensor | None = None,
    ) -> Walk:
        top = Independent(Normal(torch.zeros(num_examples if x is None else len(x), 2), 1.0), 1)
        deep_posterior = None if x is None else self.normal(self.deep(x))
        deep = yield top if deep_posterior is None else deep_posterior
        prior = self.normal(self.prior(deep))
        posterior = None
        if x is not None:
            posterior = self.normal(self.shallow(torch.cat([x.repeat(len(deep) // len(x), 1), deep], 1)))
        shallow = yield prior if posterior is None else posterior
        params = self.decoder(shallow)
        latents = (Latent(shallow, prior, posterior), Latent(deep, top, deep_posterior))
        yield Record(latents, params, self.likelihood(params, x), x)


def test_a_top_down_family_of_foreign_distributions_is_driven_alike() -> None:
    model, x = TopDown(), (rand(6, 5) > 0.5).float()
    weighted_loss(drive(model.walk(x), draws(generator())), [1.0, 1.0]).loss.backward()
    assert all(p.grad is not None for p in model.parameters())
    bound = model.elbo(x, 3000, generator=generator(1))
    assert [tuple(kl.shape) for kl in bound.kl_per_example] == [(6,), (6,)]
    sampled = importance_weighted(model, x, [1, 3000], generator(2))
    assert float(bound) < float(sampled[1])
    assert model.sample(4, generator=generator()).shape == (4, 5)
    assert model.reconstruct(x).shape == (6, 5)


def test_a_posterior_without_a_closed_form_is_sampled() -> None:
    q = torch.distributions.Laplace(torch.zeros(2, 3), torch.ones(2, 3))
    latent = Latent(torch.ones(2, 3), StandardNormal(torch.zeros(2, 3)), Independent(q, 1))
    assert torch.equal(latent.kl(), latent.log_ratio())


def test_a_temperature_for_each_level_scales_that_level() -> None:
    """A walk without data comes down: the last temperature is of the deepest latent, met first."""
    model, temperatures = build(), [0.5, 2.0, 0.0]
    record = drive(model.walk(num_examples=3), draws(generator(), temperature=temperatures))
    eps = generator()
    for level in reversed(range(3)):
        latent = record.latents[level]
        noise = torch.randn(latent.value.shape, generator=eps)
        expected = latent.prior.mean + temperatures[level] * latent.prior.variance.sqrt() * noise
        torch.testing.assert_close(latent.value, expected)


def test_too_few_temperatures_are_refused_at_the_draw() -> None:
    with pytest.raises(ValueError, match="fewer of them than latents"):
        drive(build().walk(num_examples=3), draws(temperature=[1.0, 1.0]))


def test_after_the_given_values_another_driver_decides() -> None:
    model = build()
    deepest = torch.full((3, 2), 0.7)
    record = drive(model.walk(num_examples=3), given([deepest], then=means()))
    assert record.latents[2].value is deepest
    assert all(torch.equal(latent.value, latent.prior.mean) for latent in record.latents[:2])

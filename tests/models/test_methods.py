"""sample, reconstruct, embed, interpolate, elbo, log_likelihood: shapes, exact counts; looking changes nothing."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.linear_gaussian import near, randn
from torch import Tensor

import lucid.nn as nn
from lucid.distributions import Categorical
from lucid.models import VAE, ElboEstimate, ImportanceEstimate, VAEConfig, drive, importance_weighted, means

FEATURES, SIZES = 5, (4, 3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=generator(seed))


def build(**options: Any) -> VAE:
    """Two levels with a learned prior; batch normalisation and dropout, which evaluation must silence."""
    width = options.pop("width", FEATURES)
    return VAE(
        VAEConfig(
            encoders=[
                nn.Sequential(nn.Linear(FEATURES, 9), nn.BatchNorm1d(9), nn.Dropout(0.5), nn.Linear(9, 8)),
                nn.Linear(4, 6),
            ],
            decoders=[nn.Sequential(nn.Linear(7, 7), nn.Dropout(0.5), nn.Linear(7, width)), nn.Linear(3, 7)],
            priors=[nn.Linear(3, 8)],
            **options,
        )
    )


def rows_through_the_decoder(model: VAE) -> list[int]:
    rows: list[int] = []
    model.decoders[0].register_forward_hook(lambda *call: rows.append(len(call[-1])))
    return rows


def test_shapes_and_estimates_say_what_they_are() -> None:
    model, x = build(), rand(6, FEATURES)
    assert model.reconstruct(x).shape == (6, FEATURES)
    assert model.sample(4).shape == (4, FEATURES)
    assert model.embed(x).shape == model.embed(x, -1).shape == model.embed(x, 1).shape == (6, 3)
    assert model.embed(x, 0).shape == model.embed(x, -2).shape == (6, 4)
    assert model.interpolate(x, x.flip(0)).shape == (8, 6, FEATURES)
    assert model.interpolate(x, x.flip(0), 3).shape == (3, 6, FEATURES)
    bound = model.eval().elbo(x, 11)
    assert isinstance(bound, ElboEstimate)
    assert (bound.num_samples, bound.estimator, bound.per_example.shape) == (11, "ELBO", (6,))
    assert [kl.shape for kl in bound.kl_per_example] == [(6,), (6,)]
    assert float(bound) == pytest.approx(float(bound.per_example.detach().mean()))
    assert float(bound.standard_error) == pytest.approx(float(bound.per_example.detach().std()) / math.sqrt(6))
    estimate = model.log_likelihood(x, 7)
    assert isinstance(estimate, ImportanceEstimate)
    assert (estimate.num_samples, estimate.estimator, estimate.per_example.shape) == (7, "IW-7", (6,))
    assert estimate.per_example.dtype == torch.float64
    assert bool(((estimate.effective_sample_size > 0.999) & (estimate.effective_sample_size < 7.001)).all())
    assert math.isnan(float(model.log_likelihood(x[:1], 3).standard_error))


@pytest.mark.parametrize("count", [1, 5, 100, 150])
@pytest.mark.parametrize("max_rows", [1, 7, 64, 8192])
def test_exactly_the_asked_number_of_draws_is_made_in_bounded_memory(count: int, max_rows: int) -> None:
    model, x = build().eval(), rand(3, FEATURES)
    rows = rows_through_the_decoder(model)
    estimate = model.log_likelihood(x, count, max_rows=max_rows)
    assert estimate.num_samples == count
    assert sum(rows) == 3 * count
    assert max(rows) <= max(max_rows, 1)
    rows.clear()
    model.elbo(x, count)
    assert rows == [3 * count]


def test_several_counts_share_one_growing_set_of_draws() -> None:
    model, x = build().eval(), rand(3, FEATURES)
    rows = rows_through_the_decoder(model)
    curve = importance_weighted(model, x, [1, 10, 25], generator(), max_rows=12)
    assert sum(rows) == 3 * 25
    assert [(e.num_samples, e.estimator) for e in curve] == [(1, "IW-1"), (10, "IW-10"), (25, "IW-25")]
    torch.testing.assert_close(curve[0].effective_sample_size, torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("max_rows", [1, 9, 40])
def test_chunking_changes_the_memory_not_the_estimate(max_rows: int) -> None:
    """The draws come in another order, so both estimates meet the truth, each within its own error."""
    data = randn(1, FEATURES, seed=5)
    oracle = near(data, 2, priors=True)
    model, x, truth = oracle.model(), data.repeat(3, 1), oracle.log_prob(data)
    for rows in (max_rows, 8192):
        estimate = model.log_likelihood(x, 500, generator=generator(1), max_rows=rows)
        errors = (1 / estimate.effective_sample_size - 1 / 500).sqrt()
        assert float(errors.max()) < 0.2
        assert bool(((estimate.per_example - truth).abs() < 4 * errors).all())


def test_chunks_of_one_example_at_a_time_are_the_same_draws() -> None:
    """One draw a chunk consumes the generator as one draw after the other does."""
    model, x = build().eval(), rand(1, FEATURES)
    single = [float(model.log_likelihood(x, 1, generator=stream)) for stream in [generator(3)] for _ in range(5)]
    together = model.log_likelihood(x, 5, generator=generator(3), max_rows=1)
    assert float(together) == pytest.approx(math.log(sum(map(math.exp, single)) / 5), rel=1e-6)


def test_the_effective_sample_size_by_its_definition() -> None:
    model, x = build().eval(), rand(1, FEATURES)
    w = [math.exp(float(model.log_likelihood(x, 1, generator=stream))) for stream in [generator(3)] for _ in range(5)]
    found = float(model.log_likelihood(x, 5, generator=generator(3), max_rows=1).effective_sample_size)
    assert found == pytest.approx(sum(w) ** 2 / sum(v * v for v in w), rel=1e-5)


METHODS: dict[str, Callable[[VAE, Tensor, torch.Generator], Tensor]] = {
    "sample": lambda m, _, g: m.sample(6, generator=g),
    "sample with noise": lambda m, _, g: m.sample(6, generator=g, noise=True),
    "elbo": lambda m, x, g: m.elbo(x, 3, generator=g).per_example,
    "log_likelihood": lambda m, x, g: m.log_likelihood(x, 3, generator=g).per_example,
    "reconstruct": lambda m, x, _: m.reconstruct(x),
    "embed": lambda m, x, _: m.embed(x),
    "interpolate": lambda m, x, _: m.interpolate(x, x.flip(0), 3),
}
methods = pytest.mark.parametrize("name", METHODS)
looking = pytest.mark.parametrize("name", [name for name in METHODS if name != "elbo"])


@methods
def test_a_generator_decides_and_the_global_stream_is_untouched(name: str) -> None:
    model, x = build().eval(), rand(6, FEATURES)
    before = torch.get_rng_state()
    first, again, other = (METHODS[name](model, x, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (name in {"reconstruct", "embed", "interpolate"})


@looking
def test_looking_at_a_model_in_training_changes_nothing(name: str) -> None:
    """Evaluation mode inside, the old mode, statistics and β step after; even where parts were in different modes."""
    model, x = build(), rand(6, FEATURES)
    model(x)
    model.encoders[1].eval()
    modes = [module.training for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    found = METHODS[name](model, x, generator(1))
    assert not found.requires_grad
    assert [module.training for module in model.modules()] == modes
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key
    assert torch.equal(found, METHODS[name](model.eval(), x, generator(1)))


@pytest.mark.parametrize("name", [name for name in METHODS if name not in {"elbo", "embed"}])
def test_the_mode_comes_back_after_an_error(name: str) -> None:
    model, x = build(), rand(6, FEATURES)
    model.decoders[0].register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        METHODS[name](model, x, generator(1))
    assert all(module.training for module in model.modules())
    assert torch.is_grad_enabled()


def test_the_elbo_is_differentiable_and_keeps_the_mode() -> None:
    model, x = build(), rand(6, FEATURES)
    bound = model.elbo(x, 2)
    bound.value.backward()
    assert all(p.grad is not None for p in model.parameters())
    assert not bound.standard_error.requires_grad
    assert model.training


def test_temperature_zero_is_the_decoded_mean_of_the_priors() -> None:
    model = build().eval()
    with torch.no_grad():
        expected = model.decode([torch.zeros(1, 4), torch.zeros(1, 3)])
    torch.testing.assert_close(model.sample(5, temperature=0.0), expected.expand(5, -1))


@pytest.mark.parametrize("temperature", [0.25, 1.0, 2.0])
def test_temperature_scales_the_spread_of_samples(temperature: float) -> None:
    decoder = nn.Linear(3, FEATURES)
    model = VAE(VAEConfig(encoders=[nn.Linear(FEATURES, 6)], decoders=[decoder]))
    n = 20_000
    samples = model.sample(n, temperature=temperature, generator=generator())
    truth = temperature * decoder.weight.detach().norm(dim=1)
    assert bool(((samples.std(0) / truth - 1).abs() < 4 / math.sqrt(2 * n)).all())
    noisy = model.sample(n, temperature=temperature, generator=generator(), noise=True)
    truth = (truth.square() + 1).sqrt()
    assert bool(((noisy.std(0) / truth - 1).abs() < 4 / math.sqrt(2 * n)).all())


@pytest.mark.parametrize(
    ("given", "same"),
    [
        (torch.tensor([0.5, 2.0]), [0.5, 2.0]),
        (np.array([0.5, 2.0]), [0.5, 2.0]),
        ((0.5, 2), [0.5, 2.0]),
        (torch.tensor(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (torch.tensor([0.5, 0.5]), 0.5),
    ],
)
def test_temperatures_come_as_numbers_lists_or_tensors(given: Any, same: Any) -> None:
    model, x = build().eval(), rand(3, FEATURES)
    ways: tuple[Callable[[Any], Tensor], ...] = (
        lambda t: model.sample(4, temperature=t, generator=generator()),
        lambda t: model.vary(x, levels=1, temperature=t, generator=generator()),
    )
    for way in ways:
        assert torch.equal(way(given), way(same))
    assert not torch.equal(ways[0](given), ways[0](1.0))


def test_samples_with_noise_are_data_without_noise_means() -> None:
    model = build(likelihood=Categorical(3), width=3 * FEATURES)
    noisy = model.sample(50, generator=generator(), noise=True)
    assert set(noisy.unique().tolist()) == {0.0, 0.5, 1.0}
    smooth = model.sample(50, generator=generator())
    assert not set(smooth.unique().tolist()) & {0.0, 0.5, 1.0}
    model = build(reconstruction_loss="bce")
    assert bool(((model.sample(9) > 0) & (model.sample(9) < 1)).all())


def test_reconstruct_decodes_the_posterior_means() -> None:
    model, x = build(reconstruction_loss="bce").eval(), rand(6, FEATURES)
    with torch.no_grad():
        h = x
        for level, encoder in enumerate(model.encoders):
            h = encoder(h)[:, : SIZES[level]]
            assert torch.equal(model.embed(x, level), h)
        expected = model.decode([h, h]).sigmoid()
    torch.testing.assert_close(model.reconstruct(x), expected)


def test_interpolation_is_straight_between_embeddings_with_both_ends() -> None:
    model, a, b = build().eval(), rand(4, FEATURES), rand(4, FEATURES, seed=1)
    line = model.interpolate(a, b, 5)
    torch.testing.assert_close(line[0], model.reconstruct(a))
    torch.testing.assert_close(line[-1], model.reconstruct(b))
    with torch.no_grad():
        middle = model.decode([torch.zeros(4, 4), 0.75 * model.embed(a) + 0.25 * model.embed(b)])
    torch.testing.assert_close(line[1], middle)


def test_samples_before_and_after_the_first_forward_agree() -> None:
    model, x = build().eval(), rand(6, FEATURES)
    before = model.sample(4, generator=generator())
    model(x)
    assert torch.equal(model.sample(4, generator=generator()), before)


def test_the_elbo_of_many_draws_is_the_mean_of_single_ones() -> None:
    model, x = build().eval(), rand(4, FEATURES)
    with torch.no_grad():
        many = model.elbo(x, 5000, generator=generator(1))
        single = model.elbo(x.repeat(5000, 1), 1, generator=generator(2)).per_example.view(5000, 4)
    error = single.std(0) * math.sqrt(2 / 5000)
    assert bool(((many.per_example - single.mean(0)).abs() < 4 * error).all())


def test_the_likelihood_of_reconstruct_is_that_of_the_means() -> None:
    model, x = build().eval(), rand(4, FEATURES)
    with torch.no_grad():
        record = drive(model.walk(x), means())
    assert torch.equal(record.likelihood.mean, model.reconstruct(x))


def test_in_a_chain_the_deepest_latent_decides_all() -> None:
    model, x = build().eval(), rand(3, FEATURES)
    for levels in (1, 2):
        torch.testing.assert_close(model.vary(x, levels, 4), model.reconstruct(x).expand(4, *x.shape))
    drawn = model.vary(x, 0, 4, generator=generator())
    torch.testing.assert_close(drawn, model.sample(12, generator=generator()).view(4, 3, FEATURES))


@pytest.mark.parametrize(("levels", "num_samples"), [(-1, 4), (3, 4), (1, 0)])
def test_vary_refuses_what_it_cannot_do(levels: int, num_samples: int) -> None:
    with pytest.raises(ValueError, match="received"):
        build().vary(rand(3, FEATURES), levels, num_samples)

"""`TopDownVAE`: shapes of every kind, conditions, what levels decide, bounds that hold, memory, saving, compiling."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.models.topdown.small import STAGES, generator, rand, small, stirred
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

import lucid
from lucid import nn
from lucid.distributions import (
    Bernoulli,
    DiagonalGaussian,
    DiscretisedLogistic,
    Gaussian,
    HeteroscedasticGaussian,
    MixturePrior,
    Rows,
    StandardNormal,
    VampPrior,
)
from lucid.models import Record, Stage, TopDownConfig, TopDownVAE, draws, drive, given, weighted_loss
from lucid.models.topdown.gaussians import prior_gaussian, residual_posterior
from lucid.models.topdown.layers import enlarge, shrink, subpixels
from lucid.training.recompute import recomputing


def loss_of(model: TopDownVAE, x: Tensor, seed: int = 1, **walk: Any) -> Tensor:
    return weighted_loss(drive(model.walk(x, **walk), draws(generator(seed))), [1.0] * model.depth).loss


# Order, shapes


def test_latents_are_met_from_the_deepest_and_recorded_by_level() -> None:
    model = small()
    shapes = [(2, 4, 3), (2, 4, 3), (2, 2, 2), (3, 1, 1)]
    for walk in (model.walk(rand(3, 1, 8, 5)), model.walk(num_examples=3)):
        met: list[tuple[int, ...]] = []

        def note(distribution: Any, met: list[tuple[int, ...]] = met) -> Tensor:
            met.append(tuple(distribution.event_shape))
            return distribution.mean

        record = drive(walk, note)
        assert met == shapes[::-1]
        assert [tuple(latent.value.shape[1:]) for latent in record.latents] == shapes
        assert isinstance(record.latents[-1].prior, StandardNormal)
        assert all(latent.prior_known_first for latent in record.latents)


@pytest.mark.parametrize(
    ("shape", "sizes", "likelihood"),
    [
        ((1, 8, 5), [(4, 3), (2, 2), (1, 1)], DiscretisedLogistic(5)),  # odd, by strides rounded up
        ((3, 7, 7), [(7, 7), (3, 3)], HeteroscedasticGaussian()),  # 7/3 rounded up
        ((2, 13), [(7,), (1,)], HeteroscedasticGaussian()),  # a signal
        ((6,), [(1,), (1,)], DiscretisedLogistic(5)),  # a vector
        ((1, 5, 4, 3), [(3, 2, 2), (1, 1, 1)], Bernoulli()),  # a volume
        ((2, 1, 9), [(1, 3)], Bernoulli()),  # flat
    ],
)
def test_any_shape_and_likelihood(shape: tuple[int, ...], sizes: list[tuple[int, ...]], likelihood: Any) -> None:
    stages = tuple(Stage(size, channels=4 + i, latents=2) for i, size in enumerate(sizes))
    model = small(shape, stages, likelihood)
    x = (rand(3, *shape) * 4).round() / 4 if likelihood.levels else rand(3, *shape)
    bound = model.elbo(x, 2, generator=generator())
    assert bound.per_example.shape == (3,)
    bound.value.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert model.sample(2, noise=True).shape == (2, *shape)
    assert model.reconstruct(x).shape == x.shape


def test_cells_are_shrunk_and_enlarged_alike_and_subpixels_fill_them() -> None:
    x = torch.arange(15.0).view(1, 1, 3, 5)
    means = shrink(x, (2, 2))
    assert torch.equal(means[0, 0], torch.tensor([[3.0, 5.0, 6.5], [10.5, 12.5, 14.0]]))
    back = enlarge(means, (2, 2), (3, 5))
    assert back.shape == x.shape
    assert float(back[0, 0, 1, 2]) == 5.0
    assert float(back[0, 0, 2, 4]) == 14.0
    h = torch.randn(2, 12, 3, 4, generator=generator())
    assert torch.equal(subpixels(h, (2, 2), (6, 8)), nn.functional.pixel_shuffle(h, 2))
    assert subpixels(h, (2, 2), (5, 7)).shape == (2, 3, 5, 7)


def test_a_fresh_model_starts_at_the_data_with_no_kl_and_features_of_one_size() -> None:
    stages = (Stage((4, 4), 16, 2, blocks=40, encoder_blocks=1),)
    model = TopDownVAE(TopDownConfig(shape=(1, 8, 8), likelihood=Bernoulli(), stages=stages))
    x = (rand(32, 1, 8, 8) < 0.2).float()
    model.start_at(x)
    record = drive(model.walk(x), draws(generator()))
    assert all(bool((kl == 0).all()) for kl in record.kl())
    assert abs(float(record.likelihood.mean.detach().mean()) - 0.2) < 0.03
    # 40 blocks, each with a branch and a projection of 1/√40: the variance of h stays of order one.
    h: list[Tensor] = []
    model.head.register_forward_pre_hook(lambda _module, inputs: h.append(inputs[0]))
    drive(model.walk(x), draws(generator()))
    assert 0.1 < float(h[0].detach().std()) < 3.0


# Conditions, levels


@pytest.mark.parametrize(
    ("options", "condition"),
    [({"num_classes": 3}, torch.tensor([0, 1, 2])), ({"condition_size": 2}, torch.randn(3, 2, generator=generator()))],
)
def test_a_condition_reaches_prior_posterior_and_data(options: dict[str, int], condition: Tensor) -> None:
    model, x = small(**options), rand(3, 1, 8, 5)
    with pytest.raises(ValueError, match="this model is conditional"):
        model.elbo(x)
    with pytest.raises(ValueError, match="this model is conditional"):
        model.sample(3)
    one, other = (model.elbo(x, generator=generator(), condition=c).per_example for c in (condition, condition.flip(0)))
    assert float((one - other)[1].abs().detach()) == 0  # the middle one has the same condition
    assert bool(((one - other)[[0, 2]].abs() > 1e-3).all())
    a, b = (model.sample(3, generator=generator(), condition=c) for c in (condition, condition.flip(0)))
    assert not torch.equal(a[0], b[0])
    # Several draws of an example keep its condition: each row is what it is alone.
    many = drive(model.walk(x, condition=condition), draws(generator(), num_samples=4))
    values = [latent.value for latent in reversed(many.latents)]
    conditions = condition.repeat(4, *([1] * (condition.dim() - 1)))
    repeated = drive(model.walk(x.repeat(4, 1, 1, 1), condition=conditions), given(values))
    torch.testing.assert_close(many.params, repeated.params)
    torch.testing.assert_close(many.log_weight(), repeated.log_weight(), rtol=1e-4, atol=1e-3)
    chunked = model.log_likelihood(x, 4, generator=generator(), max_rows=1, condition=condition)
    assert chunked.per_example.shape == (3,)


def test_vary_keeps_the_deepest_latents_and_draws_the_others() -> None:
    model, x = small(), rand(2, 1, 8, 5)
    torch.testing.assert_close(model.vary(x, 4, 3), model.reconstruct(x).expand(3, *x.shape))
    by_hand = model.sample(6, generator=generator()).view(3, *x.shape)
    torch.testing.assert_close(model.vary(x, 0, 3, generator=generator()), by_hand)
    kept, seen = 2, []
    for part in model.decoders:
        part.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[1]))
    model.vary(x, kept, 3, generator=generator(), temperature=[0.0, 1.0, 1.0, 1.0])
    inferred, varied = seen[:4], seen[4:]
    for level in range(kept):
        torch.testing.assert_close(varied[level], inferred[level].repeat(3, 1, 1, 1))
    assert varied[2].std(0).min() > 0
    # The spread of what is drawn shrinks with what is kept, and is nothing once all is.
    spread = [float(model.vary(x, k, 64, generator=generator()).std(0).mean()) for k in range(5)]
    assert spread[0] > spread[2] > spread[3] > spread[4] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.vary(rand(2, 1, 8, 5), 5), r"levels must be in 0 … 4"),
        (lambda m: m.vary(rand(2, 1, 8, 5), -1), r"levels must be in 0 … 4"),
        (lambda m: m.sample(2, temperature=[1.0, 1.0]), "one for each of the 4 levels; received 2 numbers"),
        (lambda m: m.elbo(rand(2, 1, 5, 8)), r"x must be \(N, 1, 8, 5\)"),
    ],
)
def test_errors_say_what_fits(call: Callable[[TopDownVAE], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(small())


# Numerics


def test_a_residual_posterior_is_measured_from_its_prior() -> None:
    prior = DiagonalGaussian(torch.randn(4, 3, generator=generator()), torch.randn(4, 3, generator=generator(1)))
    h = torch.randn(4, 6, generator=generator(2))
    a, b = h.chunk(2, 1)
    kl = torch.distributions.kl_divergence(residual_posterior(h, prior), prior)
    torch.testing.assert_close(kl, 0.5 * (a.square() + (2 * b).exp() - 1 - 2 * b).sum(1))
    same = torch.distributions.kl_divergence(residual_posterior(torch.zeros(4, 6), prior), prior)
    assert torch.equal(same, torch.zeros(4))


@pytest.mark.parametrize("size", [1e2, 1e10, 1e30, -1e10])
@pytest.mark.parametrize("part", ["priors", "posteriors"])
def test_no_finite_output_gives_a_non_finite_loss_or_gradient(part: str, size: float) -> None:
    model, x = small(likelihood=HeteroscedasticGaussian()), rand(3, 1, 8, 5)
    g = generator()
    with torch.no_grad():
        for network in getattr(model, part):
            network.body.widen.bias.copy_(size * torch.randn(network.body.widen.bias.shape, generator=g))
            # What is added to h is not bounded, and must not be: the numbers of the Gaussians are what is tested.
            if part == "priors":
                network.body.widen.bias[network.outputs :] = 0
    record = drive(model.walk(x), draws(generator()))
    loss = weighted_loss(record, [1.0] * 4).loss
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert all(float(kl.detach().max()) < 1e6 * 24 for kl in record.kl())


@pytest.mark.parametrize("size", [1e2, 1e30, -1e30])
def test_no_output_moves_a_mean_further_than_six_scales(size: float) -> None:
    # What one level lets through in a bad step, tens of levels below it multiply.
    prior = prior_gaussian(torch.tensor([[size, 0.0]]))
    posterior = residual_posterior(torch.tensor([[size, 0.0]]), prior)
    assert prior.loc.abs() <= 6
    assert (posterior.loc - prior.loc).abs() <= 6 * prior.scale


def test_half_precision_networks_leave_densities_in_float32() -> None:
    model, x = small(), rand(3, 1, 8, 5)
    with torch.autocast("cpu", torch.bfloat16):
        record = drive(model.walk(x), draws(generator()))
    for latent in record.latents:
        assert latent.value.dtype == latent.prior.mean.dtype == torch.float32
    assert record.likelihood.mean.dtype == torch.float32
    exact = drive(model.walk(x), draws(generator())).elbo()
    torch.testing.assert_close(record.elbo(), exact, rtol=0.1, atol=0.5)
    assert small().bfloat16().elbo(x.bfloat16()).value.dtype == torch.float32
    assert small().double().elbo(x.double()).value.dtype == torch.float64


def test_a_part_of_a_batch_draws_what_the_whole_would() -> None:
    model, x = small(), rand(6, 1, 8, 5)
    whole = drive(model.walk(x), draws(generator())).elbo()
    part = drive(model.walk(x[2:5]), draws(Rows(generator(), 2, 6))).elbo()
    torch.testing.assert_close(part, whole[2:5])


# Memory, saving, compiling


def test_recomputed_activations_give_the_same_gradients_from_fewer_kept_numbers() -> None:
    state = small(num_classes=3).state_dict()
    x, condition = rand(5, 1, 8, 5), torch.tensor([0, 1, 2, 0, 1])
    found: list[tuple[list[Tensor], int]] = []
    for how in ("kept", "config", "training"):
        model = small(num_classes=3, recompute=how == "config")
        model.load_state_dict(state)
        kept: dict[int, int] = {}

        def keep(t: Tensor, kept: dict[int, int] = kept) -> Tensor:
            kept[t.untyped_storage().data_ptr()] = t.numel()
            return t

        def run(model: TopDownVAE = model) -> Tensor:
            return loss_of(model, x, condition=condition)

        with saved_tensors_hooks(keep, lambda t: t):
            if how == "training":
                with recomputing(model):
                    loss = run()
                    loss.backward()
            else:
                loss = run()
                loss.backward()
        found.append(([p.grad for p in model.parameters() if p.grad is not None], sum(kept.values())))
    for gradients, numbers in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0][0], gradients, strict=True))
        assert numbers < 0.5 * found[0][1]


@pytest.mark.parametrize("prior", [None, MixturePrior((3, 1, 1), 4), VampPrior((1, 8, 5), 6)])
def test_saved_and_loaded_it_is_the_same_model(tmp_path: Path, prior: Any) -> None:
    model, x = small(num_classes=None, top_prior=prior, centred=True), rand(3, 1, 8, 5)
    lucid.save(model, tmp_path / "model")
    again = lucid.load(tmp_path / "model")
    assert isinstance(again, TopDownVAE)
    assert again.config.stages == STAGES
    a, b = (m.eval().elbo(x, generator=generator()).per_example for m in (model, again))
    assert torch.equal(a, b)


def test_a_top_prior_set_later_is_part_of_the_model(tmp_path: Path) -> None:
    model, x = small(condition_size=2), rand(3, 1, 8, 5)
    model.set_top_prior(stirred(MixturePrior((3, 1, 1), 4)))
    lucid.save(model, tmp_path / "model")
    again = lucid.load(tmp_path / "model")
    assert isinstance(again, TopDownVAE)
    assert isinstance(again.top_prior, MixturePrior)
    condition = torch.zeros(3, 2)
    a, b = (m.elbo(x, generator=generator(), condition=condition).per_example for m in (model, again))
    assert torch.equal(a, b)


def test_a_prior_made_of_posteriors_needs_a_model_without_condition() -> None:
    model = small(num_classes=3, top_prior=VampPrior((1, 8, 5), 6))
    with pytest.raises(ValueError, match="VampPrior is made of posteriors"):
        model.sample(2, condition=torch.tensor([0, 1]))


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own remarks about its imports
        yield
    torch.compiler.reset()


TWO = (Stage((2, 2), 4, 2), Stage((1, 1), 4, 1))
COMPILED: dict[str, tuple[str, Callable[[], TopDownVAE], tuple[int, ...], Tensor | None]] = {
    "images": ("aot_eager", lambda: small((1, 4, 3), TWO), (1, 4, 3), None),
    "labels, recomputed": (
        "aot_eager",
        lambda: small((1, 4, 3), TWO, num_classes=2, recompute=True),
        (1, 4, 3),
        torch.tensor([0, 1, 1]),
    ),
    "machine code": ("inductor", lambda: small((3,), (Stage((1,), 4, 1),), Gaussian(1.0)), (3,), None),
}


@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.usefixtures("fresh_compiler")
def test_the_walk_compiles_whole(name: str) -> None:
    backend, make, shape, condition = COMPILED[name]
    if backend == "inductor" and not shutil.which("g++"):
        pytest.skip("needs g++")
    model, x = make(), rand(3, *shape)
    eps = [torch.randn(3, *latent.value.shape[1:], generator=generator()) for latent in _latents(model, x, condition)]

    def loss(x: Tensor) -> Tensor:
        noise = iter(reversed(eps))
        record = drive(model.walk(x, condition=condition), lambda q: q.mean + q.stddev * next(noise))
        return weighted_loss(record, [1.0] * model.depth).loss

    found: list[tuple[Tensor, list[Tensor]]] = []
    for f in (torch.compile(loss, backend=backend, fullgraph=True), loss):
        value = f(x)
        model.zero_grad()
        value.backward()
        found.append((value.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)


def _latents(model: TopDownVAE, x: Tensor, condition: Tensor | None) -> Any:
    with torch.no_grad():
        record = drive(model.walk(x, condition=condition), lambda q: q.mean)
    assert isinstance(record, Record)
    return record.latents

"""Presets: every one of `PRESETS`, on data of every shape it takes, starts sensibly and is saved whole."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import lucid
from lucid import data
from lucid.distributions import (
    Bernoulli,
    Categorical,
    DiscretisedLogistic,
    FlowPosterior,
    HeteroscedasticGaussian,
    OptimalScaleGaussian,
)
from lucid.models import (
    POSTERIORS,
    PRESETS,
    PRIORS,
    Condition,
    DataProtocol,
    create,
    default_likelihood,
    draws,
    drive,
)
from lucid.objectives import Constant, Linear, objective_of

SHAPES = [(1, 8, 8), (3, 16, 16), (4, 9, 17), (2, 5, 3), (1, 1, 9)]


def image(shape: tuple[int, ...], levels: int | None = 256) -> DataProtocol:
    return DataProtocol(name="pictures", kind="image", shape=shape, levels=levels)


@pytest.mark.parametrize("name", PRESETS)
class TestEveryPreset:
    """What a preset must do: it passes by being in the table."""

    @pytest.mark.parametrize("shape", SHAPES)
    def test_takes_images_of_any_size(self, name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
        model = create(name, image(shape), size=1)
        x = torch.randint(0, 256, (2, *shape)) / 255
        bound = model.elbo(x)
        bound.value.backward()
        assert bound.value.isfinite()
        assert all(parameter.grad is not None for parameter in model.parameters())
        assert model.sample(2).shape == (2, *shape)
        lucid.save(model, tmp_path / "model")
        again = lucid.load(tmp_path / "model")
        assert torch.equal(again.reconstruct(x), model.reconstruct(x))
        assert again.protocol == model.protocol

    def test_the_dial_makes_it_larger(self, name: str) -> None:
        counts = [sum(p.numel() for p in create(name, image((1, 8, 8)), size=size).parameters()) for size in (1, 2, 3)]
        assert counts[0] < counts[1] < counts[2]

    @pytest.mark.parametrize("prior", PRIORS)
    def test_takes_any_prior_by_name(self, name: str, prior: str, tmp_path: Path) -> None:
        pytest.importorskip("zuko") if prior == "flow" else None
        small = {"size": 1, "latents": 2}
        model = create(name, image((1, 4, 4)), prior=prior, **small)
        x = torch.randint(0, 256, (3, 1, 4, 4)) / 255
        model.elbo(x).value.backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        assert type(model.top_prior).__name__.lower().startswith(prior)
        lucid.save(model, tmp_path / "model")
        again, stream = lucid.load(tmp_path / "model"), torch.Generator()
        bounds = [float(m.eval().elbo(x, generator=stream.manual_seed(0))) for m in (model, again)]
        assert bounds[0] == bounds[1]

    @pytest.mark.parametrize("likelihood", [Bernoulli(), DiscretisedLogistic(2), HeteroscedasticGaussian()])
    def test_takes_any_likelihood(self, name: str, likelihood: lucid.distributions.Likelihood) -> None:
        model = create(name, image((2, 4, 4), levels=2), size=1, likelihood=likelihood)
        x = torch.randint(0, 2, (3, 2, 4, 4)).float()
        assert model.elbo(x).value.isfinite()


@pytest.mark.parametrize("name", ["mlp", "ladder", "topdown"])
@pytest.mark.parametrize(("kind", "shape"), [("vector", (7,)), ("table", (3,)), ("series", (2, 9))])
def test_what_is_no_image_is_taken_too(name: str, kind: str, shape: tuple[int, ...]) -> None:
    model = create(name, DataProtocol(name="numbers", kind=kind, shape=shape), size=1)
    model.elbo(torch.randn(3, *shape)).value.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.sample(2).shape == (2, *shape)


CONFIGURED = ["mlp", "conv", "ladder"]


@pytest.mark.parametrize("name", CONFIGURED)
class TestEveryConfiguredPreset:
    """What those of a `VAEConfig` do besides."""

    def test_settings_of_the_configuration_are_passed_on(self, name: str) -> None:
        model = create(name, image((1, 8, 8)), latents=5, kl_weight=0.25)
        assert (model.config.kl_weight, model.sample(1).shape) == (0.25, (1, 1, 8, 8))
        assert model.embed(torch.zeros(2, 1, 8, 8), level=0).shape[1] == 5

    @pytest.mark.parametrize("depth", [1, 2, 4])
    def test_any_depth(self, name: str, depth: int) -> None:
        model = create(name, image((1, 8, 8)), size=1, depth=depth)
        x = torch.randint(0, 256, (3, 1, 8, 8)) / 255
        bound = model.elbo(x)
        bound.value.backward()
        assert len(bound.kl) == model.depth == depth
        assert all(parameter.grad is not None for parameter in model.parameters())
        # A hierarchy warms up to the bound itself, and each level starts at N(0, I).
        objective = objective_of(model)
        betas = [objective.beta(step) for step in (0, 250, 500, 10_000)]
        assert betas == ([1.0] * 4 if depth == 1 else [0.0, 0.5, 1.0, 1.0])
        assert model.level_weight(1.0) == 1.0
        with torch.no_grad():
            latents = drive(model.walk(num_examples=2), draws()).latents
        for latent in latents:
            torch.testing.assert_close(latent.prior.mean, torch.zeros_like(latent.value))
            torch.testing.assert_close(latent.prior.variance, torch.ones_like(latent.value))
        # The shapes of the latents are known before any data was met, and they are right.
        known = model.latent_shapes.clone()
        model._shapes.forget()
        model.elbo(x)
        assert torch.equal(model.latent_shapes, known)

    def test_a_schedule_of_ones_own_takes_the_place_of_the_warm_up(self, name: str) -> None:
        small = {"size": 1, "depth": 2}
        assert create(name, image((1, 4, 4)), kl_weight=0.5, **small).config.beta_schedule == Linear(500, end=0.5)
        assert create(name, image((1, 4, 4)), beta_schedule=Constant(2.0), **small).current_beta() == 2.0
        assert create(name, image((1, 4, 4)), beta_schedule=None, kl_weight=0.5, **small).current_beta() == 0.5

    def test_only_top_down_models_are_conditional(self, name: str) -> None:
        with pytest.raises(ValueError, match="only the preset topdown takes a condition"):
            create(name, image((1, 8, 8)), condition=Condition(num_classes=3))


@pytest.mark.parametrize("name", ["mlp", "conv"])
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("posterior", [*POSTERIORS, FlowPosterior])
def test_chains_take_any_posterior(name: str, depth: int, posterior: Any, tmp_path: Path) -> None:
    pytest.importorskip("zuko") if "full" != posterior != "diagonal" else None
    model = create(name, image((1, 4, 4)), size=1, latents=4, depth=depth, posterior=posterior)
    x = torch.randint(0, 256, (3, 1, 4, 4)) / 255
    bound = model.elbo(x)
    bound.value.backward()
    assert bound.value.isfinite()
    assert all(parameter.grad is not None for parameter in model.parameters())
    lucid.save(model, tmp_path / "model")
    assert torch.equal(lucid.load(tmp_path / "model").reconstruct(x), model.reconstruct(x))


def test_each_deeper_level_of_a_chain_has_half_the_latents() -> None:
    model = create("mlp", image((1, 4, 4)), latents=12, depth=4)
    assert [latent.shape[1] for latent in model.encode(torch.zeros(1, 1, 4, 4)).zs] == [12, 6, 3, 2]


def test_topdown_is_conditional_and_has_its_own_objective() -> None:
    model = create("topdown", image((1, 4, 4)), condition=Condition(num_classes=3))
    x = torch.randint(0, 256, (3, 1, 4, 4)) / 255
    assert model.elbo(x, condition=torch.arange(3)).value.isfinite()
    for settings in ({"kl_weight": 0.5}, {"posterior": "full"}, {"depth": 3}, {"dropout": 0.1}):
        with pytest.raises(TypeError, match=f"the preset topdown takes no {next(iter(settings))}"):
            create("topdown", image((1, 4, 4)), **settings)


def test_pseudo_inputs_start_at_examples() -> None:
    digits = data.load("digits")
    model = create("mlp", digits, size=1, prior="vamp")
    # A sigmoid of finite numbers keeps them a little inside of [0, 1].
    inputs = model.top_prior.pseudo_inputs.detach().flatten(1)
    nearest = torch.cdist(inputs, digits.train.tensor(2048).flatten(1), p=math.inf).min(1).values
    assert float(nearest.max()) < 0.05


def test_mlp_starts_at_the_marginals_of_each_feature() -> None:
    """Before any training its bound is far above that of a decoder that knows nothing of the data."""
    digits = data.load("digits")
    x = digits.test.tensor()
    with torch.no_grad():
        started, ignorant = (float(create("mlp", source).eval().elbo(x)) for source in (digits, digits.protocol))
    assert started > ignorant + 20


def test_conv_starts_at_the_marginals_of_each_channel() -> None:
    colours = torch.randint(0, 4, (300, 3, 8, 8)) + torch.tensor([0, 60, 200])[:, None, None]
    source = data.load(colours.to(torch.uint8), levels=256)
    with torch.no_grad():
        mean = create("conv", source).sample(4).mean((0, 2, 3))
    torch.testing.assert_close(255 * mean, torch.tensor([1.5, 61.5, 201.5]), atol=12.0, rtol=0)


def test_the_likelihood_suits_the_data() -> None:
    binary = DataProtocol(name="b", kind="image", shape=(1, 4, 4), levels=256, binarisation="dynamic")
    assert isinstance(default_likelihood(binary), Bernoulli)
    assert default_likelihood(image((1, 4, 4), 17)).levels == 17
    assert isinstance(default_likelihood(image((1, 4, 4), 17)), DiscretisedLogistic)
    assert isinstance(default_likelihood(image((1, 4, 4), None)), OptimalScaleGaussian)


@pytest.mark.parametrize(
    "likelihood",
    [Bernoulli(), Categorical(3), DiscretisedLogistic(3), HeteroscedasticGaussian(), OptimalScaleGaussian()],
)
def test_any_likelihood_starts_where_the_data_is(likelihood: lucid.distributions.Likelihood) -> None:
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(500, 6, generator=generator) < torch.linspace(0.1, 0.9, 6)).float()
    params = likelihood.initial_params(x)
    assert params is not None
    distribution = likelihood.eval()(params.expand(1, -1))
    assert torch.allclose(distribution.mean[0], x.mean(0), atol=0.12)
    assert math.isfinite(float(distribution.log_prob(x[:1])))


def test_errors_say_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"there is no preset 'convv'; did you mean conv\?"):
        create("convv", image((1, 8, 8)))
    with pytest.raises(ValueError, match="there is no preset 'transformer'; there are mlp, conv, ladder, topdown"):
        create("transformer", image((1, 8, 8)))
    with pytest.raises(ValueError, match="the preset conv is for images; wine is a table"):
        create("conv", DataProtocol(name="wine", kind="table", shape=(13,)))
    with pytest.raises(ValueError, match="latents must be a positive int; received 0"):
        create("mlp", image((1, 8, 8)), latents=0)
    with pytest.raises(ValueError, match="size must be a positive int; received True"):
        create("mlp", image((1, 8, 8)), size=True)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        create("mlp", image((1, 8, 8)), layers=3)
    with pytest.raises(ValueError, match=r"there is no prior 'vam'; did you mean vamp\?"):
        create("mlp", image((1, 8, 8)), prior="vam")
    with pytest.raises(ValueError, match=r"there is no posterior 'iaf'; there are diagonal, full, flow"):
        create("mlp", image((1, 8, 8)), posterior="iaf")
    with pytest.raises(ValueError, match="the preset ladder takes no posterior"):
        create("ladder", image((1, 8, 8)), posterior="full")
    with pytest.raises(ValueError, match="depth must be a positive int; received 0"):
        create("mlp", image((1, 8, 8)), depth=0)

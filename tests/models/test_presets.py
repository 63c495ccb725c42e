"""Presets: every one of `PRESETS`, on data of every shape it takes, starts sensibly and is saved whole."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

import lucid
from lucid import data
from lucid.distributions import (
    Bernoulli,
    Categorical,
    DiscretisedLogistic,
    HeteroscedasticGaussian,
    OptimalScaleGaussian,
)
from lucid.models import PRESETS, DataProtocol, create, default_likelihood

SHAPES = [(1, 8, 8), (3, 32, 32), (1, 28, 28), (4, 17, 30), (2, 5, 3), (1, 1, 9)]


def image(shape: tuple[int, ...], levels: int | None = 256) -> DataProtocol:
    return DataProtocol(name="pictures", kind="image", shape=shape, levels=levels)


@pytest.mark.parametrize("name", PRESETS)
class TestEveryPreset:
    """What a preset must do: it passes by being in the table."""

    @pytest.mark.parametrize("shape", SHAPES)
    def test_takes_images_of_any_size(self, name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
        model = create(name, image(shape), size=1)
        x = torch.randint(0, 256, (3, *shape)) / 255
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

    def test_settings_of_the_configuration_are_passed_on(self, name: str) -> None:
        model = create(name, image((1, 8, 8)), latents=5, kl_weight=0.25)
        assert (model.config.kl_weight, model.sample(1).shape) == (0.25, (1, 1, 8, 8))
        assert model.embed(torch.zeros(2, 1, 8, 8)).shape == (2, 5)


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
    with pytest.raises(ValueError, match="there is no preset 'transformer'; there are mlp, conv"):
        create("transformer", image((1, 8, 8)))
    with pytest.raises(ValueError, match="the preset conv is for images; wine is a table"):
        create("conv", DataProtocol(name="wine", kind="table", shape=(13,)))
    with pytest.raises(ValueError, match="latents must be a positive int; received 0"):
        create("mlp", image((1, 8, 8)), latents=0)
    with pytest.raises(ValueError, match="size must be a positive int; received True"):
        create("mlp", image((1, 8, 8)), size=True)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        create("mlp", image((1, 8, 8)), layers=3)

"""State dict, deepcopy, sharing, devices: what a model is made of is kept."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

import lucid.nn as nn
from lucid.distributions import LearnedScaleGaussian, OptimalScaleGaussian
from lucid.models import VAE, VAEConfig


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=generator(seed))


def conv(**options: Any) -> VAE:
    return VAE(
        VAEConfig(
            encoders=[nn.Sequential(nn.Conv2d(1, 4, 2, stride=2), nn.BatchNorm2d(4)), nn.Conv2d(2, 6, 2, stride=2)],
            decoders=[nn.ConvTranspose2d(5, 1, 2, stride=2), nn.ConvTranspose2d(3, 5, 2, stride=2)],
            priors=[nn.ConvTranspose2d(3, 4, 2, stride=2)],
            beta_schedule=float,
            **options,
        )
    )


def trained(model: VAE, steps: int = 3) -> VAE:
    x = rand(3, 1, 8, 8)
    for _ in range(steps):
        model.get_loss(x, *model(x)).loss.backward()
    return model


@pytest.mark.parametrize("likelihood", [None, OptimalScaleGaussian(), LearnedScaleGaussian(0.3)])
def test_the_state_dict_is_the_whole_state(likelihood: nn.Module | None) -> None:
    model = trained(conv(likelihood=likelihood))
    fresh = conv(likelihood=copy.deepcopy(likelihood))
    fresh.load_state_dict(model.state_dict())
    assert fresh.current_beta() == 3.0
    # The latents' shapes travel: a loaded convolutional model samples before it has met data.
    for a, b in zip((model, fresh), (fresh, model), strict=True):
        assert torch.equal(a.sample(2, generator=generator()), b.sample(2, generator=generator()))
    x = rand(4, 1, 8, 8, seed=1)
    bounds = [m.eval().elbo(x, 2, generator=generator()).per_example for m in (model, fresh)]
    assert torch.equal(*bounds)


def test_the_names_in_the_state_dict_are_those_of_the_parts() -> None:
    names = set(conv().state_dict())
    assert {"encoders.0.0.weight", "encoders.1.bias", "decoders.0.weight", "priors.0.bias", "beta_step"} <= names
    assert {name.split(".")[0] for name in names} == {"encoders", "decoders", "priors", "beta_step", "latent_shapes"}


def test_parameters_are_exactly_those_of_the_parts() -> None:
    model = conv()
    assert model.config.priors is not None
    parts = [*model.config.encoders, *model.config.decoders, *model.config.priors]
    assert {id(p) for p in model.parameters()} == {id(p) for part in parts for p in part.parameters()}


def test_a_deepcopy_is_equal_and_independent() -> None:
    model = trained(conv())
    twin = copy.deepcopy(model)
    assert torch.equal(model.sample(2, generator=generator()), twin.sample(2, generator=generator()))
    assert twin.current_beta() == model.current_beta()
    assert not {id(p) for p in model.parameters()} & {id(p) for p in twin.parameters()}
    assert twin.config.encoders[0] is twin.encoders[0]
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        for tensor in twin.state_dict().values():
            tensor.add_(1)
    trained(twin)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def shared() -> VAE:
    """One module at two levels, and in the priors too."""
    middle, head = nn.Linear(4, 8), nn.Linear(4, 4)
    return VAE(
        VAEConfig(
            encoders=[middle, middle, middle],
            decoders=[head, nn.Identity(), nn.Sequential(head)],
            priors=[middle, middle],
        )
    )


def test_the_same_module_twice_shares_its_weights() -> None:
    model = shared()
    assert sum(p.numel() for p in model.parameters()) == (4 * 8 + 8) + (4 * 4 + 4)
    assert model.encoders[0] is model.encoders[2]
    x = rand(5, 4)
    loss = model.get_loss(x, *model(x)).loss
    loss.backward()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.step()
    assert model.priors is not None
    assert torch.equal(model.encoders[0].weight, model.priors[1].weight)
    assert model.sample(2).shape == (2, 4)


def test_sharing_survives_deepcopy_and_the_state_dict() -> None:
    model = shared()
    twin = copy.deepcopy(model)
    assert twin.priors is not None
    assert twin.encoders[0] is twin.encoders[1] is twin.priors[0]
    assert twin.encoders[0] is not model.encoders[0]
    fresh = shared()
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh.sample(3, generator=generator()), model.sample(3, generator=generator()))


def test_two_models_of_one_config_share_their_modules_but_not_their_step() -> None:
    config = VAEConfig(encoders=[nn.Linear(4, 4)], decoders=[nn.Linear(2, 4)], beta_schedule=float)
    first, second = VAE(config), VAE(config)
    x = rand(3, 4)
    first.get_loss(x, *first(x))
    assert (first.current_beta(), second.current_beta()) == (1.0, 0.0)
    assert first.encoders[0] is second.encoders[0]


def test_a_fully_convolutional_model_follows_the_size_of_its_data() -> None:
    model = conv().eval()
    for size in (8, 16, 12):
        model(rand(3, 1, size, size))
        assert model.sample(2).shape == (2, 1, size, size)


def test_moving_to_double_keeps_counters_whole_and_numbers_close() -> None:
    model, x = trained(conv()).eval(), rand(2, 1, 8, 8)
    before = model.embed(x)
    model.to(torch.float64)
    assert model.beta_step.dtype == model.latent_shapes.dtype == torch.int64
    after = model.embed(x.double())
    assert after.dtype == model.sample(2).dtype == torch.float64
    torch.testing.assert_close(after.float(), before)


def test_a_state_of_other_parts_is_refused_by_pytorch() -> None:
    with pytest.raises(RuntimeError, match=r"size mismatch for encoders\.0\.weight"):
        VAE(VAEConfig(encoders=[nn.Linear(4, 4)], decoders=[nn.Linear(2, 4)])).load_state_dict(
            VAE(VAEConfig(encoders=[nn.Linear(4, 6)], decoders=[nn.Linear(3, 4)])).state_dict()
        )

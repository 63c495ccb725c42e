"""The networks of a model, by name."""

from __future__ import annotations

from tests.training.helpers import vae

from lucid import nn
from lucid.models import VAE, VAEConfig
from lucid.training.networks import networks_of


def test_the_entries_of_lists_and_children_with_parameters() -> None:
    assert list(networks_of(vae())) == ["encoders.0", "decoders.0"]
    config = VAEConfig(
        encoders=[nn.Linear(6, 8), nn.Linear(4, 6)],
        decoders=[nn.Linear(4, 6), nn.Linear(3, 4)],
        priors=[nn.Linear(3, 8)],
    )
    model = VAE(config)
    found = networks_of(model)
    assert list(found) == ["encoders.0", "encoders.1", "decoders.0", "decoders.1", "priors.0"]
    assert all(found[name] is model.get_submodule(name) for name in found)


def test_every_trained_parameter_of_a_model_is_in_one_of_them() -> None:
    model = vae()
    inside = {id(p) for network in networks_of(model).values() for p in network.parameters()}
    assert inside == {id(p) for p in model.parameters()}


def test_other_children_count_if_they_hold_parameters() -> None:
    model = nn.Module()
    model.act, model.head = nn.SiLU(), nn.Linear(2, 2)
    assert list(networks_of(model)) == ["head"]

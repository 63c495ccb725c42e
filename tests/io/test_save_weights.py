"""Saving other weights than the model's own, such as their average, without touching the model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from lucid.io import load, save

if TYPE_CHECKING:
    from types import SimpleNamespace


def moved(model: nn.Module) -> dict[str, Tensor]:
    return {name: value + 1 for name, value in model.state_dict().items()}


def test_what_is_given_is_saved_and_the_model_stays_as_it_is(tmp_path: Path, toy: SimpleNamespace) -> None:
    model = toy.make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    weights = moved(model)
    save(model, tmp_path / "model", weights=weights)
    back = load(tmp_path / "model").state_dict()
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], value) for name, value in weights.items())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_its_own_weights_make_the_same_files(tmp_path: Path, toy: SimpleNamespace) -> None:
    model = toy.make()
    save(model, tmp_path / "plain")
    save(model, tmp_path / "given", weights=model.state_dict())
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "given" / name).read_bytes()


def test_names_that_are_not_the_models_are_refused_and_nothing_is_written(tmp_path: Path, toy: SimpleNamespace) -> None:
    model = toy.make()
    missing = moved(model)
    del missing["decoders.0.0.bias"]
    for weights, name in ((missing, "decoders.0.0.bias"), (moved(model) | {"extra": torch.ones(1)}, "extra")):
        with pytest.raises(ValueError, match=f"names of the model's state dict; '{name}' is in only one of the two"):
            save(model, tmp_path / "model", weights=weights)
    assert not list(tmp_path.iterdir())


def test_another_shape_is_refused(tmp_path: Path, toy: SimpleNamespace) -> None:
    model = toy.make()
    weights = moved(model) | {"decoders.0.0.bias": torch.zeros(4)}
    with pytest.raises(ValueError, match=r"'decoders\.0\.0\.bias' is \(4,\) in the place of \(3,\)"):
        save(model, tmp_path / "model", weights=weights)
    assert not list(tmp_path.iterdir())


def test_tied_weights_stay_one(tmp_path: Path, toy: SimpleNamespace) -> None:
    """The first name's value counts for both."""
    layer = nn.Linear(3, 3)
    model = toy.make(encoders=[nn.Sequential(layer)], decoders=[nn.Sequential(nn.Linear(3, 3))])
    model.decoders[0][0].weight = layer.weight
    weights = moved(model) | {"decoders.0.0.weight": torch.zeros(3, 3)}
    save(model, tmp_path / "model", weights=weights)
    back = load(tmp_path / "model")
    expected = weights["encoders.0.0.weight"]
    assert torch.equal(back.encoders[0][0].weight, expected)  # type: ignore[union-attr, index]
    assert torch.equal(back.decoders[0][0].weight, expected)  # type: ignore[union-attr, index]

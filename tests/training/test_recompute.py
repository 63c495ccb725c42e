"""Activations computed again: the same gradients from fewer kept values, and no trace afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.helpers import dataset, same_weights, vae, vectors
from tests.training.updates import Plain, portion, update_of
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from lucid import io, nn
from lucid.models import VAE, VAEConfig
from lucid.training import fit
from lucid.training.recompute import recomputing


def layers(*modules: Any) -> nn.Sequential:
    return nn.Sequential(*modules)


def visible_sigmoid() -> VAE:
    """The model leaves the sigmoid out and computes from logits."""
    decoder = layers(nn.Linear(3, 8), nn.SiLU(), nn.Dropout(0.3), nn.Linear(8, 6), nn.Sigmoid())
    return VAE(VAEConfig(encoders=[layers(nn.Linear(6, 6))], decoders=[decoder], reconstruction_loss="bce"))


def hierarchical() -> VAE:
    encoders = [layers(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.SiLU(), nn.Linear(8, 8)), Plain(4, 6)]
    decoders = [layers(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 6)), layers(nn.Linear(3, 4))]
    return VAE(VAEConfig(encoders=encoders, decoders=decoders, priors=[Plain(3, 8)]))


def shared() -> VAE:
    """One layer in two networks, and one twice in a row."""
    both, twice = nn.Linear(6, 6), nn.Linear(6, 6)
    encoder = layers(both, nn.SiLU(), nn.Linear(6, 6))
    return VAE(VAEConfig(encoders=[encoder], decoders=[layers(nn.Linear(3, 6), twice, nn.Tanh(), twice, both)]))


MODELS = {
    "dropout": vae,
    "visible sigmoid": visible_sigmoid,
    "hierarchical": hierarchical,
    "shared": shared,
    "not a Sequential": lambda: VAE(VAEConfig(encoders=[Plain(6, 6)], decoders=[Plain(3, 6)])),
    "empty": lambda: VAE(VAEConfig(encoders=[layers()], decoders=[nn.Linear(3, 6)])),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_gradients_are_the_same_in_every_bit(name: str, accumulate: int) -> None:
    x = vectors(16).sigmoid()
    found: list[list[Tensor]] = []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MODELS[name]().train()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    for recompute in (False, True):
        model.load_state_dict(state)
        update = update_of(model, recompute=recompute, accumulate=accumulate)
        update.gradients(portion(x), 1.0, 5)
        found.append([p.grad for p in model.parameters() if p.grad is not None])
    assert found[0]
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


class Kept(nn.Module):
    """Notes what it computes, whose backward pass needs it."""

    calls: int
    made: list[StorageWeakRef]

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.calls, self.made = 0, []

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        out = torch.tanh(self.linear(x))
        self.made.append(StorageWeakRef(out.untyped_storage()))
        return out


@pytest.mark.parametrize("recompute", [False, True])
def test_what_is_kept_of_a_deep_network_is_about_the_root_of_its_depth(recompute: bool) -> None:
    """Of 36 layers the outputs of the six segments, in the place of all 36, once the loss is known."""
    deep = [Kept(6) for _ in range(36)]
    model = VAE(VAEConfig(encoders=[layers(*deep)], decoders=[nn.Linear(3, 6)])).train()
    update = update_of(model, recompute=recompute)
    terms = update.terms(vectors(16), 0, 16, 1.0, check=False)
    alive = sum(not made.expired() for layer in deep for made in layer.made)
    assert alive == (6 if recompute else 36)
    update.backward(terms.loss, 1.0)
    # Each layer is computed again once.
    assert [layer.calls for layer in deep] == [2 if recompute else 1] * 36


@pytest.mark.parametrize("recompute", [False, True])
def test_fewer_bytes_are_saved_for_the_backward_pass(recompute: bool) -> None:
    blocks = [part for _ in range(16) for part in (nn.Linear(6, 6), nn.SiLU())]
    model = VAE(VAEConfig(encoders=[layers(*blocks)], decoders=[nn.Linear(3, 6)])).train()
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    x = vectors(512)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        terms = update_of(model, recompute=recompute).terms(x, 0, 512, 1.0, check=False)
    assert terms.loss.requires_grad
    one = x.untyped_storage().nbytes()
    # Plainly the input and output of each SiLU; otherwise the six segments' inputs and what the densities need.
    assert (sum(saved.values()) > 30 * one) is not recompute
    assert (sum(saved.values()) < 15 * one) is recompute


def forwards(model: nn.Module) -> Iterator[str]:
    return (name for name, module in model.named_modules() if "forward" in vars(module))


@pytest.mark.parametrize("name", MODELS)
def test_afterwards_the_model_is_as_it_was(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    with pytest.raises(KeyboardInterrupt), recomputing(model):
        raise KeyboardInterrupt
    assert list(forwards(model)) == []
    if name not in ("not a Sequential", "hierarchical"):  # whose class the artefact does not know
        io.save(model, tmp_path / "model")


def test_a_run_is_the_same_with_it(tmp_path: Path) -> None:
    """Bit for bit, dropout included, with an artefact at its end; and a run may go on without it."""
    settings: dict[str, Any] = {"steps": 12, "batch_size": 50, "validate_every": 4, "progress": False}
    plain = fit(vae(), dataset(), **settings)
    ours = fit(vae(), dataset(), **settings, recompute=True, out=tmp_path)
    assert same_weights(plain.model, ours.model)
    assert list(forwards(ours.model)) == []
    assert same_weights(io.load(tmp_path / "model"), ours.model)
    assert fit(vae(), dataset(), **(settings | {"steps": 15}), out=tmp_path, resume=True).steps == 15

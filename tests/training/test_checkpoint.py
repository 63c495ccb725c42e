"""Checkpoints: what is written is what is read, and damage is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.training.helpers import same_weights, vae, vectors

from lucid import io
from lucid.training.checkpoint import Position, load_checkpoint, save_checkpoint


def trained() -> tuple[object, torch.optim.Optimizer]:
    model = vae()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        (-model.elbo(vectors()).value).backward()
        optimizer.step()
    return model, optimizer


def test_everything_comes_back(tmp_path: Path) -> None:
    model, optimizer = trained()
    generator = torch.Generator().manual_seed(5)
    torch.randn(3, generator=generator)
    position = Position(step=3, epoch=1, batch=2, seconds=1.5, best_loss=7.25, best_step=2, window=[1.0, 2.0])
    best = {name: value + 1 for name, value in model.state_dict().items()}  # type: ignore[attr-defined]
    save_checkpoint(tmp_path / "c.safetensors", position, model, best, optimizer, generator)  # type: ignore[arg-type]
    expected, stream = torch.randn(4, generator=generator), torch.rand(2)

    other = vae(seed=8)
    other_optimizer = torch.optim.AdamW(other.parameters(), lr=0.5)
    other_generator = torch.Generator()
    got, got_best = load_checkpoint(tmp_path / "c.safetensors", other, other_optimizer, other_generator)
    assert got == position
    assert same_weights(model, other)  # type: ignore[arg-type]
    assert all(torch.equal(best[name], got_best[name]) for name in best)
    assert torch.equal(torch.randn(4, generator=other_generator), expected)
    assert torch.equal(torch.rand(2), stream)
    state, got_state = optimizer.state_dict(), other_optimizer.state_dict()
    assert got_state["param_groups"] == state["param_groups"]
    for index, slots in state["state"].items():
        assert all(torch.equal(slots[name], got_state["state"][index][name]) for name in slots)


def test_before_the_first_validation_the_best_loss_is_infinite(tmp_path: Path) -> None:
    model, optimizer = trained()
    save_checkpoint(tmp_path / "c.safetensors", Position(step=1), model, {}, optimizer, torch.Generator())  # type: ignore[arg-type]
    got, best = load_checkpoint(tmp_path / "c.safetensors", vae(), optimizer, torch.Generator())
    assert (got, best) == (Position(step=1), {})


def test_damage_is_told(tmp_path: Path) -> None:
    model, optimizer = trained()
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, Position(), model, {}, optimizer, torch.Generator())  # type: ignore[arg-type]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"c\.safetensors"):
        load_checkpoint(path, vae(), optimizer, torch.Generator())
    io.write_tensors(path, {"a": torch.zeros(2)})
    with pytest.raises(ValueError, match="is not a checkpoint this version of lucid reads"):
        load_checkpoint(path, vae(), optimizer, torch.Generator())

"""The optimizers by name: what they are, and what has weight decay."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.training.helpers import vae
from torch import Tensor, nn

from lucid.training import Settings
from lucid.training.optimizers import FusedAdamW, decides_on_device, make_optimizer


def test_adamw_is_fused_and_adamax_is_adamax() -> None:
    adamw = make_optimizer(vae().parameters(), Settings(learning_rate=0.5))
    assert isinstance(adamw, torch.optim.AdamW)
    assert adamw.defaults["fused"] is True
    assert decides_on_device(adamw)
    adamax = make_optimizer(vae().parameters(), Settings(optimizer="adamax", learning_rate=0.5))
    assert type(adamax) is torch.optim.Adamax
    assert {group["lr"] for optimizer in (adamw, adamax) for group in optimizer.param_groups} == {0.5}


@pytest.mark.parametrize("name", ["adamw", "adamax"])
def test_biases_and_gains_have_no_decay_and_every_parameter_is_in_one_group(name: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Unflatten(1, (4, 1)), nn.Conv1d(4, 2, 1))
    optimizer = make_optimizer(model.parameters(), Settings(optimizer=name, weight_decay=0.25))
    decayed, rest = optimizer.param_groups
    assert [p.shape for p in decayed["params"]] == [(4, 3), (2, 4, 1)]
    assert [p.shape for p in rest["params"]] == [(4,), (4,), (4,), (2,)]
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.25, 0.0)


def test_a_model_without_biases_has_one_group() -> None:
    assert len(make_optimizer(nn.Linear(3, 4, bias=False).parameters(), Settings()).param_groups) == 1
    assert len(make_optimizer([nn.Parameter(torch.zeros(3))], Settings()).param_groups) == 1


@pytest.mark.parametrize("name", ["adamw", "adamax"])
def test_steps_are_those_of_the_papers(name: Any) -> None:
    """By hand, in float64: AdamW's decay is apart from the gradient, Adamax's a penalty within it."""
    weight = nn.Parameter(torch.tensor([[1.0, -2.0]], dtype=torch.float64))
    optimizer = make_optimizer([weight], Settings(optimizer=name, learning_rate=0.1, weight_decay=0.5))
    w, m, v, u = weight.detach().clone(), torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1, 2)
    for t, gradient in enumerate(torch.tensor([[[0.5, -3.0]], [[1e-3, 0.2]], [[-1.0, 0.0]]], dtype=torch.float64), 1):
        weight.grad = gradient.clone()
        optimizer.step()
        g = gradient if name == "adamw" else gradient + 0.5 * w
        m, v, u = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2, torch.maximum(0.99 * u, g.abs() + 1e-8)
        mean = m / (1 - 0.9**t)
        if name == "adamw":
            w = w - 0.1 * (0.5 * w + mean / ((v / (1 - 0.99**t)).sqrt() + 1e-8))
        else:
            w = w - 0.1 * mean / u
    torch.testing.assert_close(weight.detach(), w, rtol=1e-9, atol=1e-9)


def steps_of(quick: Any, *, missing: int | None = None, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Weights and slots after 12 steps at a changing rate, with a state that is loaded after the sixth."""
    generator = torch.Generator().manual_seed(0)
    parameters = [
        nn.Parameter(torch.randn(*shape, generator=generator, dtype=dtype)) for shape in ((3, 4), (4,), (2, 3))
    ]
    settings = Settings(weight_decay=0.2)

    def made() -> Any:
        if quick is None:
            groups = [
                {"params": parameters[::2], "weight_decay": 0.2},
                {"params": parameters[1:2], "weight_decay": 0.0},
            ]
            return torch.optim.AdamW(groups, lr=2e-3, betas=(0.9, 0.99), fused=True)
        return make_optimizer(parameters, settings)

    optimizer = made()
    for step in range(12):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * (step + 1)
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=dtype)
        if missing == step:
            parameters[1].grad = None
        if quick and quick(step):
            optimizer.quick_step()
        else:
            optimizer.step()
        if step == 6:
            state = optimizer.state_dict()
            optimizer = made()
            optimizer.load_state_dict(state)
    slots = [value for slot in optimizer.state_dict()["state"].values() for value in slot.values()]
    return [*(parameter.detach() for parameter in parameters), *slots]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_quick_step_is_pytorchs_step_bit_for_bit(dtype: torch.dtype) -> None:
    """All the way, in turn with the plain one, and after one in which a parameter had no gradient."""
    plain = steps_of(None, dtype=dtype)
    for quick in (lambda _step: True, lambda step: step % 2 == 1, lambda step: step > 3, lambda _step: False):
        assert all(torch.equal(a, b) for a, b in zip(steps_of(quick, dtype=dtype), plain, strict=True))
    missing = steps_of(None, missing=3, dtype=dtype)
    ours = steps_of(lambda step: step != 3, missing=3, dtype=dtype)
    assert all(torch.equal(a, b) for a, b in zip(ours, missing, strict=True))


def test_the_quick_step_is_taken_on_a_cpu() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    optimizer = make_optimizer([weight], Settings())
    assert isinstance(optimizer, FusedAdamW)
    plain: list[int] = []
    optimizer.register_step_pre_hook(lambda *_: plain.append(1))
    for _ in range(3):
        weight.grad = torch.ones(2, 2)
        optimizer.quick_step()
    assert plain == [1]  # the first makes the slots


def test_only_a_kernel_that_takes_the_decision_as_a_tensor_decides_on_the_device() -> None:
    def of(**more: Any) -> torch.optim.Optimizer:
        return torch.optim.AdamW(vae().parameters(), **more)

    assert decides_on_device(of(fused=True))
    assert not decides_on_device(of(fused=False))
    assert not decides_on_device(of(foreach=True))
    assert not decides_on_device(torch.optim.RMSprop(vae().parameters()))

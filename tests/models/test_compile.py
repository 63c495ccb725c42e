"""`torch.compile`, whole graphs: forward and loss, and the walk, with the values and gradients of eager."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution

import lucid.nn as nn
from lucid.models import VAE, VAEConfig, drive, weighted_loss


class OpaqueSigmoid(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(7, 5)

    def forward(self, h: Tensor) -> Tensor:
        return torch.sigmoid(self.body(h))


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    with warnings.catch_warnings():
        # The compiler's own remarks about its imports, and about gradients it peeks at, are not ours.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings(
            "ignore", message="The .grad attribute of a Tensor that is not a leaf", category=UserWarning
        )
        yield
    torch.compiler.reset()


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def build(last: nn.Module | None = None, **options: Any) -> VAE:
    return VAE(
        VAEConfig(
            encoders=[nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 8)), nn.Linear(4, 6)],
            decoders=[last or nn.Linear(7, 5), nn.Linear(3, 7)],
            priors=[nn.Linear(3, 8)],
            **{"reconstruction_loss": "bce", **options},
        )
    )


def gradients(model: VAE) -> list[Tensor]:
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    assert len(found) == len(list(model.parameters()))
    return found


def forward_and_loss(model: VAE) -> Callable[[Tensor], Tensor]:
    return lambda x: model.get_loss(x, *model(x)).loss


def walk_and_loss(model: VAE, noise: list[Tensor]) -> Callable[[Tensor], Tensor]:
    def loss(x: Tensor) -> Tensor:
        eps = iter(noise)

        def choose(q: Distribution) -> Tensor:
            return q.mean + q.stddev * next(eps)

        return weighted_loss(drive(model.walk(x), choose), [0.5] * model.depth).loss

    return loss


def compare(model: VAE, function: Callable[[Tensor], Tensor], backend: str, x: Tensor, tolerance: float = 1e-5) -> None:
    compiled = torch.compile(function, backend=backend, fullgraph=True)
    found: list[tuple[Tensor, list[Tensor]]] = []
    # Compiled first: nothing that eager found out may be needed.
    for f in (compiled, function):
        torch.manual_seed(1)
        loss = f(x)
        loss.backward()
        found.append((loss.detach(), gradients(model)))
    torch.testing.assert_close(found[0], found[1], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "options", [{}, {"reconstruction_loss": "mse"}, {"beta_schedule": lambda step: 0.1 + 0.1 * step}]
)
def test_forward_and_loss_compile_whole(options: dict[str, Any]) -> None:
    model = build(**options)
    model.eval()  # the β step stays, so that both runs see one β
    compare(model, forward_and_loss(model), "aot_eager", rand(6, 5))


def test_the_walk_compiles_whole() -> None:
    model = build()
    noise = [torch.randn(6, n, generator=torch.Generator().manual_seed(n)) for n in (4, 3)]
    compare(model, walk_and_loss(model, noise), "aot_eager", rand(6, 5))


@pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")
def test_the_walk_compiles_to_machine_code() -> None:
    """One small model: most of its seconds are inductor's own start."""
    model = VAE(VAEConfig(encoders=[nn.Linear(5, 8)], decoders=[nn.Linear(4, 5)]))
    noise = [torch.randn(6, 4, generator=torch.Generator().manual_seed(0))]
    compare(model, walk_and_loss(model, noise), "inductor", rand(6, 5))


def saturated() -> VAE:
    last = nn.Linear(7, 5)
    with torch.no_grad():
        last.bias.fill_(50.0)
    return build(nn.Sequential(last, nn.Sigmoid())).eval()


def test_a_saturated_visible_sigmoid_keeps_its_gradients_in_a_compiled_walk() -> None:
    model = saturated()
    compare(model, walk_and_loss(model, [torch.zeros(6, n) for n in (4, 3)]), "aot_eager", rand(6, 5))


def test_a_saturated_visible_sigmoid_keeps_its_gradients_in_a_compiled_loss() -> None:
    model = saturated()
    compare(model, forward_and_loss(model), "aot_eager", rand(6, 5))


def test_a_saturated_visible_sigmoid_keeps_its_gradients_when_only_the_forward_is_compiled() -> None:
    model, x = saturated(), torch.zeros(6, 5)
    loss = model.get_loss(x, *torch.compile(model, backend="aot_eager")(x)).recon_loss
    assert float(loss.detach()) == pytest.approx(250.0, rel=0.05)


def test_a_hidden_sigmoid_is_not_taken_for_logits_when_compiled_first() -> None:
    """A whole graph cannot look at autograd's record: refused in words, never mis-scaled in silence."""
    model = build(OpaqueSigmoid()).eval()
    with pytest.raises(RuntimeError, match=r"whether decoders\[0\] ends in a sigmoid"):
        compare(model, forward_and_loss(model), "aot_eager", rand(6, 5))


def test_a_hidden_sigmoid_compiled_in_parts_is_found_out() -> None:
    model, x = build(OpaqueSigmoid()).eval(), rand(6, 5)
    compiled = torch.compile(forward_and_loss(model), backend="aot_eager")
    losses = []
    for function in (compiled, compiled, forward_and_loss(model)):
        torch.manual_seed(1)
        losses.append(float(function(x).detach()))
    assert losses == pytest.approx([losses[2]] * 3, rel=1e-5)


def test_a_hidden_sigmoid_that_has_run_once_compiles() -> None:
    model = build(OpaqueSigmoid()).eval()
    x = rand(6, 5)
    model(x)
    compare(model, forward_and_loss(model), "aot_eager", x)


def test_the_schedule_goes_on_when_compiled() -> None:
    model, x = build(beta_schedule=lambda step: 0.5 * step), rand(6, 5)
    compiled = torch.compile(lambda x: model.get_loss(x, *model(x)).kl, backend="aot_eager", fullgraph=True)
    kls = [float(compiled(x).detach()) for _ in range(3)]
    assert kls[0] == 0.0
    assert kls[1] != 0.0
    assert model.current_beta() == 1.5


def test_a_compiled_model_has_its_methods() -> None:
    model, x = build(), rand(6, 5)
    model.compile(backend="aot_eager")
    loss = model.get_loss(x, *model(x)).loss
    loss.backward()
    assert model.reconstruct(x).shape == x.shape
    assert model.sample(3).shape == (3, 5)
    assert bool(model.log_likelihood(x, 4).per_example.isfinite().all())

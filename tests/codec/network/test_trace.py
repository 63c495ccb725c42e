"""The graph of a walk is the walk: every family, and what the layout says of its latents."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.codec.network.walks import data, error, stirred
from torch import Tensor, nn

from lucid.codec.network.trace import trace
from lucid.models import VAE, VAEConfig, create

FAMILIES: list[tuple[str, str, dict[str, Any]]] = [
    ("mlp", "vector", {}),
    ("mlp", "series", {"depth": 2}),
    ("mlp", "image", {"depth": 3}),
    ("conv", "image", {}),
    ("conv", "image", {"depth": 2}),
    ("ladder", "vector", {"depth": 3}),
    ("ladder", "image", {"depth": 2}),
    ("topdown", "vector", {}),
    ("topdown", "series", {}),
    ("topdown", "image", {}),
]


@pytest.mark.parametrize(("family", "kind", "dials"), FAMILIES)
def test_every_family(family: str, kind: str, dials: dict[str, Any]) -> None:
    protocol, x = data(None, kind)
    model = stirred(create(family, protocol, size=1, **dials))
    traced = trace(model, x)
    assert error(model, x, traced) < 1e-10
    latents, last = traced.layout.latents, model.depth - 1
    down = family in ("ladder", "topdown")
    assert traced.layout.inference == tuple(reversed(range(last + 1)) if down else range(last + 1))
    assert traced.layout.generation == tuple(reversed(range(last + 1)))
    assert [latent.prior.kind for latent in latents] == ["gaussian"] * last + ["standard"]
    # A chain draws a latent before the one its prior reads.
    assert [latent.prior_known_first for latent in latents] == [down] * last + [True]
    assert traced.samples["x"].equal(x)
    assert [latent.shape for latent in latents] == [tuple(traced.samples[f"z{i}"].shape[1:]) for i in range(last + 1)]


def test_float32_models_are_met_to_their_own_digits() -> None:
    protocol, x = data(None, "image")
    model = stirred(create("conv", protocol, size=1)).float()
    traced = trace(model, x.float())
    assert error(model, x.float(), traced) < 1e-5
    assert all(values.dtype == torch.float64 for values in traced.samples.values())


def test_what_depends_on_nothing_is_a_constant() -> None:
    """A posterior of one variance for all: a constant of the layout, and no output of the graph."""

    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.logvar = nn.Linear(6, 2), nn.Parameter(torch.tensor([-1.0, -2.0]))

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([self.layer(x), self.logvar.expand(len(x), 2)], dim=1)

    model = VAE(VAEConfig(encoders=[Fixed()], decoders=[nn.Linear(2, 6)], reconstruction_loss="bce"))
    traced = trace(model, torch.rand(4, 6).round())
    posterior = traced.layout.latents[0].posterior
    # Half of a concatenation is read back from it as what it was.
    assert "logvar" in posterior.constants
    assert posterior.constants["logvar"].tolist() == [-1.0, -2.0]
    assert set(posterior.params) == {"loc"}


def test_a_model_is_left_as_it_was() -> None:
    protocol, x = data(None, "vector")
    model = create("mlp", protocol, size=1).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trace(model, x.float())
    assert model.training
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_same_draws_for_the_same_stream() -> None:
    protocol, x = data(None, "vector")
    model = create("mlp", protocol, size=1)
    first, second = (trace(model, x.float()).samples["z0"] for _ in range(2))
    other = trace(model, x.float(), generator=torch.Generator().manual_seed(1)).samples["z0"]
    assert first.equal(second)
    assert not first.equal(other)


class EndsInSigmoid(nn.Module):
    """A decoder of a user's own that emits probabilities, in a way that cannot be seen from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 6)

    def forward(self, z: Tensor) -> Tensor:
        return torch.sigmoid(40 * self.layer(z)).view(len(z), 2, 3)


@torch.no_grad()
def test_logits_of_a_decoder_that_ends_in_a_sigmoid() -> None:
    """They are what went into it, far beyond what a probability in float32 could tell."""
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(6, 4))
    model = VAE(VAEConfig(encoders=[encoder], decoders=[EndsInSigmoid()], reconstruction_loss="bce"))
    x = torch.rand(9, 2, 3).round()
    traced = trace(model, x)
    decoder: Any = model.decoders[0]
    z = traced.samples["z0"]
    logits = 40 * (z @ decoder.layer.weight.double().T + decoder.layer.bias.double()).view(-1, 2, 3)
    found = traced.graph.evaluate(traced.samples)["x.logits"]
    assert float(logits.abs().max()) > 30
    assert torch.allclose(found, logits, rtol=1e-5, atol=1e-5)


def test_a_model_in_half_precision() -> None:
    protocol, x = data(None, "vector")
    model = create("mlp", protocol, size=1).to(torch.bfloat16)
    wide = create("mlp", protocol, size=1)
    wide.load_state_dict({name: tensor.float() for name, tensor in model.state_dict().items()})
    first, second = trace(model, x.bfloat16()), trace(wide, x.bfloat16().float())
    for name, values in second.graph.evaluate(second.samples).items():
        assert first.graph.evaluate(first.samples)[name].equal(values)

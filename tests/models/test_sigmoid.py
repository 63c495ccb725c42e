"""A decoder that ends in a sigmoid is recognised: the loss and its gradients are those of logits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import lucid.nn as nn
from lucid.distributions import Categorical, Gaussian
from lucid.models import VAE, Loss, VAEConfig, draws, drive, weighted_loss

LATENTS, FEATURES = 3, 5


class SigmoidInside(nn.Module):
    """A user's module whose last layer is an `nn.Sigmoid`."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.activation = nn.Sigmoid()

    def forward(self, z: Tensor) -> Tensor:
        return self.activation(self.body(z))


class FunctionalSigmoid(nn.Module):
    """A user's module that calls `torch.sigmoid`, and changes the shape after it."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, z: Tensor) -> Tensor:
        h = torch.sigmoid(self.body(z))
        return h.unsqueeze(1).transpose(1, 2).reshape(h.shape)


class Sliced(FunctionalSigmoid):
    """Cuts its probabilities to size, as decoders of padded images do."""

    def forward(self, z: Tensor) -> Tensor:
        return nn.functional.pad(self.body(z), (1, 2)).sigmoid()[:, 1:-2]


class Cloned(FunctionalSigmoid):
    def forward(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.body(z)).clone()


class CastUp(FunctionalSigmoid):
    def forward(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.body(z).double()).float()


Wrap = Callable[[nn.Module], nn.Module]
VISIBLE: dict[str, Wrap] = {
    "sequential": lambda body: nn.Sequential(body, nn.Sigmoid()),
    "nested": lambda body: nn.Sequential(nn.Identity(), nn.Sequential(body, nn.Sequential(nn.Sigmoid()))),
}
OPAQUE: dict[str, Wrap] = {
    "inside a module": SigmoidInside,
    "functional": FunctionalSigmoid,
    "module in a sequential": lambda body: nn.Sequential(SigmoidInside(body)),
    "followed by a reshape": lambda body: nn.Sequential(body, nn.Sigmoid(), nn.Flatten()),
}


def body() -> nn.Linear:
    layer = nn.Linear(LATENTS, FEATURES)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(FEATURES, LATENTS, generator=torch.Generator().manual_seed(2)))
        layer.bias.copy_(torch.linspace(-1, 1, FEATURES))
    return layer


def model(decoder: nn.Module, **options: object) -> VAE:
    encoder = nn.Linear(FEATURES, 2 * LATENTS)
    with torch.no_grad():
        encoder.weight.copy_(torch.randn(2 * LATENTS, FEATURES, generator=torch.Generator().manual_seed(1)))
        encoder.bias.zero_()
    return VAE(VAEConfig(encoders=[encoder], decoders=[decoder], **{"reconstruction_loss": "bce", **options}))


def x() -> Tensor:
    return torch.rand(7, FEATURES, generator=torch.Generator().manual_seed(3))


def loss_of(vae: VAE, data: Tensor, by_walk: bool = False) -> Loss:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        if by_walk:
            return Loss(*weighted_loss(drive(vae.walk(data), draws()), [1.0])[:3])
        return vae.get_loss(data, *vae(data))


def compare(decoder: nn.Module, logits: nn.Module, data: Tensor, by_walk: bool, tolerance: float) -> None:
    found, truth = model(decoder), model(logits)
    results = [loss_of(vae, data, by_walk) for vae in (found, truth)]
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
    for result in results:
        result.loss.backward()
    for a, b in zip(found.parameters(), truth.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("by_walk", [False, True])
@pytest.mark.parametrize("name", [*VISIBLE, *OPAQUE])
def test_the_loss_and_the_gradients_are_those_of_logits(name: str, by_walk: bool) -> None:
    # Recovering a logit from a probability near ½ loses a few units of the last place.
    compare({**VISIBLE, **OPAQUE}[name](body()), body(), x(), by_walk, tolerance=1e-5)


@pytest.mark.parametrize("kind", [Sliced, Cloned, CastUp])
def test_what_only_moves_or_copies_probabilities_does_not_hide_the_sigmoid(kind: Wrap) -> None:
    compare(kind(body()), body(), x(), by_walk=False, tolerance=1e-5)


@pytest.mark.parametrize("by_walk", [False, True])
@pytest.mark.parametrize("name", VISIBLE)
@pytest.mark.parametrize("logit", [50.0, -50.0])
def test_a_saturated_visible_sigmoid_keeps_its_loss_and_gradients(name: str, logit: float, by_walk: bool) -> None:
    """σ(±50) is 1 or 1e-22 in float32; from the probability neither loss nor gradient could be had."""
    layers = [body(), body()]
    for layer in layers:
        with torch.no_grad():
            layer.bias.fill_(logit)
    wrong = torch.full((7, FEATURES), 0.0 if logit > 0 else 1.0)
    compare(VISIBLE[name](layers[0]), layers[1], wrong, by_walk, tolerance=1e-6)
    gradient = layers[0].bias.grad
    assert gradient is not None
    torch.testing.assert_close(gradient.abs(), torch.ones(FEATURES))


@pytest.mark.parametrize("name", OPAQUE)
@pytest.mark.parametrize("logit", [50.0, -50.0])
def test_a_saturated_hidden_sigmoid_gives_finite_numbers(name: str, logit: float) -> None:
    layer = body()
    with torch.no_grad():
        layer.bias.fill_(logit)
    vae = model(OPAQUE[name](layer))
    loss = loss_of(vae, x()).loss
    loss.backward()
    assert bool(loss.isfinite())
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in vae.parameters())


def test_the_sigmoid_alone_is_a_decoder() -> None:
    assert torch.equal(model(nn.Sigmoid()).decode([torch.zeros(2, FEATURES)]), torch.full((2, FEATURES), 0.5))
    wide = VAE(
        VAEConfig(encoders=[nn.Linear(FEATURES, 2 * FEATURES)], decoders=[nn.Sigmoid()], reconstruction_loss="bce")
    )
    plain = VAE(VAEConfig(encoders=[wide.encoders[0]], decoders=[nn.Identity()], reconstruction_loss="bce"))
    torch.testing.assert_close(loss_of(wide, x()).loss, loss_of(plain, x()).loss)


@pytest.mark.parametrize("name", [*VISIBLE, *OPAQUE])
def test_recon_is_what_the_decoder_emitted_and_reconstruct_the_probability(name: str) -> None:
    vae, plain = model({**VISIBLE, **OPAQUE}[name](body())), model(body())
    recon = vae(x()).recon
    assert bool(((recon > 0) & (recon < 1)).all())
    torch.testing.assert_close(vae.reconstruct(x()), plain.reconstruct(x()))
    torch.testing.assert_close(vae.embed(x()), plain.embed(x()))
    samples = [v.sample(3, generator=torch.Generator().manual_seed(0)) for v in (vae, plain)]
    torch.testing.assert_close(*samples)


@pytest.mark.parametrize("first", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", [*VISIBLE, *OPAQUE])
def test_it_is_recognised_whatever_ran_first(name: str, first: Callable[[], torch.no_grad]) -> None:
    vae, plain = model({**VISIBLE, **OPAQUE}[name](body())), model(body())
    with first():
        vae(x())
    torch.testing.assert_close(loss_of(vae, x()).loss, loss_of(plain, x()).loss)


def test_frozen_decoders_are_recognised_too() -> None:
    vae, plain = model(FunctionalSigmoid(body())), model(body())
    for v in (vae, plain):
        v.requires_grad_(False)
        v.eval()
    torch.testing.assert_close(loss_of(vae, x()).loss, loss_of(plain, x()).loss)


def test_logits_that_pass_through_a_sigmoid_earlier_are_still_logits() -> None:
    gate = nn.Sequential(nn.Linear(LATENTS, LATENTS), nn.Sigmoid(), body())
    vae = model(gate)
    output = vae(x())
    expected = nn.functional.binary_cross_entropy_with_logits(output.recon, x(), reduction="none").sum(1).mean()
    torch.testing.assert_close(vae.get_loss(x(), *output).recon_loss, expected)


@pytest.mark.parametrize("likelihood", [None, Gaussian(0.5)])
def test_a_gaussian_mean_may_end_in_a_sigmoid(likelihood: Gaussian | None) -> None:
    vae = model(nn.Sequential(body(), nn.Sigmoid()), reconstruction_loss="mse", likelihood=likelihood)
    output = vae(x())
    scale = 1.0 if likelihood is None else 0.5
    expected = -torch.distributions.Normal(output.recon, scale).log_prob(x()).sum(1).mean()
    torch.testing.assert_close(vae.get_loss(x(), *output).recon_loss, expected)


def test_a_categorical_reads_what_was_emitted() -> None:
    layers = nn.Sequential(nn.Linear(LATENTS, 2 * FEATURES), nn.Sigmoid())
    vae = model(layers, reconstruction_loss="mse", likelihood=Categorical(2))
    z = torch.zeros(1, LATENTS)
    assert torch.equal(vae.decode([z]), layers(z))


def test_hooks_on_a_visible_sigmoid_run() -> None:
    decoder = nn.Sequential(body(), nn.Sigmoid())
    seen: list[Tensor] = []
    decoder.register_forward_hook(lambda *call: seen.append(call[-1]))
    vae, plain = model(decoder), model(body())
    torch.testing.assert_close(loss_of(vae, x()).loss, loss_of(plain, x()).loss, rtol=1e-5, atol=1e-5)
    assert len(seen) == 1


class Saturating(nn.Module):
    """Ends in a sigmoid, in one of the ways people write it, with logits in the hundreds."""

    def __init__(self, linear: nn.Linear, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.linear = linear
        self.module = nn.Sigmoid()
        self.end = end

    def forward(self, z: Tensor) -> Tensor:
        h = 100 * self.linear(z)
        return self.module(h) if self.end is None else self.end(h)


@pytest.mark.parametrize(
    "end",
    [None, torch.sigmoid, lambda h: h.sigmoid(), nn.functional.sigmoid, lambda h: torch.sigmoid(h).view(len(h), -1)],
    ids=["module", "function", "method", "functional", "viewed"],
)
def test_a_hidden_sigmoid_may_saturate(end: Callable[[Tensor], Tensor]) -> None:
    """The logits are what went into the sigmoid, not what can be recovered from 0 and 1."""
    linear, encoder = nn.Linear(2, 6), nn.Linear(6, 4)
    x = (torch.rand(8, 6, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    results = []
    for decoder in (nn.Sequential(Saturating(linear, lambda h: h), nn.Identity()), Saturating(linear, end)):
        model = VAE(VAEConfig(encoders=[encoder], decoders=[decoder], reconstruction_loss="bce"))
        model(x)  # the first run looks, the second knows
        linear.zero_grad()
        torch.manual_seed(1)
        loss = model.get_loss(x, *model(x))
        loss.loss.backward()
        torch.manual_seed(1)
        assert linear.weight.grad is not None
        results.append((loss.loss.detach(), linear.weight.grad.clone(), model.elbo(x).value.detach()))
    for plain, hidden in zip(*results, strict=True):
        torch.testing.assert_close(plain, hidden)
    assert float(results[0][0]) > 100

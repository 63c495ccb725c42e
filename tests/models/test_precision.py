"""Half precision, mixed precision, double precision: the densities stay right."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import lucid.nn as nn
from lucid.distributions import Categorical, Gaussian, Likelihood, OptimalScaleGaussian
from lucid.models import VAE, VAEConfig, draws, drive, importance_weighted


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(loss: str = "mse", likelihood: Likelihood | None = None) -> VAE:
    width = 5 * (likelihood.num_parameters if likelihood else 1)
    return VAE(
        VAEConfig(
            encoders=[nn.Linear(5, 8), nn.Linear(4, 6)],
            decoders=[nn.Linear(7, width), nn.Linear(3, 7)],
            priors=[nn.Linear(3, 8)],
            reconstruction_loss=loss,
            likelihood=likelihood,
        )
    )


def grid(dtype: torch.dtype = torch.float32) -> Tensor:
    """Data that every precision holds exactly."""
    return (torch.randint(0, 3, (6, 5), generator=generator()) / 2).to(dtype)


def nearly_collapsed() -> VAE:
    """Posteriors N(0.03, 0.95) in 64 units: the KL of such a unit is below bfloat16's resolution at 1."""
    encoder, decoder = nn.Linear(4, 128), nn.Linear(64, 4)
    with torch.no_grad():
        encoder.weight.zero_()
        encoder.bias[:64] = 0.03
        encoder.bias[64:] = math.log(0.95)
    return VAE(VAEConfig(encoders=[encoder], decoders=[decoder]))


def exact_kl(mu: float, logvar: float) -> float:
    return 64 * 0.5 * (mu**2 + math.expm1(logvar) - logvar)


def rounded(value: float, dtype: torch.dtype) -> float:
    return float(torch.tensor(value).to(dtype))


def test_the_kl_under_bfloat16_autocast_is_a_float32_number() -> None:
    """The bf16 trap: a loss that is left to autocast becomes a bfloat16 number, 0.020 where it is 0.046."""
    model, x = nearly_collapsed(), torch.rand(8, 4, generator=generator())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(x)
        loss = model.get_loss(x, *output)
        record = drive(model.walk(x), draws(generator()))
    # The network's own output is rounded to bfloat16; nothing after it is.
    truth = exact_kl(rounded(0.03, torch.bfloat16), rounded(math.log(0.95), torch.bfloat16))
    assert truth == pytest.approx(0.07, rel=0.1)
    for kl in (loss.kl, record.kl()[0].mean()):
        assert kl.dtype == torch.float32
        assert float(kl.detach()) == pytest.approx(truth, rel=1e-4)
    for tensor in (*loss, *output.mus, *output.logvars, *output.zs, record.elbo(), record.reconstruction()):
        assert tensor.dtype == torch.float32
    loss.loss.backward()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_kl_of_a_half_precision_model_is_right(dtype: torch.dtype) -> None:
    model = nearly_collapsed().to(dtype)
    x = torch.rand(8, 4, generator=generator()).to(dtype)
    loss = model.get_loss(x, *model(x))
    assert float(loss.kl.detach()) == pytest.approx(
        exact_kl(rounded(0.03, dtype), rounded(math.log(0.95), dtype)), rel=1e-4
    )


LIKELIHOODS = {
    "mse": lambda: build("mse"),
    "bce": lambda: build("bce"),
    "gaussian": lambda: build(likelihood=Gaussian(0.5)),
    "optimal": lambda: build(likelihood=OptimalScaleGaussian()),
    "categorical": lambda: build(likelihood=Categorical(3)),
}


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_model_of_another_precision_trains_and_is_looked_at(name: str, dtype: torch.dtype) -> None:
    model, x = LIKELIHOODS[name]().to(dtype), grid(dtype)
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    output = model(x)
    loss = model.get_loss(x, *output)
    assert all(t.dtype == expected for t in (*loss, *output.mus, *output.logvars, *output.zs))
    loss.loss.backward()
    assert all(
        p.grad is not None and p.grad.dtype == p.dtype and bool(p.grad.isfinite().all()) for p in model.parameters()
    )
    assert model.reconstruct(x).shape == x.shape
    assert model.sample(2, noise=True).dtype == expected
    assert bool(model.interpolate(x, x.flip(0), 3).isfinite().all())
    assert bool(model.log_likelihood(x, 5).per_example.isfinite().all())
    # The same weights and draws in float64 give the same bound, to the digits of the arithmetic in the networks.
    reference = LIKELIHOODS[name]().double()
    reference.load_state_dict(model.state_dict())
    noise = [torch.randn(6, n, generator=generator(n), dtype=torch.float64) for n in (4, 3)]

    def bound(vae: VAE, data: Tensor) -> Tensor:
        eps = iter(noise)
        record = drive(vae.eval().walk(data), lambda q: q.mean + q.stddev * next(eps).to(q.mean.dtype))
        return record.elbo().double()

    digits = {torch.float16: 2e-3, torch.bfloat16: 2e-2, torch.float64: 1e-12}[dtype]
    torch.testing.assert_close(bound(model, x), bound(reference, grid(torch.float64)), rtol=digits, atol=10 * digits)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_autocast_changes_the_networks_only(name: str) -> None:
    model, x = LIKELIHOODS[name]().eval(), grid()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        bound = model.elbo(x, 4, generator=generator(1))
        mean = model.reconstruct(x)
        estimate = importance_weighted(model, x, [4], generator(1))[0]
    plain = model.elbo(x, 4, generator=generator(1))
    assert bound.per_example.dtype == mean.dtype == torch.float32
    assert estimate.per_example.dtype == torch.float64
    torch.testing.assert_close(bound.per_example, plain.per_example, rtol=2e-2, atol=0.2)
    assert float(bound.kl[1].detach()) == pytest.approx(float(plain.kl[1].detach()), rel=0.05, abs=1e-3)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_autocast_takes_data_in_its_own_precision(name: str) -> None:
    model, x = LIKELIHOODS[name](), grid(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model.get_loss(x, *model(x)).loss.dtype == torch.float32


@pytest.mark.parametrize("size", [1e3, 1e10, 3e38])
@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_no_finite_encoder_output_makes_a_loss_or_gradient_infinite(size: float, loss: str) -> None:
    """Every combination of signs of mean and log-variance, in posteriors and learned priors."""
    for mean_sign in (-1, 0, 1):
        for logvar_sign in (-1, 1):
            model = build(loss)
            assert model.priors is not None
            with torch.no_grad():
                for layer in (model.encoders[0], model.priors[0]):
                    assert isinstance(layer, nn.Linear)
                    n = layer.out_features // 2
                    layer.weight.zero_()
                    layer.bias[:n] = mean_sign * size
                    layer.bias[n:] = logvar_sign * size
            x = grid()
            output = model(x)
            found = model.get_loss(x, *output)
            found.loss.backward()
            assert all(bool(t.isfinite().all()) for t in found)
            assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_model_moves_to_a_gpu_and_back() -> None:
    model, x = build("bce"), grid()
    before = model.eval().elbo(x, 500, generator=generator())
    model.cuda()
    stream = torch.Generator("cuda").manual_seed(0)
    with pytest.raises(ValueError, match="x is on cpu and the model on cuda"):
        model(x)
    there = model.elbo(x.cuda(), 500, generator=stream)
    assert there.per_example.device.type == model.sample(3, generator=stream).device.type == "cuda"
    torch.testing.assert_close(there.kl[1].cpu(), before.kl[1], rtol=0.2, atol=0.02)
    model.get_loss(x.cuda(), *model(x.cuda())).loss.backward()
    model.cpu()
    assert torch.equal(model.elbo(x, 500, generator=generator()).per_example, before.per_example)

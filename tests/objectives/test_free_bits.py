"""Free bits, per level and per channel, against their definition summed by hand."""

from __future__ import annotations

import math

import pytest
import torch
from tests.objectives.families import FAMILIES, chain, data, ladder, one_level, seeded

from lucid import nn
from lucid.distributions import FullCovariancePosterior
from lucid.models import VAE, LatentModel, Record, VAEConfig, draws, drive
from lucid.objectives import FreeBits


def driven(model: LatentModel, x: torch.Tensor | None = None) -> Record:
    return drive(model.walk(data() if x is None else x), draws(torch.Generator().manual_seed(0)))


def gaussian_kl(record: Record, level: int) -> torch.Tensor:
    """Element by element, (N, C, ...): the closed form where it belongs to a bound, else the ratio at the draw."""
    latent = record.latents[level]
    q, p, z = latent.posterior, latent.prior, latent.value
    assert q is not None
    one = torch.distributions.Normal(q.loc, q.logvar.exp().sqrt())  # type: ignore[attr-defined]
    other = torch.distributions.Normal(p.loc, p.logvar.exp().sqrt())  # type: ignore[attr-defined]
    if latent.prior_known_first:
        return torch.distributions.kl_divergence(one, other)
    return one.log_prob(z) - other.log_prob(z)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("nats", [0.0, 0.2, 3.0, 100.0])
def test_are_their_definition(family: str, per_channel: bool, nats: float) -> None:
    record, beta = driven(FAMILIES[family]()), 0.7
    expected = float(record.reconstruction().mean().detach())
    for level in range(len(record.latents)):
        kl = gaussian_kl(record, level)
        groups = [kl[:, c] for c in range(kl.shape[1])] if per_channel else [kl]
        expected += beta * sum(max(nats, float(group.detach().sum()) / len(kl)) for group in groups)
    found = FreeBits(nats, per_channel=per_channel)(record, beta).loss
    assert float(found.detach()) == pytest.approx(expected, rel=1e-10)


def test_a_channel_of_an_image_latent_is_one_group() -> None:
    encoder, decoder = nn.Conv2d(1, 6, 2, 2), nn.ConvTranspose2d(3, 1, 2, 2)
    model = seeded(lambda: VAE(VAEConfig(encoders=[encoder], decoders=[decoder])))
    x = torch.randn(4, 1, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    record = driven(model, x)
    kl = gaussian_kl(record, 0).detach()
    assert kl.shape == (4, 3, 3, 3)
    nats = float(kl.sum((2, 3)).mean(0).median())
    groups = [max(nats, float(kl[:, c].sum()) / 4) for c in range(3)]
    terms = FreeBits(nats, per_channel=True)(record, 1.0)
    assert float((terms.loss - terms.reconstruction).detach()) == pytest.approx(sum(groups), rel=1e-10)


@pytest.mark.parametrize("per_channel", [False, True])
def test_below_the_allowance_the_kl_has_no_gradient(per_channel: bool) -> None:
    model = ladder()
    record = driven(model)
    parameters = list(model.parameters())
    free = torch.autograd.grad(
        FreeBits(1e6, per_channel=per_channel)(record, 1.0).loss, parameters, retain_graph=True, materialize_grads=True
    )
    alone = torch.autograd.grad(record.reconstruction().mean(), parameters, materialize_grads=True)
    for a, b in zip(free, alone, strict=True):
        torch.testing.assert_close(a, b)


def test_without_any_it_is_the_elbo() -> None:
    record = driven(one_level())
    terms = FreeBits(0.0)(record, 1.0)
    torch.testing.assert_close(terms.loss, -terms.elbo)


def test_densities_that_do_not_split_are_refused_per_channel_and_fine_per_level() -> None:
    model = seeded(
        lambda: VAE(
            VAEConfig(encoders=[nn.Linear(6, 5)], decoders=[nn.Linear(2, 6)], posterior=FullCovariancePosterior())
        )
    )
    record = driven(model)
    with pytest.raises(ValueError, match=r"does not: give free bits per level, without per_channel"):
        FreeBits(0.1, per_channel=True)(record, 1.0)
    terms = FreeBits(0.0)(record, 1.0)
    torch.testing.assert_close(terms.loss, -terms.elbo)


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_the_allowance_is_checked(bad: float) -> None:
    with pytest.raises(ValueError, match="nats must be non-negative and finite"):
        FreeBits(bad)


def test_levels_that_say_much_are_charged_in_full() -> None:
    record = driven(chain())
    kl = [float(level.mean().detach()) for level in record.kl()]
    least = min(kl)
    terms = FreeBits(max(least, 0.0) / 2 if least > 0 else 0.0)(record, 1.0)
    expected = sum(max(0.0, value) for value in kl)
    assert float((terms.loss - terms.reconstruction).detach()) == pytest.approx(expected)

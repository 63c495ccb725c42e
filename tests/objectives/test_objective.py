"""The β-weighted ELBO, against the model's own loss and against its definition."""

from __future__ import annotations

import math

import pytest
import torch

from lucid import nn
from lucid.models import VAE, VAEConfig, draws, drive
from lucid.objectives import ELBO, Linear, objective_of


def three_levels(**more: object) -> VAE:
    return VAE(
        VAEConfig(
            encoders=[nn.Linear(6, 8), nn.Linear(4, 6), nn.Linear(3, 4)],
            decoders=[nn.Linear(4, 6), nn.Linear(3, 4), nn.Linear(2, 3)],
            priors=[nn.Linear(3, 8), nn.Linear(2, 6)],
            **more,  # type: ignore[arg-type]
        )
    )


@pytest.mark.parametrize("spread", [True, False])
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0, 4.0])
def test_equals_the_loss_of_a_model_configured_the_same(spread: bool, beta: float) -> None:
    model = three_levels(kl_weight=beta, hierarchical_kl=spread)
    x = torch.randn(5, 6)
    record = drive(model.walk(x), draws())
    posteriors = [latent.posterior for latent in record.latents]
    expected = model.get_loss(
        x,
        record.params,
        [q.loc for q in posteriors],  # type: ignore[union-attr]
        [q.logvar for q in posteriors],  # type: ignore[union-attr]
        [latent.value for latent in record.latents],
    )
    objective = objective_of(model)
    terms = objective(record, objective.beta(0))
    torch.testing.assert_close(terms.loss, expected.loss)
    assert objective.beta(10**6) == beta


def test_terms_are_unweighted_whatever_beta_is() -> None:
    record = drive(three_levels().walk(torch.randn(5, 6)), draws())
    light, heavy = ELBO(0.1)(record, 0.1), ELBO(9.0)(record, 9.0)
    torch.testing.assert_close(light.elbo, heavy.elbo)
    torch.testing.assert_close(light.kl, heavy.kl)
    torch.testing.assert_close(light.elbo, record.elbo().mean().detach())
    torch.testing.assert_close(heavy.loss, heavy.reconstruction + 9 * torch.stack(heavy.kl).sum())


def test_only_the_loss_carries_gradients() -> None:
    record = drive(three_levels().walk(torch.randn(5, 6)), draws())
    terms = ELBO()(record, 1.0)
    assert terms.loss.requires_grad
    assert [part.requires_grad for part in (terms.reconstruction, terms.elbo, *terms.kl)] == [False] * 5


def test_reads_the_schedule_of_the_configuration() -> None:
    objective = objective_of(three_levels(beta_schedule=Linear(steps=4)))
    assert [objective.beta(step) for step in (0, 2, 4)] == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_a_schedule_that_returns_nonsense_is_named_with_its_step(bad: float) -> None:
    with pytest.raises(ValueError, match="at step 7 it returned"):
        ELBO(lambda _step: bad).beta(7)

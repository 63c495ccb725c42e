"""The weighted loss: weights as numbers and as tensors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lucid import nn
from lucid.models import VAE, Record, VAEConfig, draws, drive, weighted_loss


def walked(levels: int) -> tuple[VAE, Record]:
    encoders = [nn.Linear(5, 8), nn.Linear(4, 6)][:levels]
    decoders = [nn.Linear(4, 5), nn.Linear(3, 4)][:levels]
    model = VAE(VAEConfig(encoders=encoders, decoders=decoders, priors=[nn.Linear(3, 8)][: levels - 1]))
    generator = torch.Generator().manual_seed(0)
    return model, drive(model.walk(torch.randn(6, 5, generator=generator)), draws(generator))


def gradients(model: VAE, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters()), retain_graph=True))


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_a_weight_may_be_a_number_or_a_tensor(levels: int, beta: float) -> None:
    model, record = walked(levels)
    number = weighted_loss(record, [beta] * levels)
    tensor = weighted_loss(record, [torch.tensor(beta)] * levels)
    torch.testing.assert_close(tensor, number, rtol=0, atol=0)
    for a, b in zip(gradients(model, number.loss), gradients(model, tensor.loss), strict=True):
        assert torch.equal(a, b)


def test_each_level_has_the_weight_in_its_place() -> None:
    _, record = walked(2)
    mixed = weighted_loss(record, [torch.tensor(2.0), 0.5])
    expected = 2 * record.kl()[0].mean() + 0.5 * record.kl()[1].mean()
    torch.testing.assert_close(mixed.kl, expected)
    torch.testing.assert_close(mixed.loss, record.reconstruction().mean() + expected)
    torch.testing.assert_close(torch.stack(mixed.level_kl), torch.stack([kl.mean() for kl in record.kl()]))


def test_a_tensor_of_one_is_a_weight_like_another() -> None:
    """Looking whether it is one would make the host wait, and bind a compiled step to it."""
    _, record = walked(1)
    weight = torch.ones((), requires_grad=True)
    (gradient,) = torch.autograd.grad(weighted_loss(record, [weight]).loss, weight)
    torch.testing.assert_close(gradient, record.kl()[0].mean())


def test_with_all_weights_one_it_is_the_negative_bound() -> None:
    _, record = walked(2)
    torch.testing.assert_close(weighted_loss(record, [1, 1.0]).loss, -record.elbo().mean())


def test_a_weight_for_each_level_is_needed() -> None:
    _, record = walked(2)
    with pytest.raises(ValueError, match="argument 2 is longer"):
        weighted_loss(record, [1.0])

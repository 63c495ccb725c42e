"""What is given to freeze a model: read as compress reads it, wherever the caller's PyTorch computes."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from tests.codec.small import bits, bits_codec, bits_model, greys, trained
from torch import Tensor

import lucid.nn as nn
from lucid.codec import Codec, freeze, load
from lucid.codec.freeze import _examples  # pyright: ignore[reportPrivateUsage]
from lucid.distributions import Column, DiscretisedLogistic, TableLikelihood
from lucid.models import VAE, VAEConfig


@cache
def grey_model() -> VAE:
    """Of `greys`, hardly trained."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(24, 6))
    decoder = nn.Sequential(nn.Linear(3, 48), nn.Unflatten(1, (2, 4, 6)))
    config = VAEConfig(encoders=[encoder], decoders=[decoder], likelihood=DiscretisedLogistic(17))
    return trained(VAE(config), greys(500).float() / 16, 20)


def test_whole_numbers_and_any_memory_calibrate_as_the_same_numbers_in_model_space() -> None:
    x = greys(60)
    expected = freeze(grey_model(), x.float() / 16).identity
    swapped = x.numpy().astype(">i4")
    for given in (x, swapped, swapped[::-1].copy()[::-1], np.asfortranarray(x.numpy())):
        assert freeze(grey_model(), given).identity == expected


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (greys(9).int() + 9, "calibration holds 17 in example 0"),
        (torch.full((9, 1, 4, 6), torch.nan), "calibration holds nan"),
    ],
)
def test_calibration_that_compress_would_refuse_is_refused(x: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        freeze(grey_model(), x)


def test_some_of_many_examples_lie_spread_over_all() -> None:
    x = torch.arange(1000).reshape(-1, 1)
    for given in (x, x.numpy()):
        chosen = _examples(given, 10)[:, 0]
        assert chosen.tolist() == [0, 111, 222, 333, 444, 555, 666, 777, 888, 999]


def test_a_masked_array_is_refused() -> None:
    x = np.ma.masked_array(bits(9).numpy(), mask=False)
    with pytest.raises(TypeError, match="masked array, whose mask would be lost"):
        freeze(bits_model(), x)
    with pytest.raises(TypeError, match="masked array, whose mask would be lost"):
        bits_codec().compress(x)


def test_default_device_and_autocast_of_the_caller_change_nothing() -> None:
    body, x = bits_codec().to_bytes(), bits(100, 5)
    file = bits_codec().compress(x)
    with torch.device("meta"):
        codec = load(body)
        assert codec.compress(x) == file
        assert torch.equal(codec.decompress(file), x)  # pyright: ignore[reportArgumentType]
    with torch.device("meta"), torch.autocast("cpu", torch.bfloat16):
        assert freeze(bits_model(), X_OF_CODEC).identity == bits_codec().identity


X_OF_CODEC = bits(200)
"""What `bits_codec` was frozen on."""


class Encoder(nn.Module):
    """Missing values as zeros, and beside them which they are."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 16), nn.SiLU(), nn.Linear(16, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(torch.cat([torch.nan_to_num(x), torch.isnan(x).to(x.dtype)], 1))


COLUMNS = (
    Column("visits", "count"),
    Column("b", "binary", categories=("a", "b")),
    Column("k", "ordinal", ("x", "y", "z")),
)


def table(n: int, seed: int) -> Tensor:
    """Three columns that go together; of the last, three in ten are missing."""
    stream = torch.Generator().manual_seed(seed)
    u = torch.randn(n, 1, generator=stream) + 0.3 * torch.randn(n, 3, generator=stream)
    visits = torch.poisson(u[:, 0].clamp(-2, 2).exp(), generator=stream)
    x = torch.stack([visits, (u[:, 1] > 0).float(), (u[:, 2] > -0.5).float() + (u[:, 2] > 0.5)], 1)
    x[torch.rand(n, generator=stream) < 0.3, 2] = torch.nan
    return x


@cache
def table_codec() -> tuple[Codec, VAE]:
    """Of a model without a data protocol, trained."""
    torch.manual_seed(0)
    likelihood = TableLikelihood(COLUMNS)
    decoder = nn.Sequential(nn.Linear(2, 16), nn.SiLU(), nn.Linear(16, likelihood.num_outputs(3)))
    model = VAE(VAEConfig(encoders=[Encoder()], decoders=[decoder], likelihood=likelihood))
    trained(model, table(2000, 1))
    return freeze(model, table(400, 1)), model


def test_a_table_without_a_protocol_is_bounded_by_its_likelihood() -> None:
    codec, _ = table_codec()
    x = table(50, 3)
    again = codec.decompress(codec.compress(x))
    assert torch.equal(again.nan_to_num(-1), x.nan_to_num(-1))  # pyright: ignore[reportAttributeAccessIssue]
    x[7, 2] = 3
    with pytest.raises(ValueError, match=r"the column 'k' of x holds 3 in row 7; the model knows whole numbers 0 … 2"):
        codec.compress(x)


def test_a_table_with_missing_values_costs_its_bound_and_its_mask() -> None:
    codec, model = table_codec()
    x = table(2000, 4)
    rate = codec.rate(x, model)
    assert rate.model is not None
    share = float(x[:, 2].isnan().double().mean())
    mask = -(share * np.log2(share) + (1 - share) * np.log2(1 - share)) / 3
    assert rate.coded_blocks == 1
    assert rate.net == pytest.approx(rate.model.bits_per_dim + mask, rel=0.01)


def test_what_is_given_by_mistake_is_named() -> None:
    codec, x = bits_codec(), bits(9)
    with pytest.raises(TypeError, match="must be the LatentModel that was frozen; received Linear"):
        codec.rate(x, nn.Linear(2, 2))  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"takes the bytes of a .lucid file; received str"):
        codec.decompress("abc")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"x holds -0.0 in example 0; .* by x \+ 0.0"):
        codec.compress(-0.0 * x)
    with pytest.raises(ValueError, match=r"A single example is given as x\[None\]"):
        codec.compress(x[0])

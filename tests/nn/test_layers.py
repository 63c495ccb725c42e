"""The layers PyTorch does not have."""

from __future__ import annotations

import pytest
import torch

import lucid.nn as nn


def test_rescale_is_affine() -> None:
    x = torch.tensor([[0.0, 0.25, 1.0]])
    assert nn.Rescale(2.0, -1.0)(x).tolist() == [[-1.0, -0.5, 1.0]]
    assert repr(nn.Rescale(2.0, -1.0)) == "Rescale(2, -1)"
    assert not list(nn.Rescale(2.0, -1.0).parameters())


def test_residual_adds() -> None:
    body = nn.Linear(3, 3)
    x = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(nn.Residual(body)(x), x + body(x))


@pytest.mark.parametrize("body", [nn.Linear(3, 4), nn.Linear(3, 1)])
def test_residual_refuses_a_body_that_changes_the_shape_even_where_it_would_broadcast(body: nn.Module) -> None:
    with pytest.raises(
        ValueError, match=r"must keep the shape of its input: it received \(2, 3\) and returned \(2, [14]\)"
    ):
        nn.Residual(body)(torch.zeros(2, 3))


@pytest.mark.parametrize("size", [(7, 5), (8, 8), (1, 3)])
def test_resize_conv_reaches_any_size(size: tuple[int, int]) -> None:
    layer = nn.ResizeConv2d(3, 4, size)
    assert layer(torch.zeros(2, 3, 4, 4)).shape == (2, 4, *size)
    assert (layer.in_channels, layer.out_channels) == (3, 4)


def test_resize_conv_repeats_pixels_then_convolves() -> None:
    layer = nn.ResizeConv2d(1, 1, (4, 4))
    with torch.no_grad():
        layer.conv.weight.zero_()
        layer.conv.weight[0, 0, 1, 1] = 1.0
        assert layer.conv.bias is not None
        layer.conv.bias.zero_()
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert torch.equal(layer(x), x.repeat_interleave(2, 2).repeat_interleave(2, 3))

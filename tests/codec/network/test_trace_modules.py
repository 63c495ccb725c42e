"""Networks that users write: whatever they do to an example, the graph does the same to many."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lucid.codec.network.trace import trace
from lucid.models import VAE, VAEConfig

SIGNAL, IMAGE = (6, 8), (4, 6, 5)


class Written(nn.Module):
    """A network that is a function of the data and of layers."""

    def __init__(self, function: Callable[..., Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.layers)


class Gated(nn.Module):
    """Functional code with a gate, a residual and a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.value, self.gate = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.value(x)) * torch.sigmoid(self.gate(x))
        h = x + torch.where(h > 0.1, h, 0.5 * h.exp() - 0.5)
        return F.glu(torch.cat([h, x.flip(1)], dim=-1), dim=-1)


class Attending(nn.Module):
    """Attention by hand, heads merged with the batch as old code does."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24)

    def forward(self, x: Tensor) -> Tensor:
        n, t, d = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, 2, d // 2).permute(2, 0, 3, 1, 4)
        q, k, v = (each.reshape(n * 2, t, d // 2) for each in (q, k, v))
        causal = torch.ones(t, t, dtype=torch.bool).triu(1)
        scores = (torch.bmm(q, k.transpose(1, 2)) / 2.0).masked_fill(causal, float("-inf"))
        return torch.bmm(scores.softmax(-1), v).view(n, 2, t, d // 2).transpose(1, 2).reshape(n, t, d)


class Looking(nn.Module):
    """An embedding of numbers made of the data."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.table((x.sigmoid() * 4).round().long())


class InPlace(nn.Module):
    """Writing into tensors."""

    def forward(self, x: Tensor) -> Tensor:
        h = x.clone()
        h[:, 1:3] = 2.0
        h[:, 0] += x[:, 5]
        h.mul_(0.5).add_(x, alpha=0.25)
        made = x.new_zeros(x.shape[0], 8, 8)
        rows, columns = torch.tril_indices(8, 8, -1)
        made[:, rows, columns] = x.flatten(1)[:, :28]
        return h @ made


SIGNALS: dict[str, Callable[[], nn.Module]] = {
    "gated": Gated,
    "attention by hand": Attending,
    "nn.MultiheadAttention": lambda: Written(
        lambda x, attention: attention(x, x.flip(1), x)[0], nn.MultiheadAttention(8, 2, batch_first=True)
    ),
    "nn.TransformerEncoderLayer": lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
    "nn.GRU": lambda: Written(lambda x, gru: gru(x)[0], nn.GRU(8, 4, batch_first=True)),
    "F.scaled_dot_product_attention": lambda: Written(
        lambda x: F.scaled_dot_product_attention(x, x.roll(1, 1), x, is_causal=True)
    ),
    "embedding": Looking,
    "in place": InPlace,
    "BatchNorm1d": lambda: moved(nn.BatchNorm1d(6)),
    "LayerNorm": lambda: moved(nn.LayerNorm((6, 8))),
    "InstanceNorm1d": lambda: moved(nn.InstanceNorm1d(6, affine=True)),
    "InstanceNorm1d, tracked": lambda: moved(nn.InstanceNorm1d(6, affine=True, track_running_stats=True)),
    "GroupNorm": lambda: moved(nn.GroupNorm(3, 6)),
    "RMSNorm": lambda: moved(nn.RMSNorm(8)),
    "weight_norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(8, 4)),
    "spectral_norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(8, 4)).eval(),
    "PReLU": lambda: moved(nn.PReLU(6)),
    "ConvTranspose1d": lambda: nn.ConvTranspose1d(6, 4, 3, stride=2, output_padding=1, groups=2),
    "Conv1d, dilated": lambda: nn.Conv1d(6, 4, 3, dilation=2, padding="same", groups=2),
    "Conv1d, circular": lambda: nn.Conv1d(6, 4, 3, padding=2, padding_mode="circular"),
    "AvgPool1d": lambda: nn.AvgPool1d(3, stride=2, padding=1),
    "MaxPool1d": lambda: nn.MaxPool1d(3, stride=2, padding=1),
    "Upsample linear": lambda: nn.Upsample(size=13, mode="linear"),
    "cosine": lambda: Written(lambda x: F.cosine_similarity(x, x.flip(2), dim=1)),
    "einsum": lambda: Written(lambda x: torch.einsum("ntc,nsc->nts", x, x)),
    "statistics": lambda: Written(
        lambda x: torch.stack(
            [x.var(1), x.std(1), x.amax(1), x.amin(1), x.mean(1), x.norm(dim=1), x.logsumexp(1), x.cumsum(1)[:, 3]], 1
        )
    ),
    "over everything": lambda: Written(lambda x: x * x.sum((1, 2), keepdim=True) - x.mean(dim=(1, 2))[:, None, None]),
    "functions": lambda: Written(
        lambda x: (
            F.gelu(x) + F.gelu(x, approximate="tanh") + F.mish(x) + F.elu(x, 0.7) + F.selu(x) + F.celu(x, 1.3)
            + F.hardswish(x) + F.softplus(x, 2.0) + F.softsign(x) + F.leaky_relu(x, 0.1) + F.relu6(3 * x)
            + F.hardtanh(x) + F.logsigmoid(x) + F.tanhshrink(x) + F.softshrink(x, 0.2) + F.hardshrink(x, 0.3)
            + F.threshold(x, 0.1, -0.3) + x.erf() + x.sin() ** 3 + (x.abs() + 1).rsqrt() + x.square().log1p()
        )
    ),
    "two variables": lambda: Written(
        lambda x: (
            torch.logaddexp(x, x.flip(1)) + torch.maximum(x, x.roll(1, 2)) * torch.lerp(x, x.flip(2), 0.3)
            + torch.where(x > x.flip(1), x, x.flip(2)) / (1 + x.roll(2, 1).abs())
            + torch.addcmul(x, x, x.flip(1), value=0.5)
            + ((x > 0) & (x.flip(1) < 0.5)).to(x.dtype) + (x.log_softmax(1) * x.softmax(2))
        )
    ),
    "shapes": lambda: Written(
        lambda x: torch.cat(
            [x.permute(2, 0, 1)[::2].movedim(1, 0), x.mT[:, [3, 1, 1]], x.repeat(1, 1, 2)[:, :3, 5:11]], 1
        )
    ),
    "batch in the middle": lambda: Written(
        lambda x: x.transpose(0, 1).contiguous().flatten(0, 1).view(6, -1, 8).transpose(0, 1)
    ),
    "positions as examples": lambda: Written(
        lambda x, body: body(x.reshape(-1, 8)).view(-1, 6, 5),
        nn.Sequential(nn.Linear(8, 5), nn.LayerNorm(5), nn.SiLU()),
    ),
    "frames as examples": lambda: Written(
        lambda x, conv: conv(x.reshape(-1, 2, 8)).view(-1, 9, 6), nn.Conv1d(2, 3, 3)
    ),
}  # fmt: skip

IMAGES: dict[str, Callable[[], nn.Module]] = {
    "BatchNorm2d after Conv2d": lambda: nn.Sequential(
        nn.Conv2d(4, 6, 3, bias=False), moved(nn.BatchNorm2d(6)), nn.ReLU()
    ),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(4, 3, (3, 2), stride=2, padding=1, output_padding=(1, 0)),
    "PixelShuffle": lambda: nn.Sequential(nn.PixelShuffle(2), nn.Conv2d(1, 2, 1)),
    "PixelUnshuffle": lambda: nn.Sequential(nn.ZeroPad2d((0, 1, 0, 0)), nn.PixelUnshuffle(2)),
    "ChannelShuffle": lambda: nn.ChannelShuffle(2),
    "Upsample nearest": lambda: nn.Upsample(scale_factor=2),
    "Upsample bilinear": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "Upsample bilinear, corners": lambda: nn.Upsample(size=(11, 7), mode="bilinear", align_corners=True),
    "Upsample bicubic": lambda: nn.Upsample(size=(9, 4), mode="bicubic"),
    "AdaptiveAvgPool2d": lambda: nn.AdaptiveAvgPool2d((4, 3)),
    "global pool": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 3, 1)),
    "AvgPool2d": lambda: nn.AvgPool2d((2, 3), stride=2, padding=1, ceil_mode=True, count_include_pad=False),
    "MaxPool2d": lambda: nn.MaxPool2d(3, stride=2, padding=1, dilation=1),
    "padding": lambda: nn.Sequential(
        nn.ReflectionPad2d(2), nn.ReplicationPad2d((1, 0, 0, 2)), nn.ConstantPad2d(1, 0.5)
    ),
    "squeeze and excite": lambda: Written(
        lambda x, body: x * body(x.mean((2, 3))).sigmoid()[:, :, None, None],
        nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 4)),
    ),
    "LayerNorm of channels": lambda: Written(
        lambda x, norm: norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), moved(nn.LayerNorm(4))
    ),
    "unfold": lambda: Written(lambda x: x.unfold(2, 2, 2).unfold(3, 2, 1).flatten(2)),
}  # fmt: skip


def moved(norm: nn.Module) -> nn.Module:
    """Parameters and statistics away from where they begin, which would hide a mistake."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, tensor in [*norm.named_parameters(), *norm.named_buffers()]:
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5, generator=generator)
                if name in ("bias", "running_mean"):
                    tensor.sub_(1.0)
    return norm


class Beside(nn.Module):
    """Networks side by side, what they emit flattened and joined."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.cat([network(3 * x - 1).flatten(1) for network in self.networks], 1)
        return torch.cat([h, 0.1 * h], 1)


@torch.no_grad()
def emitted(networks: dict[str, Callable[[], nn.Module]], shape: tuple[int, ...]) -> dict[str, tuple[Tensor, Tensor]]:
    """For each network what the graph emits and what the network does, for five examples at once, in float64.

    The networks are the encoders of one model, side by side: PyTorch takes long to begin an export.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        x = torch.rand(5, *shape, dtype=torch.float64).mul(16).round() / 16
        parts = {name: make().double().eval() for name, make in networks.items()}
        widths = [part(x).flatten(1).shape[1] for part in parts.values()]
        decoder = nn.Sequential(nn.Linear(sum(widths), math.prod(shape)), nn.Unflatten(1, shape))
        config = VAEConfig(encoders=[Beside([*parts.values()])], decoders=[decoder], reconstruction_loss="bce")
        traced = trace(VAE(config).double(), x)
        found = traced.graph.evaluate(traced.samples)["q0.loc"].split(widths, dim=1)
        return {
            name: (values, part(3 * x - 1).flatten(1))
            for (name, part), values in zip(parts.items(), found, strict=True)
        }


@pytest.fixture(scope="module")
def of_signals() -> dict[str, tuple[Tensor, Tensor]]:
    return emitted(SIGNALS, SIGNAL)


@pytest.fixture(scope="module")
def of_images() -> dict[str, tuple[Tensor, Tensor]]:
    return emitted(IMAGES, IMAGE)


@pytest.mark.parametrize("name", SIGNALS)
def test_a_graph_computes_what_a_network_of_signals_does(
    name: str, of_signals: dict[str, tuple[Tensor, Tensor]]
) -> None:
    check(*of_signals[name])


@pytest.mark.parametrize("name", IMAGES)
def test_a_graph_computes_what_a_network_of_images_does(name: str, of_images: dict[str, tuple[Tensor, Tensor]]) -> None:
    check(*of_images[name])


def check(found: Tensor, expected: Tensor) -> None:
    assert float(expected.std(0).max()) > 1e-3  # or nothing would have been tested
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-10)

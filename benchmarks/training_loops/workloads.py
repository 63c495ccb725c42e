"""The networks that every contestant trains, and the data that it trains them on."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

LEARNING_RATE = 1e-3


class Parts(NamedTuple):
    """The networks of a model, level 0 nearest the data; a prior for each level but the deepest."""

    encoders: list[nn.Module]
    decoders: list[nn.Module]
    priors: list[nn.Module] = []  # noqa: RUF012  never changed

    def all(self) -> nn.ModuleList:
        """All of them as one module."""
        return nn.ModuleList([*self.encoders, *self.decoders, *self.priors])


class Workload(NamedTuple):
    """Networks, data and how long a turn is."""

    title: str
    shape: tuple[int, ...]
    """Of one example."""
    batch: int
    batches: int
    """In one pass over the data."""
    steps: int
    """Of a turn: long enough to be timed, short enough that a machine's speed does not drift between two turns."""
    parts: Callable[[], Parts]


def mlp() -> Parts:
    """784-512-2×64 and back."""
    return Parts([relu_layers(784, 512, 2 * 64)], [relu_layers(64, 512, 784)])


def published() -> Parts:
    """The published MNIST network: two gated layers of 300, 40 latents."""
    return Parts([gated_layers(784, 2 * 40)], [gated_layers(40, 784)])


def tiny() -> Parts:
    """64-64-2×8 and back: nearly all of a step is the loop."""
    return Parts([relu_layers(64, 64, 2 * 8)], [relu_layers(8, 64, 64)])


def conv() -> Parts:
    """Three convolutions of stride 2 with 64, 128 and 256 channels, 128 latents, and back."""
    encoder = nn.Sequential(
        *(nn.Conv2d(3, 64, 4, 2, 1), nn.ReLU(), nn.Conv2d(64, 128, 4, 2, 1), nn.ReLU()),
        *(nn.Conv2d(128, 256, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(256 * 4 * 4, 2 * 128)),
    )
    decoder = nn.Sequential(
        *(nn.Linear(128, 256 * 4 * 4), nn.Unflatten(1, (256, 4, 4)), nn.ReLU()),
        *(nn.ConvTranspose2d(256, 128, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.ReLU()),
        nn.ConvTranspose2d(64, 3, 4, 2, 1),
    )
    return Parts([encoder], [decoder])


def hierarchical() -> Parts:
    """Three levels, of 16×7×7, 16×4×4 and 32 latents, with learned priors."""
    encoders = [
        nn.Sequential(
            *(nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU()),
            *(nn.Conv2d(64, 64, 3, 1, 1), nn.ReLU(), nn.Conv2d(64, 2 * 16, 1)),
        ),
        nn.Sequential(
            *(nn.Conv2d(16, 64, 3, 1, 1), nn.ReLU(), nn.Conv2d(64, 64, 3, 2, 1), nn.ReLU()),
            nn.Conv2d(64, 2 * 16, 1),
        ),
        nn.Sequential(nn.Flatten(), relu_layers(16 * 4 * 4, 256, 2 * 32)),
    ]
    decoders = [
        nn.Sequential(
            *(nn.ConvTranspose2d(64, 64, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU()),
            nn.Conv2d(32, 1, 3, 1, 1),
        ),
        nn.Sequential(
            *(nn.ConvTranspose2d(64, 64, 3, 2, 1), nn.ReLU(), nn.Conv2d(64, 64, 3, 1, 1), nn.ReLU()),
        ),
        nn.Sequential(relu_layers(32, 256, 64 * 4 * 4), nn.Unflatten(1, (64, 4, 4)), nn.ReLU()),
    ]
    priors = [
        nn.Sequential(
            *(nn.Conv2d(16, 64, 3, 1, 1), nn.ReLU(), nn.ConvTranspose2d(64, 64, 3, 2, 1), nn.ReLU()),
            nn.Conv2d(64, 2 * 16, 1),
        ),
        nn.Sequential(relu_layers(32, 256, 2 * 16 * 4 * 4), nn.Unflatten(1, (2 * 16, 4, 4))),
    ]
    return Parts(encoders, decoders, priors)


WORKLOADS = {
    "mlp": Workload("MLP 784-512-2×64", (784,), 128, 100, 20, mlp),
    "conv": Workload("convolutions 3×32×32, 64/128/256 channels, 128 latents", (3, 32, 32), 128, 50, 3, conv),
    "hierarchical": Workload("three convolutional levels, 1×28×28", (1, 28, 28), 64, 100, 6, hierarchical),
    "tiny": Workload("MLP 64-64-2×8, the size of digits", (64,), 32, 56, 300, tiny),
    "published": Workload("MLP of two gated layers of 300, 40 latents", (784,), 128, 100, 20, published),
}


def images(workload: Workload) -> Tensor:
    """0/1 data with ten hidden factors, (n, *shape), uint8: the time of a step depends on sizes alone."""
    torch.manual_seed(0)
    features = torch.Size(workload.shape).numel()
    directions = torch.randn(10, features)
    # A batch at a time, so that making the data is not the peak of memory.
    batches = [
        (torch.randn(workload.batch, 10) @ directions).sigmoid().bernoulli().to(torch.uint8)
        for _ in range(workload.batches)
    ]
    return torch.cat(batches).unflatten(1, workload.shape)


def relu_layers(*widths: int) -> nn.Module:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for inner, outer in pairwise(widths):
        layers += [nn.Linear(inner, outer), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def gated_layers(inputs: int, outputs: int) -> nn.Module:
    """Two hidden layers of 300 gated units."""
    return nn.Sequential(
        *(nn.Linear(inputs, 600), nn.GLU(), nn.Linear(300, 600), nn.GLU(), nn.Linear(300, outputs))
    )  # fmt: skip

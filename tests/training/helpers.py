"""Small data and models that train in a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lucid import data, nn
from lucid.models import VAE, VAEConfig
from lucid.training.window import Averages


def vectors(n: int = 200) -> Tensor:
    """Correlated Gaussian vectors, (n, 6)."""
    generator = torch.Generator().manual_seed(1)
    mixing = torch.randn(2, 6, generator=generator)
    return torch.randn(n, 2, generator=generator) @ mixing + 0.1 * torch.randn(n, 6, generator=generator)


def dataset(n: int = 200) -> data.Dataset:
    """The same, divided."""
    return data.load(vectors(n))


def vae(seed: int = 0, **config: object) -> VAE:
    """A small VAE with dropout, so that every stream of random numbers matters."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = nn.Sequential(nn.Linear(6, 16), nn.SiLU(), nn.Dropout(0.2), nn.Linear(16, 6))
        decoder = nn.Sequential(nn.Linear(3, 16), nn.SiLU(), nn.Linear(16, 6))
    return VAE(VAEConfig(encoders=[encoder], decoders=[decoder], **config))  # type: ignore[arg-type]


class Watcher:
    """A progress display that calls a function at each step."""

    def __init__(self, at_step: Callable[[int], None]) -> None:
        self.at_step = at_step
        self.messages: list[str] = []

    def begin(self, step: int, total_steps: int) -> None: ...

    def wants_update(self) -> bool:
        return True

    def update(self, step: int, averages: Averages, beta: float, examples_per_second: float, skipped: int) -> None:
        self.at_step(step)

    def units(self, active: Sequence[int], total: Sequence[int]) -> None: ...

    def message(self, text: str) -> None:
        self.messages.append(text)

    def end(self) -> None: ...


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    """Whether two models agree in every bit."""
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)

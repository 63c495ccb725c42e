"""A small model of a registered class, shaped like the ones of the room above: a configuration that holds modules."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from lucid.io import register

if TYPE_CHECKING:
    from collections.abc import Callable


@register
@dataclass(frozen=True, kw_only=True)
class IoTestConfig:
    encoders: list[nn.Module]
    decoders: list[nn.Module]
    priors: list[nn.Module] | None = None
    beta_schedule: Callable[[int], float] | None = None
    scale: float = 2.0


@register
class IoTestModel(nn.Module):
    grid: torch.Tensor

    def __init__(self, config: IoTestConfig) -> None:
        super().__init__()
        self.config = config
        self.encoders = nn.ModuleList(config.encoders)
        self.decoders = nn.ModuleList(config.decoders)
        self.priors = nn.ModuleList(config.priors or [])
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("grid", torch.arange(4.0) / config.scale, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for module in (*self.encoders, *self.decoders):
            x = module(x)
        return x


@register
@dataclass(frozen=True)
class IoTestProtocol:
    levels: int
    shift: tuple[float, ...]


@register
@dataclass(frozen=True)
class IoTestRamp:
    steps: int

    def __call__(self, step: int) -> float:
        return min(1.0, step / self.steps)


class Foreign(nn.Module):
    """A user's own class: lucid knows nothing of it."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.linear = nn.Linear(3, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(self.linear(x))


@pytest.fixture
def toy() -> SimpleNamespace:
    def make(**fields: object) -> IoTestModel:
        modules = {
            "encoders": [nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.SiLU())],
            "decoders": [nn.Sequential(nn.Linear(4, 3))],
        }
        return IoTestModel(IoTestConfig(**(modules | fields)))

    return SimpleNamespace(
        make=make,
        Config=IoTestConfig,
        Model=IoTestModel,
        Protocol=IoTestProtocol,
        Ramp=IoTestRamp,
        Foreign=Foreign,
    )

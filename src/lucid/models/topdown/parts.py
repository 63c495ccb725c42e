"""The networks of a `TopDownVAE`: bottom-up stages, the way into each stage from above, and what a block is made of."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lucid import nn
from lucid.models.topdown.config import Stage, TopDownConfig, ratio_of
from lucid.models.topdown.layers import (
    Bottleneck,
    ConditionBias,
    convolution,
    enlarge,
    residual_branch,
    shrink,
    strided,
    subpixels,
    zeroed,
)

__all__ = ["DecoderBlock", "Encoder", "Entrance", "Head", "PosteriorNetwork", "PriorNetwork"]


class Encoder(nn.Module):
    """One stage of the bottom-up network: the data or the finer stage's features in, this stage's features out.

    Args:
        config: The model's configuration.
        number: Which stage, 0 the finest.
    """

    def __init__(self, config: TopDownConfig, number: int) -> None:
        super().__init__()
        stage, finer = config.stages[number], config.stages[number - 1] if number else None
        self.ratio = ratio_of(finer.size if finer else config.spatial, stage.size)
        self.entry: nn.Module | None
        if finer is None:
            self.entry = strided(config.read_channels, stage.channels, self.ratio, config.spatial)
        elif _single(stage) and not _single(finer):
            self.entry = _to_one_position(finer, stage)
        else:
            self.entry = _adapter(finer, stage)
        self.pooled = finer is not None and (_single(finer) or not _single(stage))
        self.condition = condition_bias(config, stage)
        depth = sum(each.encoder_blocks for each in config.stages)
        blocks = [residual_branch(stage.channels, stage.size, depth) for _ in range(stage.encoder_blocks)]
        self.blocks = nn.ModuleList(blocks)

    def forward(self, h: Tensor, condition: Tensor | None = None) -> Tensor:
        if self.pooled:
            h = shrink(h, self.ratio)
        if self.entry is not None:
            h = self.entry(h)
        if self.condition is not None:
            h = h + self.condition(condition)
        for block in self.blocks:
            h = h + block(h)
        return h


class Entrance(nn.Module):
    """The way into a stage from above: the coarser stage's h at this stage's size, plus a learned map.

    Args:
        config: The model's configuration.
        number: Which stage, 0 the finest. The coarsest has nothing above it and begins with the map alone.
    """

    def __init__(self, config: TopDownConfig, number: int) -> None:
        super().__init__()
        stage = config.stages[number]
        coarser = config.stages[number + 1] if number + 1 < len(config.stages) else None
        self.size = stage.size
        self.adapter: nn.Module | None = None
        self.ratio = (1,) * len(stage.size)
        if coarser is not None and _single(coarser) and not _single(stage):
            self.adapter = _from_one_position(coarser, stage)
        elif coarser is not None:
            self.adapter = _adapter(coarser, stage)
            self.ratio = ratio_of(stage.size, coarser.size)
        self.map = nn.Parameter(torch.zeros(1, stage.channels, *stage.size))
        self.condition = condition_bias(config, stage)

    def forward(self, h: Tensor | None, rows: int, condition: Tensor | None = None) -> Tensor:
        if h is None:
            entered = self.map.expand(rows, *self.map.shape[1:])
        else:
            adapted: Tensor = h if self.adapter is None else self.adapter(h)
            entered = enlarge(adapted, self.ratio, self.size) + self.map
        return entered if self.condition is None else entered + self.condition(condition)


class PriorNetwork(nn.Module):
    """What h says of a latent before it is drawn: the numbers of its prior, and features that are added to h."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.outputs = 2 * stage.latents
        self.body = Bottleneck(stage.channels, self.outputs + stage.channels, stage.size, max(1, stage.channels // 4))
        zeroed(self.body.widen)  # N(0, I), and nothing added

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        emitted: Tensor = self.body(h)
        return emitted[:, : self.outputs], emitted[:, self.outputs :]


class PosteriorNetwork(nn.Module):
    """What h and the features of the data say of a latent: how its posterior differs from its prior."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.body = Bottleneck(2 * stage.channels, 2 * stage.latents, stage.size, max(1, stage.channels // 4))
        # A posterior that begins at its prior has no KL that the first steps would have to fight down, and in doing so
        # shut the latents' way to the data.
        zeroed(self.body.widen)

    def forward(self, h: Tensor, features: Tensor) -> Tensor:
        return self.body(torch.cat([h, features], dim=1))


class DecoderBlock(nn.Module):
    """What a drawn latent does: its projection is added to h, then a residual branch.

    Args:
        stage: Where the block stands.
        depth: Number of blocks in the model; what a block adds starts 1/√depth as large as usual.
    """

    def __init__(self, stage: Stage, depth: int) -> None:
        super().__init__()
        self.project = convolution(stage.latents, stage.channels, stage.size)
        with torch.no_grad():
            self.project.weight.mul_(1 / math.sqrt(depth))
        self.branch = residual_branch(stage.channels, stage.size, depth)

    def forward(self, h: Tensor, z: Tensor) -> Tensor:
        h = h + self.project(z)
        return h + self.branch(h)


class Head(nn.Module):
    """From the finest h to what the likelihood needs, at the size of the data."""

    def __init__(self, config: TopDownConfig) -> None:
        super().__init__()
        finest = config.stages[0]
        self.size = config.spatial
        self.ratio = ratio_of(config.spatial, finest.size)
        self.outputs = config.likelihood.num_outputs(config.shape[0])
        self.last = convolution(finest.channels, self.outputs * math.prod(self.ratio), finest.size, wide=True)

    def forward(self, h: Tensor) -> Tensor:
        return subpixels(self.last(F.silu(h)), self.ratio, self.size)

    @torch.no_grad()
    def start_at(self, params: Tensor) -> None:
        """Emit about `params`, (outputs,), at every position: small weights, and a bias that says the rest."""
        assert self.last.bias is not None
        self.last.bias.copy_(params.repeat_interleave(math.prod(self.ratio)))
        self.last.weight.mul_(0.1)


def condition_bias(config: TopDownConfig, stage: Stage) -> ConditionBias | None:
    """What adds the condition to a stage's features; None for a model without one."""
    if config.condition is None:
        return None
    return ConditionBias(stage.channels, len(stage.size), config.num_classes, config.condition_size)


def _adapter(source: Stage, target: Stage) -> nn.Module | None:
    """From one stage's channels to another's; None where they are the same."""
    return None if source.channels == target.channels else convolution(source.channels, target.channels, target.size)


def _single(stage: Stage) -> bool:
    return math.prod(stage.size) == 1


def _to_one_position(source: Stage, target: Stage) -> nn.Module:
    """All positions of a stage in one vector: a mean over them would forget what was where."""
    few = max(1, source.channels // 8)
    return nn.Sequential(
        convolution(source.channels, few, source.size),
        nn.Flatten(),
        nn.Linear(few * math.prod(source.size), target.channels),
        nn.Unflatten(1, (target.channels, *target.size)),
    )


def _from_one_position(source: Stage, target: Stage) -> nn.Module:
    """The way back: what one vector says of every position."""
    few = max(1, target.channels // 8)
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(source.channels, few * math.prod(target.size)),
        nn.Unflatten(1, (few, *target.size)),
        convolution(few, target.channels, target.size),
    )

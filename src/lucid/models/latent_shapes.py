"""The shapes of a model's latents, kept in a buffer: a loaded model samples before it has met data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["LatentShapes", "declared_width", "empty_shapes", "noted_shape", "padded"]

_MAX_DIMS = 8


def empty_shapes(depth: int) -> Tensor:
    """The buffer, (depth, 8) int64: a row for each level, padded with zeros; all zeros: not met yet."""
    return torch.zeros((depth, _MAX_DIMS), dtype=torch.int64)


class LatentShapes:
    """What was written to the buffer by this process: reading it back at each step would wait for a GPU.

    Args:
        depth: Number of levels.
    """

    def __init__(self, depth: int) -> None:
        self._noted: list[torch.Size | None] = [None] * depth

    def forget(self) -> None:
        """After loading a state, whose latents may have other shapes, or none yet."""
        self._noted = [None] * len(self._noted)

    def note(self, buffer: Tensor, level: int, shape: Sequence[int]) -> None:
        """Write a level's shape to the buffer, unless it was the last one written."""
        shape = torch.Size(shape)
        if torch.compiler.is_compiling() or self._noted[level] == shape or len(shape) > _MAX_DIMS:
            return
        self._noted[level] = shape
        buffer[level] = padded(shape).to(buffer.device)


def padded(shape: Sequence[int]) -> Tensor:
    """A row of the buffer."""
    return torch.tensor([*shape, *([0] * (_MAX_DIMS - len(shape)))])


def noted_shape(buffer: Tensor, level: int) -> list[int]:
    """The shape of a level's latent without the batch; empty while it is not known."""
    return [int(n) for n in buffer[level] if n > 0]


def declared_width(reader: torch.nn.Module) -> int | None:
    """The width of a latent by the module that reads it, if that begins with a linear layer."""
    for layer in reader.modules():
        if isinstance(layer, torch.nn.Linear) and layer.in_features > 0:  # 0: a lazy layer that has not run
            return layer.in_features
        if next(layer.children(), None) is None:
            break
    return None

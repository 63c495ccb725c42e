"""Examples held in memory, and their one copy on a device that has room for them."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Store", "has_room"]

_SHARE = 4  # data may take this part of what is free; the rest is the model's


class Store:
    """Examples in memory, shared by the parts of a dataset, so that a device holds them once.

    Args:
        values: Raw values of all examples in a compact type, `(M, *shape)`, on the CPU.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values
        self._places: dict[torch.device, Tensor] = {}

    def on(self, device: torch.device) -> Tensor:
        """The values on a device where they fit, else where they are; decided once, so that a run does not change."""
        if device not in self._places:
            fits = has_room(device, self.values.numel() * self.values.element_size())
            self._places[device] = self.values.to(device, copy=True) if fits else self.values
        return self._places[device]


def has_room(device: torch.device, num_bytes: int) -> bool:
    """Whether a CUDA device can keep so much data beside a model: at most a quarter of what is free."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return num_bytes <= free // _SHARE

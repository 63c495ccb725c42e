"""`Module`, the base class of every encoder, decoder and prior: PyTorch's own."""

from __future__ import annotations

from torch.nn.modules.module import Module

__all__ = ["Module"]

"""From PyTorch's operations to those of a graph: a file for each kind, one small function for each operation."""

from __future__ import annotations

from lucid.codec.network.lowering import elementwise, layers, movement, products, reductions, resampling
from lucid.codec.network.lowering.call import LOWERINGS, Call

__all__ = ["LOWERINGS", "Call", "elementwise", "layers", "movement", "products", "reductions", "resampling"]

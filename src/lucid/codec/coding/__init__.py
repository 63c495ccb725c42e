"""Entropy coding of latents and data: bits back over a block of examples."""

from __future__ import annotations

from lucid.codec.coding.block import BlockCoder, Network
from lucid.codec.coding.calibrate import calibrate
from lucid.codec.coding.code import Run
from lucid.codec.coding.stack import seed_bytes

__all__ = ["BlockCoder", "Network", "Run", "calibrate", "seed_bytes"]

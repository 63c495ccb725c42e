"""What people give: arrays, folders of images, tables, to levels and back, with names and metadata."""

from __future__ import annotations

from lucid.codec.inputs.grid import protocol_of
from lucid.codec.inputs.manifest import listed
from lucid.codec.inputs.packing import Packed, pack
from lucid.codec.inputs.unpacking import Unpacked, unpack

__all__ = ["Packed", "Unpacked", "listed", "pack", "protocol_of", "unpack"]

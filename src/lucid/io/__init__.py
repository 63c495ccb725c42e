"""Safe artefacts: a folder with config.json and model.safetensors, opened without running any code from it."""

from __future__ import annotations

from torch import nn as _nn

from lucid.io.artefact import load, save
from lucid.io.building import build
from lucid.io.description import describe
from lucid.io.files import read_json, write_json
from lucid.io.registry import register
from lucid.io.tensors import read_metadata, read_tensors, read_verified, tensor_shapes, write_tensors
from lucid.nn import layers as _layers

__all__ = [
    "build",
    "describe",
    "load",
    "read_json",
    "read_metadata",
    "read_tensors",
    "read_verified",
    "register",
    "save",
    "tensor_shapes",
    "write_json",
    "write_tensors",
]

# The room nn lies below this one and cannot register its own layers.
for _name in _layers.__all__:
    _cls = getattr(_layers, _name)
    if isinstance(_cls, type) and issubclass(_cls, _nn.Module):
        register(_cls)

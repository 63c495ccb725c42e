"""lucid: variational autoencoders whose numbers can be trusted.

Bring an encoder and a decoder, any two `torch.nn.Module`s::

    import lucid.models as models
    import lucid.nn as nn

    config = models.VAEConfig(
        encoders=[nn.Sequential(nn.Linear(784, 128))],
        decoders=[nn.Sequential(nn.Linear(64, 784))],
        reconstruction_loss="bce",
    )
    model = models.VAE(config)

Importing `lucid` loads PyTorch and nothing heavier; every room below is loaded the first time it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import torch as torch  # the engine; the one heavy import lucid makes

if TYPE_CHECKING:
    from lucid import cli, codec, data, distributions, evaluation, io, models, nn, objectives, report, training
    from lucid.io import load, save

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "cli",
    "codec",
    "data",
    "distributions",
    "evaluation",
    "io",
    "load",
    "models",
    "nn",
    "objectives",
    "report",
    "save",
    "training",
]

_ROOMS = frozenset(__all__) - {"__version__", "load", "save"}


def __getattr__(name: str) -> Any:
    """Load a room, or `save` and `load`, when it is first asked for."""
    if name in _ROOMS:
        return importlib.import_module(f"lucid.{name}")
    if name in {"load", "save"}:
        # The rooms whose classes an artefact may name register them with `lucid.io` when they are imported.
        for room in ("models", "objectives"):
            importlib.import_module(f"lucid.{room}")
        return getattr(importlib.import_module("lucid.io"), name)
    raise AttributeError(f"module 'lucid' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

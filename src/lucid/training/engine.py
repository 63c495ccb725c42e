"""Devices and precision, from Lightning Fabric: the one file that knows it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch

from lucid.training.settings import PRECISIONS, Settings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["make_engine"]


def make_engine(settings: Settings) -> Fabric:
    """A Fabric for one device in the precision asked for.

    Raises:
        ValueError: If the device is not there, or cannot compute in that precision.
    """
    with warnings.catch_warnings():
        # Lightning warns about packages of its own; nothing a user of ours could act on.
        warnings.simplefilter("ignore")
        from lightning_fabric import Fabric

    device = _device(settings)
    if settings.precision == "fp16-mixed" and device != "cuda":
        raise ValueError(f"fp16-mixed needs a CUDA device; the device is {device}. bf16-mixed runs on both")
    if settings.precision not in ("bf16-mixed", "fp16-mixed"):
        precision: Any = PRECISIONS[settings.precision]
        return Fabric(accelerator=device, devices=1, precision=precision)
    return Fabric(accelerator=device, devices=1, plugins=[_networks_only(PRECISIONS[settings.precision], device)])


def _networks_only(precision: str, device: str) -> Any:
    """Fabric's mixed precision without its conversion of inputs.

    Fabric rounds every input to the half-precision type. Data must not be: 8 bits of mantissa move 8-bit pixels off
    their levels. Only the networks run in half precision, by autocast; the model draws and evaluates densities in
    float32.
    """
    from lightning_fabric.plugins.precision import MixedPrecision

    class NetworksOnly(MixedPrecision):
        def convert_input(self, data: Any) -> Any:
            return data

    chosen: Any = precision
    return NetworksOnly(chosen, device)


def _device(settings: Settings) -> str:
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if settings.device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if available[name])
    if not available[settings.device]:
        there = ", ".join(name for name, here in available.items() if here)
        raise ValueError(f"device {settings.device!r} is not available here; there is: {there}")
    return settings.device

"""Where a model is trained and in which numbers."""

from __future__ import annotations

import torch
from torch import nn

from lucid.training.settings import Settings

__all__ = ["device_of", "has_bfloat16", "precision_of"]

_MUCH = 20_000_000
_BFLOAT16 = ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16", "sve_bf16")


def device_of(settings: Settings, local_rank: int = 0) -> torch.device:
    """The device that is asked for; with "auto" the first of cuda, mps and cpu that is there.

    Args:
        settings: The run's.
        local_rank: Number of this process on its machine; each has a CUDA device of its own.

    Raises:
        ValueError: If it is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if settings.device != "auto" and not available[settings.device]:
        there = ", ".join(name for name, here in available.items() if here)
        raise ValueError(f"device {settings.device!r} is not available here; there is: {there}")
    name = settings.device if settings.device != "auto" else next(name for name, here in available.items() if here)
    if name != "cuda":
        return torch.device(name)
    if local_rank >= torch.cuda.device_count():
        raise ValueError(
            f"process {local_rank} of this machine has no CUDA device of its own: there are "
            f"{torch.cuda.device_count()}. Start as many processes as there are devices"
        )
    return torch.device("cuda", local_rank if local_rank else torch.cuda.current_device())


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16, and does not merely imitate it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        can = torch.cpu.get_capabilities()
        return any(can.get(name, False) for name in _BFLOAT16)
    return False


def precision_of(settings: Settings, device: torch.device, model: nn.Module) -> str:
    """The precision of a run, with "auto" decided.

    Half precision is worth its conversions where a step multiplies much: not for a model so small, or batches so small,
    that parameters times examples are less than twenty million. (At 7 million a step took 1.1 to 1.2 of the time in
    float32, at 27 million 0.8, at 116 million 0.6.)

    Args:
        settings: The run's.
        device: Where it computes.
        model: As it was given.

    Raises:
        ValueError: If the device cannot compute in it.
    """
    if settings.precision == "auto":
        if next(model.parameters()).dtype == torch.float64:
            return "float64"
        work = settings.batch_size * sum(parameter.numel() for parameter in model.parameters())
        return "bf16-mixed" if work >= _MUCH and has_bfloat16(device) else "float32"
    if settings.precision == "float64" and device.type == "mps":
        raise ValueError("an mps device has no float64; float32 and bf16-mixed run on it")
    return settings.precision

"""Where a model is trained and in which numbers."""

from __future__ import annotations

import torch

from lucid.training.settings import Settings

__all__ = ["device_of", "has_bfloat16", "precision_of"]

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


def precision_of(settings: Settings, device: torch.device, dtype: torch.dtype) -> str:
    """The precision of a run, with "auto" decided.

    Args:
        settings: The run's.
        device: Where it computes.
        dtype: Of the model's parameters as they were given.

    Raises:
        ValueError: If the device cannot compute in it.
    """
    if settings.precision == "auto":
        if dtype == torch.float64:
            return "float64"
        return "bf16-mixed" if has_bfloat16(device) else "float32"
    if settings.precision == "float64" and device.type == "mps":
        raise ValueError("an mps device has no float64; float32 and bf16-mixed run on it")
    return settings.precision

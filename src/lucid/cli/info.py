"""`lucid info`."""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

import torch

import lucid
from lucid.cli.opening import open_model
from lucid.models import LatentModel
from lucid.training import Run

__all__ = ["info"]


def info(args: argparse.Namespace) -> int:
    """Say what a run or a model is; without one, what is installed."""
    if args.folder is None:
        _print(_installed())
        return 0
    path = Path(args.folder)
    lines: dict[str, str] = {}
    if (path / "run.json").exists():
        run = Run(path)
        lines["run"] = str(path)
        steps = [int(line["step"]) for line in run.metrics()]
        lines["trained"] = f"{max(steps, default=0)} steps"
    lines |= _described(open_model(args.folder))
    _print(lines)
    return 0


def _installed() -> dict[str, str]:
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices += [f"cuda ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return {
        "lucid": lucid.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "devices": ", ".join(devices),
        "threads": str(torch.get_num_threads()),
    }


def _described(model: LatentModel) -> dict[str, str]:
    parameters = sum(p.numel() for p in model.parameters())
    shapes = [tuple(int(n) for n in row if n > 0) for row in getattr(model, "latent_shapes", [])]
    lines = {
        "model": f"{type(model).__name__}, {model.depth} latent level{'s' if model.depth > 1 else ''}",
        "parameters": f"{parameters:,}",
        "latents": ", ".join("×".join(str(n) for n in shape) or "not known yet" for shape in shapes),
        "likelihood": repr(model.likelihood),
        "data": model.protocol.describe() if model.protocol else "not declared",
    }
    if model.condition is not None:
        lines["condition"] = model.condition.describe()
    for split, figures in model.figures.items():
        likelihood = figures["log_likelihood"]
        bits = figures.get("bits_per_dim")
        lines[split] = (
            f"log-likelihood {likelihood['value']:.2f} ± {likelihood['standard_error']:.2f} nats "
            f"({likelihood['estimator']})" + (f", {bits:.3f} bits/dim" if bits is not None else "")
        )
    return lines


def _print(lines: dict[str, str]) -> None:
    width = max(len(name) for name in lines)
    for name, text in lines.items():
        print(f"{name:<{width}}  {text}")

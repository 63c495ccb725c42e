"""The whole state of a run in one file: tensors by name, everything else as JSON in its header; nothing is pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lucid import io
from lucid.models import LatentModel

__all__ = ["Position", "load_checkpoint", "save_checkpoint"]

_SCHEMA = "1"


@dataclass
class Position:
    """Where a run is.

    Attributes:
        step: Training steps done.
        epoch: Passes over the data done.
        batch: Batches of the current pass done.
        seconds: Time spent training.
        best_loss: Least validation loss so far, nats.
        best_step: The step it was measured after; −1 before the first validation.
        window: Sums of the metrics since the last line that was written, and their count.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    best_loss: float = float("inf")
    best_step: int = -1
    window: list[float] = field(default_factory=list[float])


def save_checkpoint(
    path: Path,
    position: Position,
    model: LatentModel,
    best: Mapping[str, Tensor],
    optimizer: Optimizer,
    generator: torch.Generator,
) -> None:
    """Write everything a run needs to go on as if it had not stopped; the file is replaced whole or not at all."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    state = optimizer.state_dict()
    slots: dict[str, dict[str, Any]] = {}
    for index, slot in state["state"].items():
        for name, value in slot.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{name}"] = value
            else:
                slots.setdefault(str(index), {})[name] = value
    tensors["random.generator"] = generator.get_state()
    tensors["random.torch"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    said = asdict(position)
    said["best_loss"] = None if position.best_step < 0 else position.best_loss
    header = {
        "schema": _SCHEMA,
        "position": json.dumps(said),
        "optimizer": json.dumps({"groups": state["param_groups"], "slots": slots}),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    io.write_tensors(path, tensors, header)


def load_checkpoint(
    path: Path, model: LatentModel, optimizer: Optimizer, generator: torch.Generator
) -> tuple[Position, dict[str, Tensor]]:
    """Put a run back where it was.

    Returns:
        The position, and the weights of the best model so far.

    Raises:
        ValueError: If the file is damaged, or belongs to another model.
        FileNotFoundError: If there is none.
    """
    header = io.read_metadata(path)
    if header.get("schema") != _SCHEMA:
        raise ValueError(f"{path} is not a checkpoint this version of lucid reads (schema {header.get('schema')!r})")
    tensors = io.read_tensors(path)
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimizer": {}, "random": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = value
    model.load_state_dict(parts["model"])
    said = json.loads(header["optimizer"])
    state: dict[int, dict[str, Any]] = {int(index): dict(slot) for index, slot in said["slots"].items()}
    for name, value in parts["optimizer"].items():
        index, _, slot = name.partition(".")
        state.setdefault(int(index), {})[slot] = value
    # JSON knows lists only; an optimizer's pairs, such as betas, are tuples.
    groups = [
        {name: tuple(value) if isinstance(value, list) and name != "params" else value for name, value in group.items()}
        for group in said["groups"]
    ]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    generator.set_state(parts["random"]["generator"])
    torch.set_rng_state(parts["random"]["torch"])
    if torch.cuda.is_available() and "cuda" in parts["random"]:
        torch.cuda.set_rng_state(parts["random"]["cuda"])
    position = json.loads(header["position"])
    if position["best_loss"] is None:
        position["best_loss"] = float("inf")
    return Position(**position), parts["best"]

"""What a run is, in words that can be compared: a resumed one must be the same."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer

import lucid
from lucid import io
from lucid.models import LatentModel
from lucid.objectives import Objective
from lucid.training.engine import Engine, launch
from lucid.training.settings import Settings

if TYPE_CHECKING:
    from lucid.data import Dataset

__all__ = ["describe_objective", "describe_optimizer", "describe_run", "refuse_other_run"]

_MAY_CHANGE = (
    *("epochs", "steps", "early_stopping", "log_every", "checkpoint_seconds", "keep_checkpoints"),
    *("device", "strategy", "recompute", "max_skips"),
)
"""Settings that leave what is computed as it is, or extend it."""

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def describe_run(
    model: LatentModel, data: Dataset, settings: Settings, objective: Objective, engine: Engine, more: Mapping[str, Any]
) -> dict[str, Any]:
    """What `run.json` says: plain JSON values."""
    return {
        **more,
        "data": data.source,
        "objective": io.describe(objective),
        "training": {**asdict(settings), "precision": engine.precision},
        "protocol": asdict(data.protocol),
        "identity": {
            "architecture": _lines(model),
            "likelihood": _lines(model.likelihood),
            "objective": describe_objective(objective),
            "data": data.fingerprint(),
            **({} if model.condition is None else {"labels": data.label_fingerprint()}),
        },
        "launch": launch(),
        "versions": {"lucid": lucid.__version__, "torch": str(torch.__version__)},
    }


def describe_optimizer(optimizer: Optimizer) -> list[str]:
    """Its class, and what it was made with."""
    options = ", ".join(f"{name}={value}" for name, value in sorted(optimizer.defaults.items()))
    return [_ADDRESS.sub("", f"{type(optimizer).__qualname__}({options})")]


def describe_objective(objective: Objective) -> list[str]:
    """Its class, and what it was made with, line by line."""
    return _lines(objective)


def _lines(thing: object) -> list[str]:
    return _ADDRESS.sub("", repr(thing)).splitlines()


def refuse_other_run(before: Mapping[str, Any], now: Mapping[str, Any], where: object) -> None:
    """A resumed run may be longer; nothing else about it may differ.

    Args:
        before: What `describe_run` said of it.
        now: What it says of the run that would go on with it.
        where: The run's folder.

    Raises:
        ValueError: If they are not the same, naming what differs.
    """
    now = json.loads(json.dumps(now))
    differing = [
        f"{name} (was {_brief(before['training'].get(name))}, now {_brief(value)})"
        for name, value in now["training"].items()
        if name not in _MAY_CHANGE and before["training"].get(name, value) != value and value != "auto"
    ]
    differing += _protocol_differences(before.get("protocol") or {}, now["protocol"])
    then = before.get("identity") or {}
    for name, value in now["identity"].items():
        if name in then and then[name] != value:
            differing.append(_content(then[name], value) if name == "data" else _changed(name, then[name], value))
    if differing:
        raise ValueError(
            f"the run in {where} cannot be resumed with other {'; '.join(differing)}: only its length may change"
        )


def _protocol_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"data: its {name} (was {_brief(before.get(name))}, now {_brief(value)})"
        for name, value in now.items()
        if name in before and before[name] != value  # an earlier lucid may not have had it
    ]


def _content(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    parts = [part for part, print_ in now.items() if before.get(part) != print_]
    return f"data: the values of its {', '.join(parts)} part{'s' if len(parts) > 1 else ''}"


def _changed(name: str, before: Sequence[str], now: Sequence[str]) -> str:
    lines = [line.strip() for line in difflib.ndiff(before, now) if line[0] in "-+"]
    gone = [line[1:].strip() for line in lines if line[0] == "-"]
    come = [line[1:].strip() for line in lines if line[0] == "+"]
    return f"{name} (was {_brief(' '.join(gone) or 'without it')}, now {_brief(' '.join(come) or 'without it')})"


def _brief(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:119]}…"

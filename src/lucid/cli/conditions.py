"""Conditions from the command line: `--condition labels` to train a model, `--condition CLASS` to sample from it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lucid.cli.errors import UsageError
from lucid.data import Dataset
from lucid.models import Condition, DataProtocol, LatentModel

__all__ = ["condition_of_data", "condition_of_samples"]


def condition_of_data(said: Any, dataset: Dataset) -> Condition:
    """What a model that is to be trained is conditioned on.

    Args:
        said: "labels".
        dataset: Whose labels they are.

    Raises:
        UsageError: If it is something else, or the data has no labels.
    """
    if said != "labels":
        raise UsageError(
            f"--condition takes the word labels: the model is told the label of each example; got {said!r}"
        )
    classes = dataset.num_classes
    if classes is None:
        raise UsageError(
            f"--condition labels needs data with labels, and {dataset.protocol.name} has none: name them with --label, "
            "or sort images into folders"
        )
    return Condition(num_classes=classes)


def condition_of_samples(said: str | None, model: LatentModel, protocol: DataProtocol, n: int) -> Tensor | None:
    """What the model is told of each of `n` samples.

    Args:
        said: A class by its name or number, several with commas between them, or the numbers of a vector; None if
            nothing was said.
        model: The model.
        protocol: Of its data, which knows the names of the classes.
        n: How many rows.

    Returns:
        int64 (n,), the classes said in equal shares, one after the other; float (n, D) for a vector; None for a model
        that takes no condition.

    Raises:
        UsageError: If something is said to a model that takes no condition, or not said to one that asks for it, or it
            is not what the model knows.
    """
    asked = model.condition
    if asked is None:
        if said is not None:
            raise UsageError("--condition is for conditional models, and this one takes no condition: leave it out")
        return None
    if said is None:
        raise UsageError(f"the model is conditional: say what to sample with --condition {_example(asked, protocol)}")
    if asked.num_classes is None:
        return _vector(said, asked).expand(n, -1)
    whole = [said] if said in protocol.classes else [part.strip() for part in said.split(",") if part.strip()]
    if not whole:
        raise UsageError(f"--condition names no class: give --condition {_example(asked, protocol)}")
    codes = torch.tensor([_code(name, asked.num_classes, protocol) for name in whole])
    return codes[torch.arange(n) * len(codes) // n]


def _code(name: str, num_classes: int, protocol: DataProtocol) -> int:
    if name in protocol.classes:
        return protocol.classes.index(name)
    if name.isdigit() and int(name) < num_classes and not protocol.classes:
        return int(name)
    known = ", ".join(protocol.classes[:20]) if protocol.classes else f"0 … {num_classes - 1}"
    raise UsageError(f"--condition: there is no class {name!r}; the model knows {known}")


def _vector(said: str, asked: Condition) -> Tensor:
    try:
        numbers = [float(part) for part in said.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != asked.size or not all(map(math.isfinite, numbers)):
        raise UsageError(f"--condition must be {asked.size} numbers with commas between them; received {said!r}")
    return torch.tensor(numbers)


def _example(asked: Condition, protocol: DataProtocol) -> str:
    if asked.num_classes is None:
        return ",".join(["0"] * min(3, asked.size or 1)) + (", …" if (asked.size or 0) > 3 else "")
    return protocol.classes[0] if protocol.classes else f"N, a class of 0 … {asked.num_classes - 1}"

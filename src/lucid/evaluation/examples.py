"""The examples that are measured: every one once, in order, with what a conditional model is told of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from lucid.data import Share, Split, tells_labels
from lucid.models import LatentModel

__all__ = ["Batches", "check_data", "device_of", "examples_of", "length_of", "name_of", "some_examples"]


class Batches(Protocol):
    """What `evaluate` needs of a split of data: ordered batches of model-space x."""

    def batches(self, batch_size: int, *, device: torch.device | str = ...) -> Iterator[Tensor]:
        """Every example once, in order, (B, ...) at a time."""
        ...

    def __len__(self) -> int: ...


def examples_of(
    model: LatentModel,
    data: Batches | Tensor,
    batch_size: int,
    device: torch.device,
    condition: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Every example once, batch by batch, with what a conditional model is told of it.

    Args:
        model: The model.
        data: A split, whose labels are told where the model is conditional; or a tensor of x.
        batch_size: Examples at once.
        device: Where they go.
        condition: Of each example of a tensor.

    Raises:
        ValueError: If the model is not told what it asks for, or told what it does not ask for.
    """
    check_data(data)
    if not isinstance(data, Tensor):
        if condition is not None:
            raise ValueError("condition= goes with a tensor of x: a split gives the labels of its examples itself")
        if isinstance(data, Split) and tells_labels(model, data):
            portions = data.portions(batch_size, device=device, share=Share(), condition=True)
            return ((portion.x, portion.condition) for portion in portions)
        return ((x, None) for x in data.batches(batch_size, device=device))
    if data.dim() < 2:
        raise ValueError(f"x must be (batch, features, ...); received shape {tuple(data.shape)}")
    if condition is None:
        return ((x.to(device), None) for x in data.split(batch_size) if len(x))
    if len(condition) != len(data):
        raise ValueError(
            f"condition must have a row for each example; received {len(condition)} for {len(data)} examples"
        )
    pairs = zip(data.split(batch_size), condition.split(batch_size), strict=True)
    return ((x.to(device), told.to(device)) for x, told in pairs if len(x))


def check_data(data: object) -> None:
    """Refuse what is neither a split nor a tensor.

    Raises:
        TypeError: If it is not.
    """
    if not isinstance(data, Tensor) and not hasattr(data, "batches"):
        raise TypeError(
            "data must be a split of a dataset, such as load(…).test, or a tensor of model-space x; received "
            f"{type(data).__name__}. lucid.data.load_like(data, model.protocol) makes a split of a table, a file or an "
            "array"
        )


def length_of(data: Batches | Tensor) -> int | None:
    """Examples in the data; None for a stream, whose `size` is None."""
    if not isinstance(data, Tensor) and getattr(data, "size", len) is None:
        return None
    return len(data)


def name_of(data: object) -> str:
    """What the data is called in a record: the part it is of a dataset, or "tensor"."""
    return data.part if isinstance(data, Split) else "tensor"


def device_of(model: LatentModel) -> torch.device:
    """Where the model is."""
    tensor = next(model.parameters(), None)
    return next(model.buffers()).device if tensor is None else tensor.device


def some_examples(
    model: LatentModel,
    data: Batches | Tensor,
    num_examples: int,
    device: torch.device,
    condition: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """At most so many examples, evenly spread over the data (of a stream, the first), with what is told of them.

    Args:
        model: The model.
        data: A split, or a tensor of x.
        num_examples: How many; all, where there are fewer.
        device: Where they go.
        condition: Of each example of a tensor.
    """
    total = length_of(data)
    wanted = None
    if total is not None:
        number = min(num_examples, total)
        wanted = {i * total // number for i in range(number)}
    xs: list[Tensor] = []
    conditions: list[Tensor] = []
    met = kept = 0
    for x, told in examples_of(model, data, 128, device, condition):
        rows = [i for i in range(len(x)) if (kept + i < num_examples if wanted is None else met + i in wanted)]
        met, kept = met + len(x), kept + len(rows)
        xs.append(x[rows])
        if told is not None:
            conditions.append(told[rows])
        if kept >= num_examples:
            break
    if not kept:
        raise ValueError("there are no examples to measure")
    return torch.cat(xs), torch.cat(conditions) if conditions else None

"""What training minimises: an objective turns the record of a walk into a scalar loss."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from lucid.distributions import Stream
from lucid.models import Record, Walk, draws, drive, valid_beta
from lucid.models.schedules import Constant

__all__ = ["Objective", "Scheduled", "Terms", "arguments_in_words", "as_schedule", "figures_of", "record_of"]


class Terms(NamedTuple):
    """One evaluation of an objective, scalars in nats per example; everything but `loss` is detached.

    Attributes:
        loss: What is minimised.
        reconstruction: −log p(x|z).
        kl: Unweighted KL of each level.
    """

    loss: Tensor
    reconstruction: Tensor
    kl: tuple[Tensor, ...]

    @classmethod
    def of(cls, loss: Tensor, reconstruction: Tensor, kl: Sequence[Tensor]) -> Terms:
        """A loss beside the parts of the bound, each averaged over its rows if it is not yet."""
        return cls(loss, reconstruction.detach().mean(), tuple(level.detach().mean() for level in kl))

    @property
    def elbo(self) -> Tensor:
        """The unweighted bound at the same draws; larger is better."""
        return -self.reconstruction - torch.stack(self.kl).sum()


class Objective(Protocol):
    """A loss on walks.

    Two methods make an objective. It may also have

    - `record(walk, stream) -> Record`, which drives a walk over data in the objective's own way, such as with several
      draws; without it every latent is drawn once;
    - `figures(beta) -> dict[str, float]`, what metrics say of its state in the place of `{"beta": beta}`;
    - buffers, as an `nn.Module`: state that training changes, such as the multiplier of a constraint. They are kept in
      checkpoints, and left alone by an update that is left out. All else that changes with time is a function of the
      step.
    """

    def beta(self, step: int) -> float:
        """What changes with the training step: the weight of the KL, or whatever else the objective schedules."""
        ...

    def __call__(self, record: Record, beta: float | Tensor) -> Terms:
        """The loss of a walk over data; β comes as a tensor where the step is compiled or captured."""
        ...


class Scheduled(ABC):
    """An objective with one scheduled number, the weight β of the KL unless it says otherwise.

    Args:
        schedule: A number, a schedule, or any function `step -> float`.
    """

    def __init__(self, schedule: float | Callable[[int], float] = 1.0) -> None:
        self.schedule = as_schedule(schedule)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({arguments_in_words(self)})"

    def beta(self, step: int) -> float:
        """The scheduled number at a training step, checked."""
        return valid_beta(self.schedule(step), step)

    @abstractmethod
    def __call__(self, record: Record, beta: float | Tensor) -> Terms:
        """The loss and its parts for a walk over data."""


def as_schedule(schedule: float | Callable[[int], float]) -> Callable[[int], float]:
    """A number as the schedule that never changes; a schedule as it is."""
    return schedule if callable(schedule) else Constant(float(schedule))


def arguments_in_words(thing: object) -> str:
    """What an object was made with, `name=value, …`; the first argument goes without its name."""
    values = [(name, getattr(thing, name)) for name in inspect.signature(type(thing)).parameters]
    return ", ".join(f"{name}={value!r}" if number else repr(value) for number, (name, value) in enumerate(values))


def record_of(objective: Objective, walk: Walk, stream: Stream = None) -> Record:
    """A walk over data, driven as the objective wants it.

    Args:
        objective: Whose loss is to be found.
        walk: What `model.walk(x)` returned.
        stream: Where the draws come from.
    """
    driven: Callable[[Walk, Stream], Record] | None = getattr(objective, "record", None)
    return drive(walk, draws(stream)) if driven is None else driven(walk, stream)


def figures_of(objective: Objective, beta: float) -> Mapping[str, float]:
    """What metrics say of an objective's state: its β, and whatever else it names.

    Args:
        objective: In training.
        beta: What `objective.beta` said of the step.
    """
    told: Callable[[float], Mapping[str, float]] | Any = getattr(objective, "figures", None)
    return {"beta": beta} if told is None else told(beta)

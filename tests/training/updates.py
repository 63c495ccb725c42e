"""One update by itself, without a loop around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from lucid.data import Portion
from lucid.models import LatentModel, Record
from lucid.objectives import ELBO, Objective, Terms
from lucid.training import Settings
from lucid.training.engine import Engine
from lucid.training.guard import DeviceGuard
from lucid.training.optimizers import make_optimizer
from lucid.training.randomness import Randomness
from lucid.training.step import TrainingStep
from lucid.training.update import Update


def update_of(
    model: LatentModel,
    *,
    objective: Objective | None = None,
    optimizer: Callable[[Iterable[Tensor]], torch.optim.Optimizer] | None = None,
    on_device: bool = False,
    **more: Any,
) -> Update:
    """An update of `model`, in float32 if nothing else is said.

    Args:
        model: What is trained.
        objective: What is minimised.
        optimizer: Makes the optimizer; None is what the settings name.
        on_device: Whether the path without a look at any number is taken, which on a CPU is not.
        more: Settings.
    """
    settings = Settings.of(**{"precision": "float32", "batch_size": 32, **more})
    engine = Engine(settings, model)
    model.to(engine.dtype)
    parameters = list(model.parameters())
    made = make_optimizer(parameters, settings) if optimizer is None else optimizer(parameters)
    step = TrainingStep(model, objective or ELBO())
    update = Update(step, step, made, engine, settings, Randomness(settings.seed, engine.device, 0))
    if on_device:
        update._on_host, update.guard = False, DeviceGuard(settings.skip, engine.device)
    return update


def optimizer_of(update: Update) -> Any:
    return update._optimizer


def portion(x: Tensor) -> Portion:
    """A batch of which this process has every row."""
    return Portion(x, 0, len(x))


def snapshot(update: Update) -> dict[str, Tensor]:
    """Copies of everything that an update changes: weights, statistics and the optimizer's slots."""
    found = {name: value.clone() for name, value in update._inner.model.state_dict().items()}
    for index, slots in optimizer_of(update).state_dict()["state"].items():
        found |= {f"optimizer.{index}.{name}": torch.as_tensor(value).clone() for name, value in slots.items()}
    return found


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> list[str]:
    """The names of what differs in any bit; [] where all is the same."""
    return [name for name in a.keys() | b.keys() if name not in a or name not in b or not torch.equal(a[name], b[name])]


class Spoiling:
    """The ELBO times a factor of each call, plus what has no gradient: spikes, overflows and NaN when they are wanted.

    Args:
        factors: Of the loss, call after call; 1 after the last.
        added: Added to the loss of every call, without a gradient.
    """

    def __init__(self, factors: Iterable[float] = (), added: float = 0.0) -> None:
        self.factors = iter(factors)
        self.added = added

    def beta(self, step: int) -> float:
        return 1.0

    def __call__(self, record: Record, beta: float | Tensor) -> Terms:
        terms = ELBO()(record, beta)
        return terms._replace(loss=terms.loss * next(self.factors, 1.0) + self.added)


class Plain(nn.Module):
    """A network that is not a `Sequential`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, 8)
        self.second = nn.Linear(8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x)))

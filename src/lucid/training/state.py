"""The whole state of a run as named tensors and plain numbers, and a run put back into it.

Nothing random is in it: what is drawn is a function of the seed and the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from lucid.training.average import WeightAverage
from lucid.training.engine import as_sharded, gathered
from lucid.training.update import Update

__all__ = ["Position", "RunState"]


@dataclass
class Position:
    """Where a run is.

    Attributes:
        step: Training steps done.
        epoch: Passes over the data done.
        batch: Batches of the current pass done.
        seconds: Time spent training.
        best_loss: Least validation loss so far, nats; None before the first validation.
        best_step: The step it was measured after; −1 before the first validation.
        final_beta: The β it was measured at, with which the schedule ends.
        artefact_step: The step whose weights are in the artefact; −1 if there is none yet.
        stale: Validations since the best.
        stopped: Whether the run has ended before its last step, for want of progress.
        window: Sums of the metrics since the last line that was written, and their count.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    best_loss: float | None = None
    best_step: int = -1
    final_beta: float | None = None
    artefact_step: int = -1
    stale: int = 0
    stopped: bool = False
    window: list[float] = field(default_factory=list[float])


@dataclass
class RunState:
    """Everything of a run that changes.

    Args:
        model: In training; its weights may be sharded.
        objective: What is minimised, if training changes it.
        optimizer: Of its parameters.
        update: Which updates were left out, and the loss scale of fp16.
        average: Of the weights, if one is kept.
        position: Where the run is.
        best: Weights of the best model so far.
    """

    model: nn.Module
    objective: nn.Module | None
    optimizer: Optimizer
    update: Update
    average: WeightAverage | None
    position: Position
    best: dict[str, Tensor]

    def best_or_last(self) -> dict[str, Tensor]:
        """The weights that did best in validation; without one the last, averaged if an average is kept."""
        if self.best:
            return self.best
        return self.model.state_dict() | ({} if self.average is None else self.average.state())

    def captured(self, *, wanted: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tensors, whole, and the numbers. Every process must ask; who does not want the tensors is given none."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"buffer.{name}": value for name, value in self._unsaved_buffers().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        if self.objective is not None:
            tensors |= {f"objective.{name}": value for name, value in self.objective.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average.{name}": value for name, value in self.average.state().items()}
        said = self.optimizer.state_dict()
        slots: dict[str, dict[str, Any]] = {}
        for index, slot in said["state"].items():
            for name, value in slot.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{index}.{name}"] = value
                else:
                    slots.setdefault(str(index), {})[name] = value
        numbers = {
            "position": asdict(self.position),
            "optimizer": {"groups": said["param_groups"], "slots": slots},
            "guard": self.update.guard.state(),
            "scaler": self.update.scaler.state_dict() if self.update.scaler is not None else None,
        }
        return gathered(tensors, wanted=wanted), numbers

    def _unsaved_buffers(self) -> dict[str, Tensor]:
        """Buffers that artefacts do without; training may change them all the same."""
        saved = self.model.state_dict().keys()
        return {name: buffer for name, buffer in self.model.named_buffers() if name not in saved}

    def restore(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Put the run back to where `captured` found it.

        Raises:
            ValueError: If the tensors are not those of this model.
        """
        kinds = ("model", "buffer", "best", "objective", "average", "optimizer")
        parts: dict[str, dict[str, Tensor]] = {name: {} for name in kinds}
        for name, value in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = value
        likes = self.model.state_dict()
        self.model.load_state_dict({name: as_sharded(value, likes[name]) for name, value in parts["model"].items()})
        for name, buffer in self._unsaved_buffers().items():
            buffer.copy_(parts["buffer"][name])
        if self.objective is not None:
            self.objective.load_state_dict(parts["objective"])
        self.best.clear()
        self.best |= {name: as_sharded(value.to(likes[name]), likes[name]) for name, value in parts["best"].items()}
        if self.average is not None:
            averages = self.average.state()
            self.average.restore({n: as_sharded(value, averages[n]) for n, value in parts["average"].items()})
        self._restore_optimizer(numbers["optimizer"], parts["optimizer"])
        self.update.guard.restore(numbers["guard"])
        if self.update.scaler is not None:
            self.update.scaler.load_state_dict(numbers["scaler"])
        for name, value in numbers["position"].items():
            setattr(self.position, name, value)

    def _restore_optimizer(self, said: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, Any]] = {int(index): dict(slot) for index, slot in said["slots"].items()}
        for name, value in tensors.items():
            index, _, slot = name.partition(".")
            like = parameters[int(index)]
            state.setdefault(int(index), {})[slot] = as_sharded(value, like) if value.shape == like.shape else value
        # JSON knows lists only; an optimizer's pairs, such as betas, are tuples.
        groups = [
            {k: tuple(v) if isinstance(v, list) and k != "params" else v for k, v in group.items()}
            for group in said["groups"]
        ]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})

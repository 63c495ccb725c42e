"""One evaluation of the objective as a module, so that whatever wraps it sees the whole of it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import Module

from lucid.distributions import Stream
from lucid.models import LatentModel, draws, drive
from lucid.objectives import Objective, Terms

__all__ = ["TrainingStep"]


class TrainingStep(Module):
    """Walks the model over a batch and evaluates the objective.

    Args:
        model: The model in training.
        objective: What is minimised.
    """

    def __init__(self, model: LatentModel, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(
        self, x: Tensor, betas: Sequence[float | Tensor], stream: Stream = None, check: bool = False
    ) -> list[Terms]:
        """The objective on a batch, at each of the given weights of the KL, from one walk.

        Args:
            x: The batch, (N, ...).
            betas: Weights of the KL.
            stream: Where the draws of the walk come from.
            check: Whether to look at the values of `x`.
        """
        record = drive(self.model.walk(x, check=check), draws(stream))
        return [self.objective(record, beta) for beta in betas]

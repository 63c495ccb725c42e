"""One training step as a module, so that a distributed or mixed-precision wrapper sees the whole of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Module

from lucid.models import LatentModel, draws, drive
from lucid.objectives import Objective, Terms

__all__ = ["TrainingStep"]


class TrainingStep(Module):
    """Walks the model over a batch and evaluates the objective.

    Args:
        model: The model in training.
        objective: What is minimised.
        generator: The stream of posterior draws.
    """

    def __init__(self, model: LatentModel, objective: Objective, generator: torch.Generator) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.generator = generator

    def forward(self, x: Tensor, betas: Sequence[float], check: bool = False) -> list[Terms]:
        """The objective on a batch, at each of the given weights of the KL, from one walk.

        Args:
            x: The batch, (N, ...).
            betas: Weights of the KL.
            check: Whether to look at the values of `x`.
        """
        record = drive(self.model.walk(x, check=check), draws(self.generator))
        return [self.objective(record, beta) for beta in betas]

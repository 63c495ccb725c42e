"""One evaluation of the objective as a module, so that whatever wraps it sees the whole of it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import Module

from lucid.distributions import Stream
from lucid.evaluation import LatentStatistics
from lucid.models import LatentModel, draws, drive
from lucid.models.condition import told
from lucid.objectives import Objective, Terms, record_of

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
        self,
        x: Tensor,
        betas: Sequence[float | Tensor],
        stream: Stream = None,
        check: bool = False,
        condition: Tensor | None = None,
        statistics: tuple[LatentStatistics, int] | None = None,
    ) -> list[Terms]:
        """The objective on a batch, at each of the given weights of the KL, from one walk.

        Args:
            x: The batch, (N, ...).
            betas: Weights of the KL.
            stream: Where the draws of the walk come from.
            check: Whether to look at the values of `x`.
            condition: What a conditional model is told of each example, (N,) or (N, D).
            statistics: What gathers the latents, and how many draws of each example it is to see, in the place of the
                objective.
        """
        walk = self.model.walk(x, check=check, **told(condition))
        if statistics is not None:
            gathered, num_samples = statistics
            gathered.add([drive(walk, draws(stream, num_samples=num_samples))], len(x))
            return []
        record = record_of(self.objective, walk, stream)
        return [self.objective(record, beta) for beta in betas]

"""A model of which only some levels know the example: the others get what was drawn for another one."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import Tensor
from torch.distributions import Distribution

from lucid.models import LatentModel, Record, Walk
from lucid.models.condition import told

__all__ = ["Isolated"]


class Isolated(LatentModel):
    """Drives `model` with the values of all but the live levels taken from the next example of the batch.

    What the decoder still finds out about an example, the live levels told it. An intervention on the walk, so that any
    objective and any measurement works on it.

    Args:
        model: The model whose weights these are.
        live: The levels that keep their own values.
        order: The levels in the order in which a walk over data decides them.
    """

    def __init__(self, model: LatentModel, live: Collection[int], order: Sequence[int]) -> None:
        super().__init__()
        self.model = model
        self.live = frozenset(live)
        self.order = order
        self.depth = model.depth
        self.likelihood = model.likelihood
        self.protocol = model.protocol
        self.figures = {}
        self.condition = model.condition

    def walk(
        self,
        x: Tensor | None = None,
        *,
        num_examples: int = 1,
        check: bool = True,
        condition: Tensor | None = None,
    ) -> Walk:
        """The walk of the model, given data with foreign values for all but the live levels."""
        walk = self.model.walk(x, num_examples=num_examples, check=check, **told(condition))
        return walk if x is None else self._foreign(walk)

    def _foreign(self, walk: Walk) -> Walk:
        met: Distribution | Record = next(walk)
        for level in self.order:
            z = yield met
            met = walk.send(z if level in self.live else z.roll(1, 0))
        yield met

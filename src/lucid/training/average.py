"""An exponential moving average of the weights.

Polyak, Juditsky: Acceleration of Stochastic Approximation by Averaging, 1992, https://doi.org/10.1137/0330046.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["WeightAverage"]


class WeightAverage:
    r"""The average :math:`\bar w \leftarrow \bar w + (1 - d_t)(w - \bar w)` of a model's parameters.

    :math:`d_t = \min(d, (1 + t)/(10 + t))` after t updates, so that the beginning is forgotten in a short run too.
    Buffers, such as the statistics of batch normalisation, are those of the model.

    Args:
        model: Whose weights are averaged.
        decay: d, such as 0.999.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        self._weights = [parameter.detach() for parameter in model.parameters() if parameter.requires_grad]
        self._averages = [weight.clone() for weight in self._weights]
        self._decay = decay

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Take the present weights in.

        Args:
            updates: t, the updates before this one.
        """
        decay = min(self._decay, (1 + updates) / (10 + updates))
        torch._foreach_lerp_(self._averages, self._weights, 1 - decay)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]

    def state(self) -> dict[str, Tensor]:
        """The averages, by the name of the parameter."""
        return dict(zip(self._names, self._averages, strict=True))

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state()`."""
        for name, average in self.state().items():
            average.copy_(state[name])

    @contextmanager
    def in_place(self) -> Generator[None]:
        """The model holds the averages; afterwards, its weights again, bit for bit."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for weight, average in zip(self._weights, self._averages, strict=True):
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)

"""The common ground of our distributions: one example a row, drawn from an explicit stream of random numbers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, constraints
from torch.types import _size  # pyright: ignore[reportPrivateUsage]

from lucid.distributions.streams import Rows, Stream

__all__ = ["Drawn"]


class Drawn(Distribution):
    """A distribution that draws from an explicit generator: dimension 0 is the batch, all the others are one event.

    A subclass states `log_prob`, in nats per example, and `_sample`.

    Args:
        like: A tensor (N, ...) whose shape, type and device the draws have; its values are not read.

    Shape:
        `log_prob` of a value (S, N, ...), with any leading dimensions S, is (S, N).
    """

    arg_constraints = {}  # noqa: RUF012  as torch declares it  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    _no_rsample = "is discrete"  # why there is no rsample, where there is none

    def __init__(self, like: Tensor) -> None:
        super().__init__(like.shape[:1], like.shape[1:], validate_args=False)
        self._like = like

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.real, len(self.event_shape))

    @abstractmethod
    def _sample(self, shape: Size, generator: Stream) -> Tensor:
        """Values of the given full shape, differentiable where the distribution has `has_rsample`."""

    def sample(self, sample_shape: _size = (), *, generator: Stream = None) -> Tensor:
        with torch.no_grad():
            return self._sample(self._extended_shape(Size(sample_shape)), generator)

    def rsample(self, sample_shape: _size = (), *, generator: Stream = None) -> Tensor:
        if not self.has_rsample:
            raise NotImplementedError(
                f"{type(self).__name__} {self._no_rsample}: draw from it with sample, not rsample"
            )
        return self._sample(self._extended_shape(Size(sample_shape)), generator)

    def noise(self, shape: Size, generator: Stream) -> Tensor:
        """Standard normal numbers on the device and in the type of the parameters."""
        return self._numbers(torch.randn, shape, generator)

    def uniform(self, shape: Size, generator: Stream) -> Tensor:
        """Uniform numbers in [0, 1) on the device and in the type of the parameters."""
        return self._numbers(torch.rand, shape, generator)

    def _numbers(self, made_by: Callable[..., Tensor], shape: Size, generator: Stream) -> Tensor:
        like = self._like
        if not isinstance(generator, Rows):
            return made_by(shape, generator=generator, dtype=like.dtype, device=like.device)
        lead = len(shape) - len(self.event_shape) - 1  # dimensions of independent draws, before that of the batch
        whole = (*shape[:lead], generator.draws, generator.whole, *shape[lead + 1 :])
        numbers = made_by(whole, generator=generator.generator, dtype=like.dtype, device=like.device)
        return numbers.narrow(lead + 1, generator.first, shape[lead] // generator.draws).flatten(lead, lead + 1)

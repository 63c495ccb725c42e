"""The common ground of our distributions: independent features, summed per example, drawn with a generator."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, constraints
from torch.types import _size  # pyright: ignore[reportPrivateUsage]

from lucid.distributions.streams import Rows, Stream

__all__ = ["Factorised", "at_least_float32", "draw", "sum_event", "tempered"]


def at_least_float32(x: Tensor) -> Tensor:
    """`x` itself in float32 or float64, a float32 copy of half-precision numbers: densities need the digits."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def sum_event(x: Tensor, event_dims: int) -> Tensor:
    """The sum of `x` over its last `event_dims` dimensions."""
    return x.flatten(-event_dims).sum(-1) if event_dims else x


class Factorised(Distribution):
    """A distribution whose features are independent: dimension 0 is the batch, all the others are one event.

    `log_prob` is in nats per example: summed over the features. A subclass states `_log_prob` per feature and
    `_sample`.

    Shape:
        Parameters (N, ...); `log_prob` of a value (S, N, ...), with any leading dimensions S, is (S, N).
    """

    arg_constraints = {}  # noqa: RUF012  as torch declares it  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]

    def __init__(self, parameter: Tensor) -> None:
        super().__init__(parameter.shape[:1], parameter.shape[1:], validate_args=False)
        self._like = parameter

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.real, len(self.event_shape))

    @abstractmethod
    def _log_prob(self, value: Tensor) -> Tensor:
        """Log-density or log-mass of each feature, in nats, in the shape of `value`."""

    @abstractmethod
    def _sample(self, shape: Size, generator: Stream) -> Tensor:
        """Values of the given full shape, differentiable where the distribution has `has_rsample`."""

    def log_prob(self, value: Tensor) -> Tensor:
        return sum_event(self._log_prob(value), len(self.event_shape))

    def sample(self, sample_shape: _size = (), *, generator: Stream = None) -> Tensor:
        with torch.no_grad():
            return self._sample(self._extended_shape(Size(sample_shape)), generator)

    def rsample(self, sample_shape: _size = (), *, generator: Stream = None) -> Tensor:
        if not self.has_rsample:
            raise NotImplementedError(f"{type(self).__name__} is discrete: draw from it with sample, not rsample")
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
        rows, whole = shape[lead], (*shape[:lead], generator.whole, *shape[lead + 1 :])
        numbers = made_by(whole, generator=generator.generator, dtype=like.dtype, device=like.device)
        return numbers.narrow(lead, generator.first, rows)


def tempered(distribution: Distribution, temperature: float) -> Distribution:
    """`distribution` with its scale multiplied by `temperature`: below 1 it is cooler, at 0 it is its mean.

    Raises:
        ValueError: If the temperature is negative, not finite, or the distribution has no scale to multiply.
    """
    if not 0.0 <= temperature < float("inf"):
        raise ValueError(f"temperature must be finite and not negative; received {temperature}")
    if temperature == 1.0:
        return distribution
    cooled = getattr(distribution, "tempered", None)
    if cooled is None:
        raise ValueError(
            f"{type(distribution).__name__} has no scale to multiply by temperature {temperature:g}; sample it at "
            "temperature 1, or give it a method tempered(temperature)"
        )
    return cooled(temperature)


def draw(
    distribution: Distribution,
    sample_shape: Size | tuple[int, ...] = (),
    *,
    generator: Stream = None,
) -> Tensor:
    """A value of any PyTorch distribution, reparameterised where it can be, from an explicit generator.

    Foreign distributions (zuko's flows, Pyro's) know only PyTorch's global stream: for those it is seeded from
    `generator` inside a fork and put back, so the outcome depends on `generator` alone.

    Args:
        distribution: What to draw from.
        sample_shape: Leading dimensions of independent draws.
        generator: The stream of random numbers; None means PyTorch's global one.
    """
    if isinstance(distribution, Factorised):
        method = distribution.rsample if distribution.has_rsample else distribution.sample
        return method(sample_shape, generator=generator)
    shape = Size(sample_shape)
    foreign = distribution.rsample if distribution.has_rsample else distribution.sample
    if generator is None:
        return foreign(shape)
    first = 0
    if isinstance(generator, Rows):
        generator, first = generator.generator, generator.first
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device)) + first
    devices = [generator.device] if generator.device.type != "cpu" else []
    with torch.random.fork_rng(devices=devices):
        # Not torch.manual_seed: it would reseed every device, and only the forked ones are put back.
        torch.default_generator.manual_seed(seed)
        if devices:
            with torch.cuda.device(generator.device):
                torch.cuda.manual_seed(seed)
        return foreign(shape)

"""Distributions with independent features, summed per example; and drawing from any distribution."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Size, Tensor
from torch.distributions import Distribution

from lucid.distributions.drawn import Drawn
from lucid.distributions.streams import Rows, Stream

__all__ = ["Factorised", "at_least_float32", "draw", "sum_event", "tempered"]


def at_least_float32(x: Tensor) -> Tensor:
    """`x` itself in float32 or float64, a float32 copy of half-precision numbers: densities need the digits."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def sum_event(x: Tensor, event_dims: int) -> Tensor:
    """The sum of `x` over its last `event_dims` dimensions."""
    return x.flatten(-event_dims).sum(-1) if event_dims else x


class Factorised(Drawn):
    """A distribution whose features are independent: dimension 0 is the batch, all the others are one event.

    `log_prob` is in nats per example: summed over the features. A subclass states `_log_prob` per feature and
    `_sample`.

    Shape:
        Parameters (N, ...); `log_prob` of a value (S, N, ...), with any leading dimensions S, is (S, N).
    """

    @abstractmethod
    def _log_prob(self, value: Tensor) -> Tensor:
        """Log-density or log-mass of each feature, in nats, in the shape of `value`."""

    def log_prob(self, value: Tensor) -> Tensor:
        return sum_event(self._log_prob(value), len(self.event_shape))


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
    if isinstance(distribution, Drawn):
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

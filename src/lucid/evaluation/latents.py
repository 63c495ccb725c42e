"""What the posteriors say: which latent units carry information about x, and how many nats each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from lucid.distributions import kl_per_feature
from lucid.evaluation.moments import Moments
from lucid.models import Latent, LatentModel, Record, draws, drive, evaluating
from lucid.models.condition import told

__all__ = ["ACTIVE_THRESHOLD", "LatentStatistics", "UnitStatistics", "unit_statistics"]

ACTIVE_THRESHOLD = 0.01
"""A unit is active if the variance over x of its posterior mean is above this (Burda et al. 2015)."""


@dataclass(frozen=True)
class UnitStatistics:
    """The units of one level, flattened: (U,) tensors in float64.

    Attributes:
        variance: Var_x(E_q[z]), the variance over examples of the posterior mean.
        kl: Nats each unit contributes to the level's KL, averaged over examples; they sum to it. None where the level's
            densities do not split into units, as with a flow.
        num_examples: Examples they were measured on.
    """

    variance: Tensor
    kl: Tensor | None
    num_examples: int

    @property
    def active(self) -> Tensor:
        """Whether each unit is active, (U,) bool."""
        return self.variance > ACTIVE_THRESHOLD

    @property
    def num_active(self) -> int:
        """How many units are active."""
        return int(self.active.sum())


class LatentStatistics:
    r"""Gathers `UnitStatistics` of every level, batch by batch, without keeping the latents.

    A unit's posterior mean :math:`E_q[z]` is exact where the posterior depends on x alone. A posterior that was reached
    through another, drawn latent has one mean per draw; their average :math:`\bar m` is still noisy, and its variance
    over x too large by the noise, which is measured and subtracted:

    .. math:: \operatorname{Var}_x(E_q[z]) = \operatorname{Var}_x(\bar m) - E_x\!\left[ s^2_m / K \right]

    with :math:`s^2_m` the variance of the K means of one example. Without this, many units that know nothing of x
    would be counted as active.

    Burda, Grosse, Salakhutdinov: Importance Weighted Autoencoders, 2015, https://arxiv.org/abs/1509.00519.

    Args:
        depth: Number of levels.
    """

    def __init__(self, depth: int) -> None:
        self._between = [Moments() for _ in range(depth)]
        self._noise = [Moments() for _ in range(depth)]
        self._kl = [Moments() for _ in range(depth)]  # stays empty where a level's densities do not split into units

    def add(self, records: Iterable[Record], num_examples: int) -> None:
        """Add a batch of examples.

        Args:
            records: Walks over the batch; together they hold the draws of each example.
            num_examples: Examples in the batch.
        """
        means = [Moments() for _ in self._between]
        kls: list[Moments | None] = [Moments() for _ in self._between]
        for record in records:
            for level, latent in enumerate(record.latents):
                means[level].add(_posterior_mean(latent).unflatten(0, (-1, num_examples)))
                kl, moments = kl_of_units(latent), kls[level]
                if kl is None or moments is None:
                    kls[level] = None
                else:
                    moments.add(kl.unflatten(0, (-1, num_examples)))
        for level, (of_draws, kl_moments) in enumerate(zip(means, kls, strict=True)):
            self._between[level].add(of_draws.mean)
            one_mean = of_draws.count == 1
            noise = torch.zeros_like(of_draws.mean) if one_mean else of_draws.variance / of_draws.count
            self._noise[level].add(noise)
            if kl_moments is not None:
                self._kl[level].add(kl_moments.mean)

    def moments(self) -> list[Moments]:
        """What was gathered, in one fixed order: from these alone the statistics follow."""
        return [*self._between, *self._noise, *self._kl]

    def result(self) -> tuple[UnitStatistics, ...]:
        """The statistics of each level."""
        return tuple(
            UnitStatistics(
                variance=(between.variance - noise.mean).clamp(min=0),
                kl=kl.mean if kl.count == between.count else None,
                num_examples=between.count,
            )
            for between, noise, kl in zip(self._between, self._noise, self._kl, strict=True)
        )


def unit_statistics(
    model: LatentModel,
    batches: Iterable[Tensor | tuple[Tensor, Tensor | None]],
    *,
    num_samples: int = 10,
    seed: int = 0,
) -> tuple[UnitStatistics, ...]:
    """Which units of each level are active, and what each costs in nats.

    Args:
        model: Any latent-variable model.
        batches: Model-space data on the model's device, (B, ...) each; for a conditional model pairs with what it is
            told of each example, as `examples_of` gives them.
        num_samples: Posterior draws per example; those of one batch are evaluated together.
        seed: Of the draws.

    Returns:
        One `UnitStatistics` a level.

    Example:
        >>> import lucid.nn as nn, torch
        >>> from lucid.models import VAE, VAEConfig
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)]))
        >>> units = unit_statistics(model, [torch.randn(8, 6), torch.randn(8, 6)])
        >>> len(units), units[0].num_examples, units[0].kl.shape
        (1, 16, torch.Size([2]))
    """
    statistics = LatentStatistics(model.depth)
    generator: torch.Generator | None = None
    with evaluating(model):
        for batch in batches:
            x, condition = (batch, None) if isinstance(batch, Tensor) else batch
            generator = generator or torch.Generator(x.device).manual_seed(seed)
            record = drive(model.walk(x, **told(condition)), draws(generator, num_samples=num_samples))
            statistics.add([record], x.shape[0])
    return statistics.result()


def _posterior_mean(latent: Latent) -> Tensor:
    """Means of the units, (rows, U); one row an example where the posterior depends on x alone."""
    assert latent.posterior is not None, "a walk over data has posteriors"
    return latent.posterior.mean.flatten(1)


def kl_of_units(latent: Latent) -> Tensor | None:
    """What each unit adds to the level's KL, (rows, U) nats, as `Latent.kl` has it; None where they do not split."""
    assert latent.posterior is not None, "a walk over data has posteriors"
    kl = kl_per_feature(latent.posterior, latent.prior, None if latent.prior_known_first else latent.value)
    return None if kl is None else kl.flatten(1)

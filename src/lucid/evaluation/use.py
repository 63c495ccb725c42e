"""What each latent level costs and what it is good for, found by taking it away."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from lucid.distributions import draw
from lucid.evaluation.latents import LatentStatistics
from lucid.evaluation.moments import Moments
from lucid.evaluation.streams import stream_of
from lucid.models import LatentModel, Record, draws, drive, evaluating
from lucid.models.condition import told

__all__ = ["COLLAPSED_BELOW", "Carried", "LevelUse", "Use", "measure_carried", "measure_use"]

COLLAPSED_BELOW = 0.1
"""Nats per example below which a level tells the decoder next to nothing: a seventh of a bit."""


@dataclass(frozen=True)
class LevelUse:
    r"""One latent level, in nats per example.

    What a level saves is measured by an intervention: the walk is repeated with a value of this latent that knows
    nothing of the example, and everything decided after it is decided anew,

    .. math:: E\bigl[-\log p(x|z) + \sum_{later} KL\bigr]_{\text{foreign } z_l}
              - E\bigl[-\log p(x|z) + \sum_{later} KL\bigr]_{z_l \sim q}

    The foreign value is that of another example; but where the level's prior is known and depends on what was decided
    before it, a draw from that prior. The random numbers are the same in both walks.

    Attributes:
        kl: What the level costs: its term of the bound.
        saved: What it saves.
        saved_error: Standard error of that, over the examples.
        active_units: Units whose posterior mean moves with x (Burda et al. 2015, https://arxiv.org/abs/1509.00519).
        latent_units: Units there are.
        is_divergence: Whether `kl` is one, which is 0 only for a posterior that equals its prior; else the prior
            depends on what is decided later, and the term may be small or negative for a level in use.
    """

    kl: float
    saved: float
    saved_error: float
    active_units: int
    latent_units: int
    is_divergence: bool

    @property
    def idle(self) -> bool:
        """Whether nothing would be lost without it: it surely saves less than `COLLAPSED_BELOW` nats."""
        return self.saved + 2 * self.saved_error < COLLAPSED_BELOW

    @property
    def collapsed(self) -> bool:
        """Whether it tells next to nothing of x, by its KL, by its units, or since the decoder would not miss it."""
        silent = self.kl < COLLAPSED_BELOW if self.is_divergence else self.active_units == 0
        return silent or self.idle


@dataclass(frozen=True)
class Use:
    """A model's levels and its bound, in nats per example.

    Attributes:
        elbo: The evidence lower bound at β = 1.
        elbo_error: Standard error, over the examples.
        reconstruction: −log p(x|z).
        levels: Indexed by level.
        order: The levels in the order in which inference decides them.
        num_examples: Examples they were measured on.
        num_features: Numbers in one example.
        per_example: The bound of each example, (N,), in the order of the data.
    """

    elbo: float
    elbo_error: float
    reconstruction: float
    levels: tuple[LevelUse, ...]
    order: tuple[int, ...]
    num_examples: int
    num_features: int
    per_example: Tensor

    @property
    def collapsed(self) -> tuple[int, ...]:
        """The levels that have collapsed."""
        return tuple(level for level, use in enumerate(self.levels) if use.collapsed)

    def gain_over(self, other: Use) -> tuple[float, float]:
        """How much better this bound is than another's on the same examples, with its standard error, in nats."""
        gain = self.per_example - other.per_example
        return float(gain.mean()), float(gain.std() / math.sqrt(len(gain)))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; without the bound of each example."""
        said = {
            "elbo": self.elbo,
            "elbo_error": self.elbo_error,
            "reconstruction": self.reconstruction,
            "num_examples": self.num_examples,
        }
        return {**said, "levels": [{**asdict(use), "collapsed": use.collapsed} for use in self.levels]}


def measure_use(
    model: LatentModel, batches: Iterable[tuple[Tensor, Tensor | None]], *, num_samples: int = 2, seed: int = 0
) -> Use:
    """Measure what each level costs and saves.

    Args:
        model: Any latent-variable model; it is left as it was.
        batches: x (B, ...) in model space, with what a conditional model is told of each example, or None; at least
            two examples a batch.
        num_samples: Posterior draws per example, at least 2; each level is taken away once for each.
        seed: Of the draws.

    Raises:
        ValueError: If `num_samples` is less than 2, or there is no batch.

    Example:
        >>> import lucid.nn as nn, torch
        >>> from lucid.models import VAE, VAEConfig
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)]))
        >>> use = measure_use(model, [(torch.randn(50, 6), None)])
        >>> len(use.levels), use.num_examples
        (1, 50)
    """
    if num_samples < 2:
        raise ValueError(f"num_samples must be at least 2; received {num_samples}")
    totals = _Totals(model, num_samples, seed)
    with evaluating(model):
        for x, condition in batches:
            totals.add(x, condition)
    return totals.result()


class _Totals:
    """The measurement over batches."""

    def __init__(self, model: LatentModel, num_samples: int, seed: int) -> None:
        self.model, self.num_samples, self.seed = model, num_samples, seed
        self.units = LatentStatistics(model.depth)
        self.reconstruction = Moments()
        self.kl = [Moments() for _ in range(model.depth)]
        self.saved = [Moments() for _ in range(model.depth)]
        self.is_divergence = [True] * model.depth
        self.elbo: list[Tensor] = []
        self.order: tuple[int, ...] = ()
        self.num_features = 0
        self._batches = 0

    def add(self, x: Tensor, condition: Tensor | None) -> None:
        """Add a batch, with streams of random numbers of its own."""
        walks = [
            _Walks(self.model, x, condition, (self.seed + self._batches) * self.num_samples + sample)
            for sample in range(self.num_samples)
        ]
        self._batches += 1
        self.order, self.num_features = tuple(walks[0].order), x[0].numel()
        records = [walk.record for walk in walks]
        self.units.add(records, len(x))
        kls = torch.stack([torch.stack(record.kl()) for record in records]).mean(0)
        reconstruction = torch.stack([record.reconstruction() for record in records]).mean(0)
        self.reconstruction.add(reconstruction)
        self.elbo.append((-reconstruction - kls.sum(0)).double().cpu())
        for level, kl in enumerate(kls):
            self.kl[level].add(kl)
            self.saved[level].add(torch.stack([walk.saved(level) for walk in walks]).mean(0))
            self.is_divergence[level] = records[0].latents[level].prior_known_first

    def result(self) -> Use:
        if not self.elbo:
            raise ValueError("there is no example to measure the levels on")
        elbo = torch.cat(self.elbo)
        levels = [
            LevelUse(
                kl=float(kl.mean),
                saved=float(saved.mean),
                saved_error=float(saved.standard_error),
                active_units=units.num_active,
                latent_units=units.variance.numel(),
                is_divergence=is_divergence,
            )
            for kl, saved, units, is_divergence in zip(
                self.kl, self.saved, self.units.result(), self.is_divergence, strict=True
            )
        ]
        return Use(
            elbo=float(elbo.mean()),
            elbo_error=float(elbo.std() / math.sqrt(len(elbo))),
            reconstruction=float(self.reconstruction.mean),
            levels=tuple(levels),
            order=self.order,
            num_examples=len(elbo),
            num_features=self.num_features,
            per_example=elbo,
        )


class _Walks:
    """One walk over a batch, and the same again with a level taken away; each begins with the same random numbers."""

    def __init__(self, model: LatentModel, x: Tensor, condition: Tensor | None, seed: int) -> None:
        self.model, self.x, self.condition, self.seed = model, x, condition, seed
        self.sent: list[Tensor] = []
        self.others: list[Tensor] = []
        met: list[Distribution] = []
        self.record = self._walk([], met, self.sent)
        self.order = _order_of(self.record, met)

    def saved(self, level: int) -> Tensor:
        """What is lost by a foreign value of this level, (B,) nats."""
        place = self.order.index(level)
        latent = self.record.latents[level]
        generator = stream_of(self.x.device, self.seed, "foreign", level)
        if place == 0 or not latent.prior_known_first:
            foreign = self._others()[place]
        else:
            foreign = draw(latent.prior, generator=generator)
        without = self._walk([*self.sent[:place], foreign])
        return self._rest(without, place) - self._rest(self.record, place)

    def _others(self) -> list[Tensor]:
        """The values that a walk over the next examples is sent, with the same noise in every row."""
        if not self.others:
            self._walk([], sent=self.others, x=self.x.roll(1, 0))
        return self.others

    def _walk(
        self,
        decided: list[Tensor],
        met: list[Distribution] | None = None,
        sent: list[Tensor] | None = None,
        x: Tensor | None = None,
    ) -> Record:
        """A walk whose first values are decided; what it meets and is sent is noted."""
        generator = torch.Generator(self.x.device).manual_seed(self.seed)
        met, sent = [] if met is None else met, [] if sent is None else sent

        def choose(distribution: Distribution) -> Tensor:
            met.append(distribution)
            z = draw(distribution, generator=generator)  # drawn even where decided: later draws stay the same
            sent.append(decided[len(sent)] if len(sent) < len(decided) else z)
            return sent[-1]

        walk = self.model.walk(self.x if x is None else x, check=False, **told(self.condition))
        return drive(walk, choose)

    def _rest(self, record: Record, place: int) -> Tensor:
        """−log p(x|z) and the KL of all that was decided after a place, (B,) nats."""
        later = [record.latents[level].kl() for level in self.order[place + 1 :]]
        return record.reconstruction() + sum(later, torch.zeros_like(record.reconstruction()))


def _order_of(record: Record, met: list[Distribution]) -> list[int]:
    """The levels in the order in which a walk over data decided them.

    Args:
        record: Of the walk.
        met: The very distributions it yielded, in order.
    """
    places = {id(distribution): place for place, distribution in enumerate(met)}
    return sorted(range(len(record.latents)), key=lambda level: places[id(record.latents[level].posterior)])


@dataclass(frozen=True)
class Carried:
    """What all latents together tell the decoder about an example, in nats per example.

    Attributes:
        reconstruction: −log p(x|z) at the latents of the example itself.
        foreign: −log p(x|z) at the latents of another example of the batch.
        error: Standard error of their difference, over the examples.
    """

    reconstruction: float
    foreign: float
    error: float

    @property
    def nats(self) -> float:
        """What knowing the right latents is worth."""
        return self.foreign - self.reconstruction

    @property
    def anything(self) -> bool:
        """Whether it surely is more than `COLLAPSED_BELOW`."""
        return self.nats - 2 * self.error > COLLAPSED_BELOW

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "nats": self.nats}


def measure_carried(model: LatentModel, batches: Iterable[tuple[Tensor, Tensor | None]], *, seed: int = 0) -> Carried:
    """Measure whether anything about x gets through the latents at all, whatever it costs.

    Args:
        model: Any latent-variable model; it is left as it was.
        batches: As for `measure_use`.
        seed: Of the draws.

    Raises:
        ValueError: If there is no batch.

    Example:
        >>> import lucid.nn as nn, torch
        >>> from lucid.models import VAE, VAEConfig
        >>> deaf = nn.Sequential(nn.Linear(2, 1), nn.LayerNorm(1), nn.Linear(1, 6))
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[deaf]))
        >>> carried = measure_carried(model, [(torch.randn(50, 6), None)])
        >>> carried.nats, carried.anything
        (0.0, False)
    """
    own, difference = Moments(), Moments()
    with evaluating(model):
        for number, (x, condition) in enumerate(batches):
            likelihoods = [
                drive(
                    model.walk(encoded, check=False, **told(condition)),
                    draws(torch.Generator(x.device).manual_seed(seed + number)),
                ).likelihood
                for encoded in (x, x.roll(1, 0))
            ]
            reconstruction, foreign = (-likelihood.log_prob(x) for likelihood in likelihoods)
            own.add(reconstruction)
            difference.add(foreign - reconstruction)
    if own.count == 0:
        raise ValueError("there is no example to measure the latents on")
    found = float(own.mean)
    return Carried(found, found + float(difference.mean), float(difference.standard_error))

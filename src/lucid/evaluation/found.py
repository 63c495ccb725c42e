"""What some examples add to the figures of an evaluation: running moments of each quantity, measured and merged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lucid.evaluation.latents import LatentStatistics
from lucid.evaluation.moments import Moments
from lucid.models import LatentModel, Record, draws, drive, importance_weighted
from lucid.models.condition import told

__all__ = ["Found", "Packed"]


class Packed(NamedTuple):
    """A `Found` as plain numbers, to be sent to another process.

    Attributes:
        sizes: Of each of its moments, how many numbers a value has; 0 for a single one without a dimension.
        numbers: Count, mean and squared deviations of each, one after the other, float64.
    """

    sizes: list[int]
    numbers: Tensor


class Found:
    r"""Moments over examples of everything that the bounds are made of; those of several chunks merge into one.

    Attributes:
        counts: The numbers of draws k that the importance-weighted bounds are at.
        elbo: The ELBO.
        reconstruction: −log p(x|z).
        rate: The KL of all levels together.
        kl: The KL of each level.
        latents: Of the units.
        importance: The importance-weighted bound at each k.
        effective: Its effective sample size.
        gains: What the bound at each k but the first gains on the one before, example by example.
        lean: :math:`\frac12(1/\mathrm{ESS} - 1/k)`, about how far the bound at each k is below log p(x).
        off_grid: Whether an example holds values that its declared levels do not.
    """

    def __init__(self, depth: int, counts: Sequence[int]) -> None:
        self.counts = list(counts)
        self.elbo = Moments()
        self.reconstruction = Moments()
        self.rate = Moments()
        self.kl = [Moments() for _ in range(depth)]
        self.latents = LatentStatistics(depth)
        self.importance = [Moments() for _ in counts]
        self.effective = [Moments() for _ in counts]
        self.gains = [Moments() for _ in self.counts[1:]]
        self.lean = [Moments() for _ in counts]
        self.off_grid = Moments()

    @property
    def num_examples(self) -> int:
        """Examples these are of."""
        return self.elbo.count

    def add_elbo(
        self,
        model: LatentModel,
        x: Tensor,
        condition: Tensor | None,
        num_samples: int,
        generator: torch.Generator,
        max_rows: int,
        first: int,
    ) -> None:
        """Draw, and add the ELBO of some examples, its parts and the units.

        Args:
            model: The model.
            x: The examples, (B, ...).
            condition: What a conditional model is told of them.
            num_samples: Draws per example, exactly.
            generator: Of the draws.
            max_rows: Rows (draws × examples) at once.
            first: Number of the first example, for a message.
        """
        records = _records(model, x, condition, num_samples, generator, max_rows)
        over = _OverDraws(model.depth)
        self.latents.add(over.watch(records, x.shape[0]), x.shape[0])
        reconstruction, kls = over.reconstruction.mean, [kl.mean for kl in over.kl]
        rate = torch.stack(kls).sum(0)
        _add(self.reconstruction, reconstruction, "−log p(x|z)", first)
        for level, kl in enumerate(kls):
            _add(self.kl[level], kl, f"the KL of level {level}", first)
        _add(self.rate, rate, "the KL", first)
        _add(self.elbo, -reconstruction - rate, "the ELBO", first)

    def add_importance(
        self,
        model: LatentModel,
        x: Tensor,
        condition: Tensor | None,
        generator: torch.Generator,
        max_rows: int,
        first: int,
    ) -> None:
        """Draw, and add the importance-weighted bounds of some examples; arguments as of `add_elbo`."""
        before: Tensor | None = None
        for i, at_k in enumerate(importance_weighted(model, x, self.counts, generator, max_rows, condition)):
            _add(self.importance[i], at_k.per_example, f"the {at_k.estimator} log-likelihood", first)
            _add(self.effective[i], at_k.effective_sample_size, "the effective sample size", first)
            self.lean[i].add((1 / at_k.effective_sample_size - 1 / at_k.num_samples) / 2)
            if before is not None:
                self.gains[i - 1].add(at_k.per_example - before)
            before = at_k.per_example

    def merge(self, others: Found) -> None:
        """Add what was found of other examples."""
        for mine, theirs in zip(self.moments(), others.moments(), strict=True):
            mine.merge(theirs)

    def packed(self) -> Packed:
        """All that was found, as plain numbers."""
        sizes: list[int] = []
        parts: list[Tensor] = []
        for moments in self.moments():
            count, mean, squares = moments.packed()
            sizes.append(mean.numel() if mean.dim() else 0)
            parts += [torch.tensor([count], dtype=torch.float64), mean.flatten(), squares.flatten()]
        return Packed(sizes, torch.cat(parts))

    def merge_packed(self, packed: Packed) -> None:
        """Add what another process found, as `packed` wrote it down."""
        at = 0
        for moments, size in zip(self.moments(), packed.sizes, strict=True):
            width, shape = max(1, size), (size,) if size else ()
            count, mean, squares = packed.numbers[at : at + 1 + 2 * width].split([1, width, width])
            moments.merge(Moments.unpacked(int(count), mean.view(shape), squares.view(shape)))
            at += 1 + 2 * width

    def moments(self) -> list[Moments]:
        """Everything, in one fixed order."""
        return [
            self.elbo,
            self.reconstruction,
            self.rate,
            *self.kl,
            *self.latents.moments(),
            *self.importance,
            *self.effective,
            *self.gains,
            *self.lean,
            self.off_grid,
        ]


class _OverDraws:
    """−log p(x|z) and the KL of each level, averaged over the draws of each example of one batch."""

    def __init__(self, depth: int) -> None:
        self.reconstruction = Moments()
        self.kl = [Moments() for _ in range(depth)]

    def watch(self, records: Iterator[Record], num_examples: int) -> Iterator[Record]:
        """Pass the records on, one at a time, so that no two of them need to be kept."""
        for record in records:
            self.reconstruction.add(record.reconstruction().view(-1, num_examples))
            for moments, kl in zip(self.kl, record.kl(), strict=True):
                moments.add(kl.view(-1, num_examples))
            yield record


def _records(
    model: LatentModel,
    x: Tensor,
    condition: Tensor | None,
    num_samples: int,
    generator: torch.Generator,
    max_rows: int,
) -> Iterator[Record]:
    """Walks over x that hold exactly `num_samples` draws together, at most `max_rows` rows each."""
    at_once = max(1, max_rows // x.shape[0])
    for start in range(0, num_samples, at_once):
        walk = model.walk(x, **told(condition))
        yield drive(walk, draws(generator, num_samples=min(at_once, num_samples - start)))


def _add(moments: Moments, per_example: Tensor, name: str, first: int) -> None:
    bad = ~per_example.isfinite()
    if bool(bad.any()):
        raise FloatingPointError(
            f"{name} is not finite for {int(bad.sum())} of the examples {first} … {first + len(bad) - 1}; the "
            f"first is example {first + int(bad.nonzero()[0])}. No example is left out of a figure: look at that "
            "example, and at the model's weights"
        )
    moments.add(per_example)

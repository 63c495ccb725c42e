"""Bounds on log p(x) from a walk: the ELBO, and the importance-weighted estimate in bounded memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from lucid.models.checks import check_batch
from lucid.models.condition import told
from lucid.models.walk import Walk, draws, drive

__all__ = ["ElboEstimate", "Estimate", "ImportanceEstimate", "estimate_elbo", "importance_weighted"]

MAX_ROWS = 8192
"""Rows (draws × examples) evaluated at once unless told otherwise: what keeps the memory of an estimate bounded."""


class _WalkingModel(Protocol):
    """What these estimators need of a model: that it can be walked."""

    def walk(self, x: Tensor | None = None, *, condition: Tensor | None = None) -> Walk: ...


@dataclass(frozen=True)
class Estimate:
    """An estimate with what is needed to trust it.

    Attributes:
        value: Mean over the examples, nats per example; `float(estimate)` is this number.
        standard_error: Of that mean, over the examples; NaN for a single one.
        num_samples: Draws per example.
        estimator: Its name.
        per_example: The estimate of each example, nats, (N,).
    """

    value: Tensor
    standard_error: Tensor
    num_samples: int
    estimator: str
    per_example: Tensor

    def __float__(self) -> float:
        return float(self.value.detach())


@dataclass(frozen=True)
class ElboEstimate(Estimate):
    """The evidence lower bound, never weighted; larger is better, and at most log p(x) in expectation.

    Attributes:
        reconstruction: −log p(x|z), mean over the examples, nats.
        kl: KL of each level, means over the examples, nats, indexed by level.
        kl_per_example: The same for each example, (N,) each.
    """

    reconstruction: Tensor
    kl: tuple[Tensor, ...]
    kl_per_example: tuple[Tensor, ...]


@dataclass(frozen=True)
class ImportanceEstimate(Estimate):
    """The importance-weighted estimate of log p(x), a lower bound in expectation that tightens with `num_samples`.

    Attributes:
        effective_sample_size: (Σw)²/Σw² of each example, (N,); near 1, one draw carries the estimate.
    """

    effective_sample_size: Tensor


def standard_error(per_example: Tensor) -> Tensor:
    """Standard error of the mean of (N,) numbers; NaN for N = 1."""
    n = per_example.shape[0]
    if n == 1:
        return per_example.new_tensor(math.nan)
    return per_example.std() / math.sqrt(n)


def check_num_samples(num_samples: int) -> int:
    """`num_samples` if it is a positive int; `TypeError` or `ValueError` otherwise."""
    if isinstance(num_samples, bool) or not isinstance(num_samples, int):
        raise TypeError(f"num_samples must be an int; received {num_samples!r}")
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1; received {num_samples}")
    return num_samples


def estimate_elbo(
    model: _WalkingModel,
    x: Tensor,
    num_samples: int,
    generator: torch.Generator | None,
    condition: Tensor | None = None,
) -> ElboEstimate:
    """The ELBO of each example, averaged over exactly `num_samples` draws; differentiable."""
    record = drive(model.walk(x, **told(condition)), draws(generator, num_samples=check_num_samples(num_samples)))
    shape = (num_samples, x.shape[0])
    reconstruction = record.reconstruction().view(shape).mean(0)
    kl = tuple(level.view(shape).mean(0) for level in record.kl())
    per_example = -reconstruction - torch.stack(kl).sum(0)
    return ElboEstimate(
        value=per_example.mean(),
        standard_error=standard_error(per_example.detach()),
        num_samples=num_samples,
        estimator="ELBO",
        per_example=per_example,
        reconstruction=reconstruction.mean(),
        kl=tuple(level.mean() for level in kl),
        kl_per_example=kl,
    )


class LogWeights:
    """Running log-sums of importance weights, in float64: the estimate after any number of draws, in the memory of one.

    Args:
        num_examples: Number of examples N.
        device: Where the sums live.
    """

    def __init__(self, num_examples: int, device: torch.device) -> None:
        empty = torch.full((num_examples,), -math.inf, dtype=torch.float64, device=device)
        self.count = 0
        self._log_sum = empty
        self._log_sum_squares = empty.clone()

    def add(self, log_weights: Tensor) -> None:
        """Add draws, (K, N) nats."""
        log_weights = log_weights.double()
        self._log_sum = torch.logaddexp(self._log_sum, log_weights.logsumexp(0))
        self._log_sum_squares = torch.logaddexp(self._log_sum_squares, (2 * log_weights).logsumexp(0))
        self.count += log_weights.shape[0]

    def estimate(self) -> ImportanceEstimate:
        """The estimate from all draws so far."""
        per_example = self._log_sum - math.log(self.count)
        return ImportanceEstimate(
            value=per_example.mean(),
            standard_error=standard_error(per_example),
            num_samples=self.count,
            estimator=f"IW-{self.count}",
            per_example=per_example,
            effective_sample_size=(2 * self._log_sum - self._log_sum_squares).exp(),
        )


@torch.no_grad()
def importance_weighted(
    model: _WalkingModel,
    x: Tensor,
    counts: list[int],
    generator: torch.Generator | None,
    max_rows: int = MAX_ROWS,
    condition: Tensor | None = None,
) -> list[ImportanceEstimate]:
    r"""log p(x) from importance-weighted draws, at several numbers of draws of one growing set.

    .. math:: \log \hat p_k(x) = \log \tfrac1k \sum_{i=1}^{k} p(x, z_i) / q(z_i|x)

    Burda, Grosse, Salakhutdinov: Importance Weighted Autoencoders, 2015, https://arxiv.org/abs/1509.00519.

    Args:
        model: Any model that can be walked.
        x: Data, (N, ...).
        counts: Numbers of draws k to report at, increasing; each estimate uses exactly the first k draws.
        generator: The stream of random numbers.
        max_rows: At most this many rows (draws × examples) are evaluated at once; at least one example is.
        condition: What the model is conditioned on, a row for each example; None for a model that takes none.

    Returns:
        One estimate for each of `counts`.
    """
    check_batch(x)
    for count in counts:
        check_num_samples(count)
    if any(later <= earlier for earlier, later in pairwise(counts)):
        raise ValueError(f"counts must increase, each estimate growing on the last; received {counts}")
    if max_rows < 1:
        raise ValueError(f"max_rows must be at least 1; received {max_rows}")
    parts: list[list[ImportanceEstimate]] = []
    for start, rows in zip(range(0, len(x), max_rows), x.split(max_rows), strict=True):
        rows_condition = None if condition is None else condition[start : start + max_rows]
        at_once = max(1, max_rows // len(rows))
        log_weights = LogWeights(len(rows), x.device)
        parts.append([])
        for count in counts:
            while log_weights.count < count:
                k = min(at_once, count - log_weights.count)
                record = drive(model.walk(rows, **told(rows_condition)), draws(generator, num_samples=k))
                log_weights.add(record.log_weight().view(k, len(rows)))
            parts[-1].append(log_weights.estimate())
    return [_joined(list(at_count)) for at_count in zip(*parts, strict=True)]


def _joined(parts: list[ImportanceEstimate]) -> ImportanceEstimate:
    """One estimate over all examples from those over some of them each."""
    per_example = torch.cat([part.per_example for part in parts])
    return ImportanceEstimate(
        value=per_example.mean(),
        standard_error=standard_error(per_example),
        num_samples=parts[0].num_samples,
        estimator=parts[0].estimator,
        per_example=per_example,
        effective_sample_size=torch.cat([part.effective_sample_size for part in parts]),
    )

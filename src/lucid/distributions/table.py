"""p(x|z) of a table's row: independent columns of several kinds, of which some values may be missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Size, Tensor
from torch.nn import functional as F

from lucid.distributions.bounds import bounded_loc, bounded_logvar
from lucid.distributions.discrete import BernoulliLogits
from lucid.distributions.factorised import Factorised
from lucid.distributions.streams import Stream

__all__ = ["CategoryNumbers", "Part", "TableColumns", "ordered_log_mass"]


def ordered_log_mass(thresholds: Tensor) -> Tensor:
    r"""Log-masses of categories in order, cut out of a logistic density by increasing thresholds.

    .. math:: P(x \le k) = \sigma(\theta_k), \quad \theta_0 = t_0, \quad \theta_k = \theta_{k-1} + \log(1 + e^{t_k})

    McCullagh: Regression Models for Ordinal Data, 1980, https://www.jstor.org/stable/2984952.

    Args:
        thresholds: t, (N, K − 1, ...), any finite numbers.

    Returns:
        (N, K, ...): whatever t is, finite and summing to one.
    """
    first, steps = bounded_loc(thresholds[:, :1]), F.softplus(bounded_logvar(thresholds[:, 1:]))
    edges = torch.cat([first, first + steps.cumsum(1)], dim=1)
    # log(σ(b) − σ(a)) = log σ(b) + log σ(−a) + log(1 − exp(a − b)), exact at any distance from 0.
    inside = F.logsigmoid(edges[:, 1:]) + F.logsigmoid(-edges[:, :-1]) + (-torch.expm1(-steps)).log()
    return torch.cat([F.logsigmoid(edges[:, :1]), inside, F.logsigmoid(-edges[:, -1:])], dim=1)


class CategoryNumbers(Factorised):
    """Categories known by their numbers 0 … K − 1, a free mass on each.

    Args:
        log_mass: (N, K, ...), normalised along dimension 1.
        logits: The same before it was normalised, for who normalises by other means; None where it never was.

    Example:
        >>> import torch
        >>> p = CategoryNumbers(torch.tensor([[0.2, 0.8]]).log().unsqueeze(-1))
        >>> p.log_prob(torch.tensor([[1.0]])).exp()
        tensor([0.8000])
    """

    def __init__(self, log_mass: Tensor, logits: Tensor | None = None) -> None:
        self.log_mass = log_mass
        self.logits = log_mass if logits is None else logits
        super().__init__(log_mass[:, 0])

    @property
    def mode(self) -> Tensor:
        return self.log_mass.argmax(dim=1).to(self.log_mass.dtype)

    @property
    def mean(self) -> Tensor:
        """Of the numbers, which means something for ordered categories only."""
        numbers = torch.arange(self.log_mass.shape[1], dtype=self.log_mass.dtype, device=self.log_mass.device)
        return (self.log_mass.exp().movedim(1, -1) * numbers).sum(-1)

    def _log_prob(self, value: Tensor) -> Tensor:
        index = value.round().long()
        lead = index.shape[: index.dim() - len(self.event_shape) - 1]
        index = index.expand(*lead, *self._extended_shape())
        log_mass = self.log_mass.movedim(1, -1).expand(*index.shape, -1)
        return log_mass.gather(-1, index.unsqueeze(-1)).squeeze(-1)

    def _sample(self, shape: Size, generator: Stream) -> Tensor:
        cumulative = self.log_mass.exp().movedim(1, -1).cumsum(-1)
        u = self.uniform(shape, generator).unsqueeze(-1) * cumulative[..., -1:]
        # As many as lie at or below u; the last edge lies above it but for rounding.
        return (cumulative[..., :-1] <= u).sum(-1).to(self.log_mass.dtype)


class Part(NamedTuple):
    """Columns of one kind.

    Attributes:
        columns: Their places in the table.
        distribution: Theirs, batch shape (N,), event shape (number of columns,).
    """

    columns: Sequence[int]
    distribution: Factorised


class TableColumns(Factorised):
    r"""Independent columns of several kinds; what is missing (NaN) is left out.

    .. math:: \log p(x_{\text{observed}}) = \sum_{i\,\text{observed}} \log p_i(x_i)

    Since the columns are independent given z, this is the exact marginal of what was observed: a bound made of it is a
    bound on the log-density of the observed values alone.

    Args:
        parts: The columns by kind; together each column of the table once.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = list(parts)
        order = [column for part in parts for column in part.columns]
        self._order = sorted(range(len(order)), key=order.__getitem__)
        like = self.parts[0].distribution
        super().__init__(torch.empty((*like.batch_shape, len(order)), dtype=like.mean.dtype, device=like.mean.device))

    @property
    def mean(self) -> Tensor:
        """The mean of numbers (in the space of the model), the most probable of categories."""
        return self._joined([_decided(part, _expected(part)) for part in self.parts])

    def mixture_mean(self, weights: Tensor) -> Tensor:
        """The mean of several draws' distributions, weighted, as `mean`: of categories the most probable of them all.

        Args:
            weights: (K, B), each example's summing to one over the K draws; this distribution has batch shape (K·B,),
                draw-major.

        Returns:
            (B, columns).
        """
        averaged: list[Tensor] = []
        for part in self.parts:
            expected = _expected(part).unflatten(0, weights.shape)
            each = weights.to(expected.dtype).reshape(*weights.shape, *([1] * (expected.dim() - 2)))
            averaged.append(_decided(part, (each * expected).sum(0)))
        return self._joined(averaged)

    def log_prob(self, value: Tensor) -> Tensor:
        return torch.cat(self._log_probs(value), dim=-1).sum(-1)

    def _log_prob(self, value: Tensor) -> Tensor:
        return self._joined(self._log_probs(value))

    def _log_probs(self, value: Tensor) -> list[Tensor]:
        missing = value.isnan()
        filled = torch.where(missing, 0.0, value)  # 0 lies in the support of every kind
        terms = [part.distribution._log_prob(filled[..., list(part.columns)]) for part in self.parts]
        # Chosen, not multiplied: what is left out must not reach a gradient, whatever it is.
        return [
            torch.where(missing[..., list(part.columns)], 0.0, term)
            for part, term in zip(self.parts, terms, strict=True)
        ]

    def _sample(self, shape: Size, generator: Stream) -> Tensor:
        return self._joined(
            [part.distribution._sample(Size((*shape[:-1], len(part.columns))), generator) for part in self.parts]
        )

    def _joined(self, parts: list[Tensor]) -> Tensor:
        """The columns of all parts, in the order of the table."""
        return torch.cat(parts, dim=-1)[..., self._order]


def _expected(part: Part) -> Tensor:
    """What is averaged over draws: means of numbers, masses of categories (K along dimension 1)."""
    distribution = part.distribution
    return distribution.log_mass.exp() if isinstance(distribution, CategoryNumbers) else distribution.mean


def _decided(part: Part, expected: Tensor) -> Tensor:
    """One value for each column, from what is expected."""
    if isinstance(part.distribution, CategoryNumbers):
        return expected.argmax(dim=1).to(expected.dtype)
    if isinstance(part.distribution, BernoulliLogits):
        return (expected > 0.5).to(expected.dtype)
    return expected

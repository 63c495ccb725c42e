"""The likelihood of a table: to each column its own kind, missing values left out of the bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lucid.distributions.bounds import bounded_loc, bounded_logvar
from lucid.distributions.column import Column
from lucid.distributions.counts import NegativeBinomialCounts
from lucid.distributions.discrete import BernoulliLogits
from lucid.distributions.factorised import Factorised, at_least_float32
from lucid.distributions.gaussian import DiagonalGaussian
from lucid.distributions.likelihood import Likelihood, require
from lucid.distributions.table import CategoryNumbers, Part, TableColumns, ordered_log_mass

__all__ = ["TableLikelihood"]


class _Group(NamedTuple):
    """Columns that are computed together.

    Attributes:
        kind: "number", "count", "binary", "categorical" or "ordinal".
        levels: Number of categories of the last two; 0 otherwise.
        columns: Their places in the table.
    """

    kind: str
    levels: int
    columns: tuple[int, ...]

    @property
    def outputs(self) -> int:
        """Decoder outputs for each column."""
        if self.kind == "categorical":
            return self.levels
        return {"number": 2, "count": 2, "binary": 1, "ordinal": self.levels - 1}[self.kind]


class TableLikelihood(Likelihood):
    r"""The columns of a table, each of its own kind, independent given z; missing values (NaN) are left out.

    The density of each kind, and what the decoder emits for it:

    - real: Gaussian; mean and log-variance
    - positive: log-normal, a Gaussian in the space of the model, where the logarithm is; mean and log-variance
    - count: negative binomial; logs of mean and concentration
    - binary: Bernoulli; a logit
    - categorical: free masses; K logits
    - ordinal: a logistic density, cut; K − 1 thresholds

    The density of a row is that of its observed values, :math:`\sum_{i\,\text{observed}} \log p_i(x_i|z)`: the ELBO is
    then a bound on the log-density of what was observed, and nothing is filled in to compute it. This is right where
    that a value is missing does not depend on the value itself (Nazábal et al.: Handling Incomplete Heterogeneous Data
    using VAEs, 2018, https://arxiv.org/abs/1807.03653; Mattei, Frellsen: MIWAE, 2019,
    https://arxiv.org/abs/1812.02633).

    Args:
        schema: The columns, in their order.

    Raises:
        ValueError: If there is none.

    Shape:
        Decoder output (N, num_outputs) for x (N, columns): kinds one after the other, of each kind the first number of
        all its columns, then the second.

    Example:
        >>> import torch
        >>> from lucid.distributions import Column, TableLikelihood
        >>> likelihood = TableLikelihood((Column("height", "real"), Column("colour", "categorical", ("red", "blue"))))
        >>> p = likelihood(torch.zeros(2, likelihood.num_outputs(2)))
        >>> p.log_prob(torch.tensor([[0.0, 1.0], [0.0, float("nan")]]))
        tensor([-1.6121, -0.9189])
    """

    takes_missing = True

    def __init__(self, schema: Sequence[Column]) -> None:
        super().__init__()
        require(len(schema) > 0, lambda: "schema must hold one column or more; received none")
        self.schema = tuple(schema)
        self._groups = _grouped(self.schema)

    def num_outputs(self, channels: int) -> int:
        require(
            channels == len(self.schema),
            lambda: f"x must have the {len(self.schema)} columns of the schema; it has {channels}",
        )
        return sum(group.outputs * len(group.columns) for group in self._groups)

    def forward(self, params: Tensor, x: Tensor | None = None) -> TableColumns:
        blocks = at_least_float32(params).split([group.outputs * len(group.columns) for group in self._groups], dim=1)
        return TableColumns(
            [Part(group.columns, _distribution(group, h)) for group, h in zip(self._groups, blocks, strict=True)]
        )

    def initial_params(self, x: Tensor) -> Tensor:
        """What describes each column's observed values: mean and log-variance, frequencies."""
        parts = [_initial(group, x[:, list(group.columns)]) for group in self._groups]
        return torch.cat(parts).to(x.dtype)

    def check(self, x: Tensor) -> None:
        """Refuse infinite values, numbers that name no category, and counts that are none; NaN is a missing value."""
        require(not bool(x.isinf().any()), lambda: "x must be finite, or NaN where a value is missing; it holds inf")
        require(
            x.dim() == 2 and x.shape[1] == len(self.schema),
            lambda: f"x must be (N, {len(self.schema)}), the columns of the schema; received {tuple(x.shape)}",
        )
        whole = [i for i, column in enumerate(self.schema) if column.kind not in ("real", "positive")]
        if not whole:
            return
        most = torch.tensor([(self.schema[i].levels or math.inf) - 1 for i in whole], device=x.device)
        values = x[:, whole]
        bad = (values != values.round()) | (values < 0) | (values > most)
        bad &= ~values.isnan()
        if not bool(bad.any()):
            return
        row, place = bad.nonzero()[0].tolist()
        column = self.schema[whole[place]]
        takes = "counts 0, 1, 2, …" if column.levels is None else f"the numbers 0 … {column.levels - 1} of categories"
        raise ValueError(
            f"the {column.kind} column {column.name!r} takes {takes}, or NaN; row {row} holds "
            f"{float(values[row, place]):g}"
        )

    def extra_repr(self) -> str:
        kinds = [column.kind for column in self.schema]
        return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))


def _grouped(schema: tuple[Column, ...]) -> list[_Group]:
    members: dict[tuple[str, int], list[int]] = {}
    for i, column in enumerate(schema):
        kind = "number" if column.kind in ("real", "positive") else column.kind
        levels = len(column.categories) if kind in ("categorical", "ordinal") else 0
        members.setdefault((kind, levels), []).append(i)
    return [_Group(kind, levels, tuple(columns)) for (kind, levels), columns in members.items()]


def _distribution(group: _Group, h: Tensor) -> Factorised:
    if group.kind == "number":
        return DiagonalGaussian.from_concatenated(h)
    if group.kind == "binary":
        return BernoulliLogits(bounded_loc(h))
    if group.kind == "count":
        log_mean, log_concentration = bounded_logvar(h).chunk(2, dim=1)
        return NegativeBinomialCounts(log_mean, log_concentration)
    numbers = h.unflatten(1, (group.outputs, len(group.columns)))
    if group.kind == "ordinal":
        return CategoryNumbers(ordered_log_mass(numbers))
    logits = bounded_loc(numbers)
    return CategoryNumbers(logits.log_softmax(dim=1), logits)


def _initial(group: _Group, x: Tensor) -> Tensor:
    """Decoder outputs of one group, flat, from its columns."""
    there = ~x.isnan()
    count = there.sum(0).clamp(min=1)
    filled = torch.where(there, x, 0.0)
    mean = filled.sum(0) / count
    variance = torch.where(there, x - mean, 0.0).square().sum(0) / count
    if group.kind == "number":
        return torch.cat([mean, variance.clamp(min=1e-4).log()])
    if group.kind == "count":
        mean = mean.clamp(min=1e-2)
        concentration = mean.square() / (variance - mean).clamp(min=1e-6)
        return torch.cat([mean.log(), concentration.clamp(0.1, 1e3).log()])
    if group.kind == "binary":
        return ((filled.sum(0) + 1) / (there.sum(0) + 2)).logit()
    index = torch.where(there, x, -1.0).round().long()
    counts = torch.stack([(index == level).sum(0) for level in range(group.levels)]) + 1.0
    mass = counts / counts.sum(0)
    if group.kind == "categorical":
        return mass.log().flatten()
    edges = mass.cumsum(0)[:-1].logit()
    # The inverse of softplus: y ↦ log(eʸ − 1).
    steps = edges.diff(dim=0).clamp(min=1e-6).expm1().log()
    return torch.cat([edges[:1], steps]).flatten()

"""Every likelihood a file can be coded under: what the contract suite runs over."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from lucid.codec.coding.code import Code
from lucid.codec.coding.counts import MOST_COUNT
from lucid.codec.coding.data import data_code
from lucid.codec.coding.table import MissingCounts, TableCode
from lucid.codec.network.describe import describe_likelihood
from lucid.distributions import (
    Bernoulli,
    Categorical,
    Column,
    DiscretisedLogistic,
    Likelihood,
    MixtureOfLogistics,
    NegativeBinomial,
    OrderedLogistic,
    Poisson,
    PoissonCounts,
    TableLikelihood,
    ZeroInflatedCounts,
    ZeroInflatedNegativeBinomial,
)
from lucid.distributions.bounds import bounded_logvar


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@dataclass(frozen=True)
class Given:
    """A network whose answers are known."""

    tensors: Mapping[str, Tensor]

    def feed(self, name: str, values: Tensor) -> None:
        raise AssertionError(f"nothing is to be fed; received {name}, {values.shape}")

    def read(self, name: str) -> Tensor:
        return self.tensors[name].double()


class ZeroInflatedPoisson(Likelihood):
    """The other counts that can have extra zeros."""

    num_parameters = 2

    def forward(self, params: Tensor, x: Tensor | None = None) -> Distribution:
        logits, log_rate = params.chunk(2, dim=1)
        return ZeroInflatedCounts(logits, PoissonCounts(bounded_logvar(log_rate)))

    def initial_params(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean(0) * 0, x.mean(0).log()])


@dataclass(frozen=True)
class Case:
    """A likelihood, and how it is tried.

    Attributes:
        likelihood: It.
        shape: Of one example.
        width: Of the data around its middle that the parameters describe, as a share of the grid; of counts their
            greatest.
        spread: Of what is added to these parameters, which is Gaussian.
    """

    likelihood: Likelihood
    shape: tuple[int, ...]
    width: float = 0.3
    spread: float = 0.5

    def distribution(self, n: int, seed: int = 0, spread: float | None = None) -> Distribution:
        """Of n examples with parameters of their own, in float64."""
        likelihood = self.likelihood.double()
        noise = torch.randn(50, *self.shape, generator=generator(9), dtype=torch.float64)
        if likelihood.levels is None:
            data = (torch.rand(50, *self.shape, generator=generator(9), dtype=torch.float64) * self.width).floor()
        else:
            steps = likelihood.levels - 1
            data = ((0.5 + self.width * noise).clamp(0, 1) * steps).round() / steps
        with torch.no_grad():
            start = likelihood.initial_params(data)
            assert start is not None
            noise = torch.randn(n, *start.shape, generator=generator(seed), dtype=torch.float64)
            return likelihood(start + noise * (self.spread if spread is None else spread))

    def levels(self, x: Tensor) -> Tensor:
        """Level numbers of values in model space."""
        levels = self.likelihood.levels
        return x.round().long() if levels is None else (x * (levels - 1)).round().long()

    def any_levels(self, n: int, seed: int) -> Tensor:
        """Levels whatever the distribution says, (n, *shape)."""
        shape, stream = (n, *self.shape), generator(seed)
        if isinstance(self.likelihood, TableLikelihood):
            most = torch.tensor([column.levels or MOST_COUNT for column in self.likelihood.schema])
            drawn = (torch.rand(shape, generator=stream, dtype=torch.float64) * most).long()
            return torch.where(torch.rand(shape, generator=stream) < 0.2, -1, drawn)
        if self.likelihood.levels is None:
            counts = (torch.rand(shape, generator=stream, dtype=torch.float64) * math.log(MOST_COUNT)).exp().long()
            return counts - counts.flatten().min()  # 0 among them
        return torch.randint(self.likelihood.levels, shape, generator=stream)


def code_of(distribution: Distribution, levels: Tensor) -> Code:
    """The code of (n, *shape) levels under a distribution of n examples, or of one that stands for all."""
    found = describe_likelihood(distribution, "x")
    run = Given({name: tensor.expand(len(levels), *tensor.shape[1:]) for name, tensor in found.tensors.items()})
    if found.described.kind == "table":
        return TableCode(run, found.described, len(levels), MissingCounts.of(levels.numpy()))
    return data_code(run, found.described, len(levels))


_TABLE = TableLikelihood(
    (
        Column("a", "count"),
        Column("b", "categorical", ("x", "y", "z")),
        Column("c", "binary", ("no", "yes")),
        Column("d", "count"),
        Column("e", "ordinal", ("low", "middle", "high", "top")),
    )
)

CASES: dict[str, Case] = {
    "bernoulli": Case(Bernoulli(), (7, 3), spread=3.0),
    "logistic of 17": Case(DiscretisedLogistic(17), (1, 5, 5)),
    "logistic of 256": Case(DiscretisedLogistic(256), (12,), width=0.1),
    "narrow logistic": Case(DiscretisedLogistic(256), (12,), width=0.003),
    "logistic of 2": Case(DiscretisedLogistic(2), (12,)),
    "logistic of 65536": Case(DiscretisedLogistic(65536), (12,), width=0.1),
    "mixture, colour": Case(MixtureOfLogistics(256, 3, components=4), (3, 3, 3), width=0.1),
    "mixture, groups": Case(MixtureOfLogistics(16, 2, components=3), (6, 4)),
    "mixture, grey": Case(MixtureOfLogistics(17, 1, components=5), (5, 3, 2), width=0.2),
    "mixture, independent": Case(MixtureOfLogistics(256, 2, components=3, autoregressive=False), (2, 4), width=0.1),
    "categorical of 5": Case(Categorical(5), (3, 4), spread=2.0),
    "categorical of 256": Case(Categorical(256), (6,)),
    "ordered": Case(OrderedLogistic(6), (3, 4)),
    "ordered by feature": Case(OrderedLogistic(9, features=3), (3, 4), spread=2.0),
    "poisson": Case(Poisson(), (20,), width=10),
    "large poisson": Case(Poisson(), (20,), width=1e4, spread=3.0),
    "negative binomial": Case(NegativeBinomial(), (20,), width=8),
    "large negative binomial": Case(NegativeBinomial(), (20,), width=1e3, spread=3.0),
    "zero-inflated": Case(ZeroInflatedNegativeBinomial(), (20,), width=8),
    "zero-inflated poisson": Case(ZeroInflatedPoisson(), (20,), width=8),
    "table": Case(_TABLE, (5,), width=2),
}

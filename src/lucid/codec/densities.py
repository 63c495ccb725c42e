"""The distributions that a frozen network describes, as PyTorch's, to compute densities from: what its bound says."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.distributions import Distribution

from lucid.codec.coding.data import to_model_space
from lucid.codec.layout import Described, Layout
from lucid.codec.network.fixed import FixedNetwork
from lucid.distributions import (
    BernoulliLogits,
    CategoricalGrid,
    CategoryNumbers,
    DiagonalGaussian,
    DiscretisedLogisticGrid,
    FullCovarianceGaussian,
    LogisticMixtureGrid,
    Mixture,
    NegativeBinomialCounts,
    OrderedLogisticGrid,
    PoissonCounts,
    StandardNormal,
    TableColumns,
    ZeroInflatedCounts,
    draw,
)
from lucid.distributions.drawn import Drawn
from lucid.distributions.factorised import Factorised
from lucid.distributions.table import Part
from lucid.models.walk import Latent, Record

__all__ = ["frozen_walk"]

Read = Callable[[str], Tensor]


def frozen_walk(network: FixedNetwork, layout: Layout, levels: Tensor, generator: torch.Generator) -> Record:
    """A walk over data with latents drawn, whose every parameter comes from the frozen network.

    Args:
        network: In integers.
        layout: Of the walk.
        levels: int64 (n, *shape), −1 where a value is missing.
        generator: The stream of random numbers.

    Returns:
        The record, in float64: `record.elbo()` is the bound of the model as it is frozen.
    """
    rows = len(levels)
    run = network.start(rows)
    x = to_model_space(levels.reshape(rows, -1).numpy(), layout.data)
    run.feed("x", x)
    latents = {latent.level: latent for latent in layout.latents}
    values: dict[int, Tensor] = {}
    posteriors: dict[int, Distribution] = {}
    for level in layout.inference:
        like = torch.empty(rows, *latents[level].shape, dtype=torch.float64)
        posteriors[level] = _distribution(latents[level].posterior, run.read, like)
        values[level] = draw(posteriors[level], generator=generator)
        run.feed(f"z{level}", values[level])
    likelihood = _distribution(layout.likelihood, run.read, x)
    met: list[Latent] = []
    for level, latent in sorted(latents.items()):
        prior = _distribution(latent.prior, run.read, values[level])
        met.append(Latent(values[level], prior, posteriors[level], latent.prior_known_first))
    observed = x.masked_fill(levels < 0, torch.nan) if layout.data.levels is None else x
    return Record(tuple(met), x, likelihood, observed)


def _distribution(described: Described, read: Read, like: Tensor) -> Distribution:
    """A described distribution; `like` has the shape of its values."""
    of = {name: read(output) for name, output in described.params.items()} | dict(described.constants)
    match described.kind:
        case "standard":
            return StandardNormal(like)
        case "gaussian":
            return DiagonalGaussian(of["loc"], of["logvar"])
        case "full_gaussian":
            return FullCovarianceGaussian(of["loc"], of["logvar"], of["lower"])
        case "mixture":
            every = DiagonalGaussian(of["loc"], of["logvar"])
            return Mixture(like, of["log_weights"], every, lambda k: DiagonalGaussian(of["loc"][k], of["logvar"][k]))
        case _:
            return _likelihood(described, of, read, like)


def _likelihood(described: Described, of: Mapping[str, Tensor], read: Read, like: Tensor) -> Drawn:
    parts = [_likelihood_of(part, read, like) for part in described.parts]
    match described.kind, parts:
        case "bernoulli", []:
            return BernoulliLogits(of["logits"])
        case "logistic", []:
            return DiscretisedLogisticGrid(of["loc"], of["log_scale"], int(described.settings["levels"]))
        case "logistic_mixture", []:
            levels = int(described.settings["levels"])
            return LogisticMixtureGrid(of["logits"], of["loc"], of["log_scale"], of.get("coefficients"), levels)
        case "categorical", []:
            return CategoricalGrid(of["logits"])
        case "ordered", []:
            return OrderedLogisticGrid(of["loc"], of["cutpoints"][..., :1], of["cutpoints"].diff(dim=-1))
        case "poisson", []:
            return PoissonCounts(of["log_rate"])
        case "negative_binomial", []:
            return NegativeBinomialCounts(of["log_mean"], of["log_concentration"])
        case "zero_inflated", [NegativeBinomialCounts() | PoissonCounts() as counts]:
            return ZeroInflatedCounts(of["logits"], counts)
        case "table", _:
            columns = described.settings["columns"]
            return TableColumns([Part(where, _of_column(part)) for where, part in zip(columns, parts, strict=True)])
        case kind, _:
            raise AssertionError(f"nothing codes the kind {kind!r}, so no codec can name it")


def _likelihood_of(part: Described, read: Read, like: Tensor) -> Drawn:
    of = {name: read(output) for name, output in part.params.items()} | dict(part.constants)
    return _likelihood(part, of, read, like)


def _of_column(part: Drawn) -> Factorised:
    """Categories of a table are known by their numbers; levels of other data lie spread over [0, 1]."""
    assert isinstance(part, Factorised), "columns are independent of each other"
    return CategoryNumbers(part.log_mass) if isinstance(part, CategoricalGrid) else part

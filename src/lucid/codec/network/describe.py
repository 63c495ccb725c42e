"""A distribution by name: which kind a file codes it as, and which numbers the network must emit for it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from typing import Any, NamedTuple

from torch import Tensor
from torch.distributions import Distribution

from lucid.codec.layout import Described
from lucid.distributions import (
    BernoulliLogits,
    CategoricalGrid,
    CategoryNumbers,
    DiagonalGaussian,
    DiscretisedLogisticGrid,
    FlowDensity,
    FullCovarianceGaussian,
    Likelihood,
    LogisticMixtureGrid,
    NegativeBinomialCounts,
    OrderedLogisticGrid,
    PoissonCounts,
    StandardNormal,
    TableColumns,
    TableLikelihood,
    ZeroInflatedCounts,
)
from lucid.distributions.mixture import Mixture

__all__ = ["Found", "describe_latent", "describe_likelihood", "refuse_continuous_columns"]


class Found(NamedTuple):
    """A distribution described.

    Attributes:
        described: Its kind, with the names of its parameters.
        tensors: The parameters, one row for each example, by those names.
    """

    described: Described
    tensors: Mapping[str, Tensor]


def _found(
    kind: str,
    prefix: str,
    parameters: Mapping[str, Tensor],
    constants: Mapping[str, Tensor] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Found:
    names = {name: f"{prefix}.{name}" for name in parameters}
    shared = {name: tensor.detach().double().cpu() for name, tensor in (constants or {}).items()}
    described = Described(kind, names, shared, settings or {})
    return Found(described, {names[name]: tensor for name, tensor in parameters.items()})


# Latents


@singledispatch
def describe_latent(distribution: Distribution, prefix: str) -> Found:
    """A posterior or prior.

    Args:
        distribution: As the walk meets it.
        prefix: Of the names of its parameters, such as "q0".

    Raises:
        ValueError: If a file cannot hold draws of it.
    """
    raise ValueError(
        f"a codec codes latents that are Gaussian, with a diagonal or a full covariance, and priors that are Gaussian "
        f"or mixtures of Gaussians; the model's {_role(prefix)} is a {type(distribution).__name__}. Train a model with "
        "one of those"
    )


def _role(prefix: str) -> str:
    return f"{'posterior' if prefix[0] == 'q' else 'prior'} of level {prefix[1:]}"


@describe_latent.register
def _(distribution: DiagonalGaussian, prefix: str) -> Found:
    return _found("gaussian", prefix, {"loc": distribution.loc, "logvar": distribution.logvar})


@describe_latent.register
def _(distribution: StandardNormal, prefix: str) -> Found:
    if prefix[0] == "q":
        return _found("gaussian", prefix, {"loc": distribution.loc, "logvar": distribution.logvar})
    return Found(Described("standard"), {})


@describe_latent.register
def _(distribution: FullCovarianceGaussian, prefix: str) -> Found:
    parameters = {"loc": distribution.loc, "logvar": distribution.logvar, "lower": distribution.lower}
    return _found("full_gaussian", prefix, parameters)


@describe_latent.register
def _(distribution: Mixture, prefix: str) -> Found:
    components = distribution.components
    if not isinstance(components, DiagonalGaussian):
        raise ValueError(
            f"a codec codes mixtures of diagonal Gaussians; the {_role(prefix)} is a mixture of "
            f"{type(components).__name__}. A VampPrior is one of diagonal Gaussians where the posterior of the deepest "
            "latent is: leave posterior out, or choose MixturePrior"
        )
    constants = {"log_weights": distribution.log_weights, "loc": components.loc, "logvar": components.logvar}
    return _found("mixture", prefix, {}, constants)


@describe_latent.register
def _(_: FlowDensity, prefix: str) -> Found:
    raise ValueError(
        f"the {_role(prefix)} is a flow, whose features depend on one another through networks that would have to run "
        "once for each: a codec does not code it. Train with prior='mixture' or 'vamp' in its place, which bend a "
        "prior as well, or with posterior='full'"
    )


# Data


def refuse_continuous_columns(likelihood: Likelihood) -> None:
    """Refuse a table with columns of continuous numbers, by their names."""
    schema = likelihood.schema if isinstance(likelihood, TableLikelihood) else ()
    continuous = [column.name for column in schema if column.kind in ("real", "positive")]
    if continuous:
        raise ValueError(
            f"the columns {', '.join(repr(name) for name in continuous)} of the table hold continuous numbers: no "
            "exact value has a probability under their density, so none can be coded without loss. Declare them as "
            f"counts or categories where the table is loaded, load(…, columns={{{continuous[0]!r}: 'count'}}), leave "
            "them out, or store the table as parquet"
        )


@singledispatch
def describe_likelihood(distribution: Distribution, prefix: str) -> Found:
    """A likelihood.

    Args:
        distribution: As the walk meets it.
        prefix: Of the names of its parameters, such as "x".

    Raises:
        ValueError: If it is no mass over a known set of values: a file holds exact values, and a density gives none
            of them a probability.
    """
    raise ValueError(
        f"the model's likelihood of {prefix}, {type(distribution).__name__}, is a density of continuous numbers: no "
        "exact value has a probability under it, so none can be coded without loss. Declare the levels of the data "
        "where it is loaded, load(…, levels=256) for 8-bit values, and train with a likelihood of levels, such as "
        "DiscretisedLogistic(256) or Categorical(256); counts 0, 1, 2, … take Poisson or NegativeBinomial"
    )


@describe_likelihood.register
def _(distribution: BernoulliLogits, prefix: str) -> Found:
    return _found("bernoulli", prefix, {"logits": distribution.logits}, settings={"levels": 2})


@describe_likelihood.register
def _(distribution: DiscretisedLogisticGrid, prefix: str) -> Found:
    parameters = {"loc": distribution.loc, "log_scale": distribution.log_scale}
    return _found("logistic", prefix, parameters, settings={"levels": distribution.levels})


@describe_likelihood.register
def _(distribution: LogisticMixtureGrid, prefix: str) -> Found:
    parameters = {"logits": distribution.logits, "loc": distribution.loc, "log_scale": distribution.log_scale}
    if distribution.coefficients is not None:
        parameters["coefficients"] = distribution.coefficients
    return _found("logistic_mixture", prefix, parameters, settings={"levels": distribution.levels})


@describe_likelihood.register
def _(distribution: CategoricalGrid, prefix: str) -> Found:
    return _found("categorical", prefix, {"logits": distribution.logits}, settings={"levels": distribution.levels})


@describe_likelihood.register
def _(distribution: CategoryNumbers, prefix: str) -> Found:
    settings = {"levels": distribution.log_mass.shape[1]}
    return _found("categorical", prefix, {"logits": distribution.logits}, settings=settings)


@describe_likelihood.register
def _(distribution: OrderedLogisticGrid, prefix: str) -> Found:
    constants = {"cutpoints": distribution.cutpoints}
    return _found("ordered", prefix, {"loc": distribution.loc}, constants, {"levels": distribution.levels})


@describe_likelihood.register
def _(distribution: PoissonCounts, prefix: str) -> Found:
    return _found("poisson", prefix, {"log_rate": distribution.log_rate})


@describe_likelihood.register
def _(distribution: NegativeBinomialCounts, prefix: str) -> Found:
    parameters = {"log_mean": distribution.log_mean, "log_concentration": distribution.log_concentration}
    return _found("negative_binomial", prefix, parameters)


@describe_likelihood.register
def _(distribution: ZeroInflatedCounts, prefix: str) -> Found:
    outer = _found("zero_inflated", prefix, {"logits": distribution.logits})
    return _with_parts(outer, [describe_likelihood(distribution.counts, f"{prefix}.counts")])


@describe_likelihood.register
def _(distribution: TableColumns, prefix: str) -> Found:
    parts = [describe_likelihood(part.distribution, f"{prefix}.{i}") for i, part in enumerate(distribution.parts)]
    settings = {"columns": [list(part.columns) for part in distribution.parts]}
    return _with_parts(_found("table", prefix, {}, settings=settings), parts)


def _with_parts(outer: Found, parts: list[Found]) -> Found:
    tensors = {**outer.tensors}
    for part in parts:
        tensors.update(part.tensors)
    own = outer.described
    inner = tuple(part.described for part in parts)
    return Found(Described(own.kind, own.params, own.constants, own.settings, inner), tensors)

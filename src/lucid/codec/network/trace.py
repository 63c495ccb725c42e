"""From a model to the graph of its walk: PyTorch exports it for a single example, and every call is lowered."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor

from lucid.codec.layout import DataLayout, Described, LatentLayout, Layout
from lucid.codec.network.describe import refuse_continuous_columns
from lucid.codec.network.export import exported
from lucid.codec.network.graph import Graph
from lucid.codec.network.lowering.elementwise import AS_GOOD_AS_INFINITE, LEAST_LOGIT
from lucid.codec.network.lowering.program import lowered
from lucid.codec.network.walked import Distributions, Parameters, distributions_of, values_of, walk_over
from lucid.codec.pinned import pinned
from lucid.distributions import TableLikelihood
from lucid.io import describe
from lucid.models import DataProtocol, LatentModel
from lucid.models.base import evaluating
from lucid.models.walk import Record
from lucid.nn import Module

__all__ = ["Traced", "data_of", "trace"]

_ROWS = 256
"""Examples that walk at once, which bounds the memory."""

_CHECKED = 8
"""Examples on which the graph is held against the model."""

_TOLERANCE = 1e-3
"""How far the two may lie apart, in units of the largest number: float32 against float64 through a deep network."""

_MISSING = -1.0
"""What stands for a missing value in a graph's input, which knows no NaN."""


@dataclass(frozen=True)
class Traced:
    """A model's walk without the model.

    Attributes:
        graph: From "x" and "z0" … to the parameters of every distribution.
        layout: What is coded under which distribution, and which outputs of the graph are its parameters.
        samples: Values of every input of the graph on the calibration data, float64, (N, ...): x and drawn latents.
    """

    graph: Graph
    layout: Layout
    samples: Mapping[str, Tensor]


def trace(model: LatentModel, x: Tensor, *, generator: Generator | None = None) -> Traced:
    """Write down what a model computes.

    The model walks over `x` once with latents drawn, which shows the order of its decisions, the kinds of its
    distributions, and the range of all numbers. Then PyTorch exports the walk for a single example, operation by
    operation. The graph is held against the model on examples it was not exported on.

    Args:
        model: In any mode; it is read in evaluation mode and left as it was.
        x: Some of the data in model space, (N, ...), which has been checked.
        generator: The stream of random numbers of the draws; None is one seeded with 0.

    Raises:
        ValueError: If the model takes a condition, a distribution is none that a file can hold, the model does
            something that cannot be written down (named, with the layer), makes numbers that are not finite, or does
            not treat every example by itself.

    Example:
        >>> import lucid.nn as nn, torch
        >>> from lucid.models import VAE, VAEConfig
        >>> model = VAE(VAEConfig(
        ...     encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)], reconstruction_loss="bce"
        ... ))
        >>> traced = trace(model, torch.rand(5, 6).round())
        >>> sorted(traced.graph.outputs), traced.layout.likelihood.kind
        (['q0.loc', 'q0.logvar', 'x.logits'], 'bernoulli')
    """
    if model.condition is not None:
        raise ValueError(
            f"a codec codes data alone, and this {type(model).__name__} takes a condition with every example, "
            f"{model.condition.describe()}: a file would have to hold it too. Train one without a condition"
        )
    refuse_continuous_columns(model.likelihood)
    generator = Generator().manual_seed(0) if generator is None else generator
    reader = copy.deepcopy(model).cpu()
    reader = reader.float() if _is_half(reader) else reader
    x = x.detach().cpu()
    x = x.to(_kind(reader, x))
    _check_data(x, bool(reader.likelihood.takes_missing))
    with pinned(), evaluating(reader):
        record, order = walk_over(reader, x[:_CHECKED], generator)
        found = distributions_of(record)
        _check_finite(found)
        rest = [values_of(walk_over(reader, part, generator)[0]) for part in x[_CHECKED:].split(_ROWS) if len(part)]
        values = [torch.cat([every[level] for every in (values_of(record), *rest)]) for level in range(reader.depth)]
        program = exported(reader, x[:1], [values[level][:1] for level in order])
        alone = _alone(reader, [x, *(values[level] for level in order)], list(found.tensors))
        samples = {"x": torch.where(x.isnan(), _MISSING, x).double()}
        samples |= {f"z{level}": value.double() for level, value in enumerate(values)}
        graph, constants = lowered(program, found, samples, order, bool(reader.likelihood.takes_missing))
        _check(graph, constants, found, samples, alone)
        return Traced(graph, _layout(reader, x, record, order, found, constants), samples)


def _is_half(model: Module) -> bool:
    return any(p.dtype in (torch.float16, torch.bfloat16) for p in model.parameters())


def _kind(model: Module, x: Tensor) -> torch.dtype:
    parameter = next(model.parameters(), None)
    return x.dtype if parameter is None else parameter.dtype


# What comes of it


def _check_data(x: Tensor, takes_missing: bool) -> None:
    """Refuse data that no model could have been trained on, before it is taken for a fault of the model."""
    bad = x.isinf() if takes_missing else ~x.isfinite()
    if x.is_floating_point() and bool(bad.any()):
        place = bad.nonzero()[0].tolist()
        raise ValueError(
            f"the data that shows the ranges of the model's values must be finite; received {float(x[tuple(place)])} "
            f"in example {place[0]}"
        )


def _check_finite(found: Distributions) -> None:
    """A parameter may be −∞ where it masks a value out; NaN and ∞ are the fault of weights or networks."""
    for name, own in found.tensors.items():
        bad = own.isnan() | own.isposinf()
        if bool(bad.any()):
            raise ValueError(
                f"the parameter {name} that the model computes is {float(own[bad][0])} on data that is finite: its "
                "weights are not finite, or grow beyond their type. Train it again, with a smaller learning rate"
            )


def _alone(model: LatentModel, inputs: Sequence[Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """The model's parameters of examples that it sees one by one."""
    parameters = Parameters(model)
    rows = [parameters(*(value[row : row + 1] for value in inputs)) for row in range(min(_CHECKED, len(inputs[0])))]
    return {name: torch.cat(tensors) for name, *tensors in zip(names, *rows, strict=True)}


def _check(
    graph: Graph,
    constants: Mapping[str, Tensor],
    found: Distributions,
    samples: Mapping[str, Tensor],
    alone: Mapping[str, Tensor],
) -> None:
    """Hold the graph against the model's own numbers on one example, then on others, then these against a batch."""
    computed = {**constants, **graph.evaluate({name: values[:_CHECKED] for name, values in samples.items()})}
    for name, own in alone.items():
        made = computed[name].expand(own.shape)
        apart = _apart(made[:1], own[:1])
        if apart:
            raise ValueError(
                f"the parameter {name} of one example is another in the form that was traced than in the model, by "
                f"up to {apart:.3g}: an operation was written down wrongly, or the model's numbers lose their digits. "
                "Try model.double(); if that does not help, please report it with the model"
            )
        apart = _apart(made, own)
        if apart:
            raise ValueError(
                f"the parameter {name} of some examples is another in the form that was traced than in the model, by "
                f"up to {apart:.3g}, and of the first it is the same: a network decides by values. A codec needs "
                "networks that do the same for every example; write decisions with torch.where"
            )
        apart = _apart(own, found.tensors[name])
        if apart:
            raise ValueError(
                f"the parameter {name} of an example is another where the model sees it alone than where it sees "
                f"{len(own)} examples at once, by up to {apart:.3g}: a network mixes the examples of a batch. A codec "
                "needs networks that treat every example by itself"
            )


def _apart(a: Tensor, b: Tensor) -> float:
    """How far numbers lie apart, 0 where that is but rounding. What masks a value out does so from −200 down."""
    a, b = (value.double() for value in (a, b))
    size = 1 + float(b.abs().where(b >= AS_GOOD_AS_INFINITE, 0.0).max())
    least = LEAST_LOGIT if bool((b < AS_GOOD_AS_INFINITE).any()) else -torch.inf
    apart = float((a.clamp(min=least) - b.clamp(min=least)).abs().max())
    return 0.0 if apart <= _TOLERANCE * size else apart


def _layout(
    model: LatentModel,
    x: Tensor,
    record: Record,
    order: Sequence[int],
    found: Distributions,
    constants: Mapping[str, Tensor],
) -> Layout:
    latents = tuple(
        LatentLayout(
            level=level,
            shape=tuple(latent.value.shape[1:]),
            posterior=_with_constants(found[f"q{level}"].described, constants),
            prior=_with_constants(found[f"p{level}"].described, constants),
            prior_known_first=latent.prior_known_first,
        )
        for level, latent in enumerate(record.latents)
    )
    return Layout(
        latents=latents,
        inference=tuple(order),
        generation=tuple(reversed(range(model.depth))),
        likelihood=_with_constants(found["x"].described, constants),
        data=data_of(model, tuple(x.shape[1:])),
    )


def data_of(model: LatentModel, shape: tuple[int, ...]) -> DataLayout:
    """What a model's data is; `shape` is that of one example where nobody declared it."""
    shape = shape if model.protocol is None else tuple(model.protocol.shape)
    return DataLayout(shape, model.likelihood.levels, _protocol(model))


def _protocol(model: LatentModel) -> dict[str, Any]:
    """What the data is; of a table that nobody declared, what its likelihood says of its columns."""
    if model.protocol is not None:
        return describe(model.protocol)
    if not isinstance(model.likelihood, TableLikelihood):
        return {}
    schema = tuple(model.likelihood.schema)
    names = tuple(column.name for column in schema)
    return describe(DataProtocol("a table", "table", (len(schema),), columns=names, schema=schema))


def _with_constants(described: Described, constants: Mapping[str, Tensor]) -> Described:
    """Parameters that turned out to depend on nothing are constants."""
    fixed = {name: constants[output] for name, output in described.params.items() if output in constants}
    return replace(
        described,
        params={name: output for name, output in described.params.items() if name not in fixed},
        constants={**described.constants, **fixed},
        parts=tuple(_with_constants(part, constants) for part in described.parts),
    )

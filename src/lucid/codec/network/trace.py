"""From a model to the graph of its walk: PyTorch exports it for a single example, and every call is lowered."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from lucid.codec.layout import DataLayout, Described, LatentLayout, Layout
from lucid.codec.network.describe import refuse_continuous_columns
from lucid.codec.network.export import exported
from lucid.codec.network.graph import Graph
from lucid.codec.network.lowering.program import lowered
from lucid.codec.network.walked import Distributions, distributions_of, values_of, walk_over
from lucid.io import describe
from lucid.models import LatentModel
from lucid.models.base import evaluating
from lucid.models.walk import Record
from lucid.nn import Module

__all__ = ["Traced", "trace"]

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
            something that cannot be written down (named, with the layer), or does not treat every example by itself.

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
    with evaluating(reader):
        x = x.detach().cpu().to(_kind(reader, x))
        record, order = walk_over(reader, x[:_CHECKED], generator)
        rest = [values_of(walk_over(reader, part, generator)[0]) for part in x[_CHECKED:].split(_ROWS) if len(part)]
        found = distributions_of(record)
        program = exported(reader, x[:1], [record.latents[level].value[:1] for level in order])
    samples = {"x": torch.where(x.isnan(), _MISSING, x).double()}
    for level in range(reader.depth):
        samples[f"z{level}"] = torch.cat([values[level] for values in (values_of(record), *rest)]).double()
    graph, constants = lowered(program, found, samples, order, bool(reader.likelihood.takes_missing))
    _check(graph, constants, found, samples)
    return Traced(graph, _layout(reader, x, record, order, found, constants), samples)


def _is_half(model: Module) -> bool:
    return any(p.dtype in (torch.float16, torch.bfloat16) for p in model.parameters())


def _kind(model: Module, x: Tensor) -> torch.dtype:
    parameter = next(model.parameters(), None)
    return x.dtype if parameter is None else parameter.dtype


# What comes of it


def _check(graph: Graph, constants: Mapping[str, Tensor], found: Distributions, samples: Mapping[str, Tensor]) -> None:
    """Hold the graph against the model's own numbers, on several examples at once."""
    computed = {**constants, **graph.evaluate({name: values[:_CHECKED] for name, values in samples.items()})}
    for name, own in found.tensors.items():
        own = own.double()
        apart = float((computed[name] - own).abs().max())
        if not apart <= _TOLERANCE * (1 + float(own.abs().max())):
            raise ValueError(
                f"the parameter {name} of an example is another where the model sees it alone than where it sees "
                f"{len(own)} examples at once, by up to {apart:.3g}: a network mixes the examples of a batch, or "
                "decides by their values. A codec needs networks that treat every example by itself"
            )


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
    protocol = {} if model.protocol is None else describe(model.protocol)
    return Layout(
        latents=latents,
        inference=tuple(order),
        generation=tuple(reversed(range(model.depth))),
        likelihood=_with_constants(found["x"].described, constants),
        data=DataLayout(tuple(x.shape[1:]), model.likelihood.levels, protocol),
    )


def _with_constants(described: Described, constants: Mapping[str, Tensor]) -> Described:
    """Parameters that turned out to depend on nothing are constants."""
    fixed = {name: constants[output] for name, output in described.params.items() if output in constants}
    return replace(
        described,
        params={name: output for name, output in described.params.items() if name not in fixed},
        constants={**described.constants, **fixed},
        parts=tuple(_with_constants(part, constants) for part in described.parts),
    )

"""What rounding costs: how far the integers' distributions lie from the float64 reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from lucid.codec.network.graph import Graph

if TYPE_CHECKING:
    from lucid.codec.network.fixed import FixedNetwork

__all__ = ["lost"]

EXAMPLES = 32
"""Enough to see it."""

_SCALES = {".logvar": 0.5, ".log_scale": 1.0}
"""The logarithm of a scale is this times the parameter of that name."""


def lost(graph: Graph, network: FixedNetwork, samples: Mapping[str, Tensor]) -> float:
    """The mean number of nats of an example that rounding costs, by the distances of locations in units of scales.

    A Gaussian whose mean is off by δ costs δ² / 2σ² nats, and other densities with a location and a scale about as
    much; one whose log σ is off by ε costs ε².
    """
    given = {name: samples[name][:EXAMPLES].double() for name in graph.inputs}
    n = min((len(values) for values in given.values()), default=0)
    exact, run, total = graph.evaluate(given), network.start(n, checked=False), 0.0
    for name, values in given.items():
        run.feed(name, values)
    for name in exact:
        kind = next((kind for kind in _SCALES if name.endswith(kind)), None)
        if kind is None or name in graph.constants:
            continue
        log_scale = exact[name] * _SCALES[kind]
        total += float((run.read(name) * _SCALES[kind] - log_scale).square().sum()) / n
        loc = name.removesuffix(kind) + ".loc"
        if loc in exact and exact[loc].shape == log_scale.shape:
            off = (run.read(loc) - exact[loc]) / log_scale.exp()
            total += float(off.square().sum()) / 2 / n
    return total

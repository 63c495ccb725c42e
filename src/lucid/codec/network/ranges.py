"""The ranges that a graph's values take on calibration data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lucid.codec.network.graph import Graph
from lucid.codec.network.reference import EVALUATE

__all__ = ["Range", "ranges"]

CHUNK = 64
"""Examples evaluated at a time: memory is bounded by them."""

LATTICE = 8
"""An input whose every value is a whole number of 2^−LATTICE keeps that grid: bits, counts, categories."""


@dataclass(frozen=True)
class Range:
    """What calibration has seen of a value.

    Attributes:
        low: The smallest.
        high: The largest.
        lattice: Bits after the binary point that hold every value exactly; None where more than `LATTICE` are needed.
    """

    low: float
    high: float
    lattice: int | None

    @property
    def magnitude(self) -> float:
        """The largest |value|; 1 where all are zero."""
        return max(abs(self.low), abs(self.high)) or 1.0


def ranges(graph: Graph, samples: Mapping[str, Tensor]) -> dict[str, Range]:
    """The range of every input, constant and node of a graph.

    Raises:
        ValueError: Samples of an input are missing, of another shape, or lead to a value that is not finite.
    """
    for name, shape in graph.inputs.items():
        given = samples.get(name)
        if given is None or tuple(given.shape[1:]) != tuple(shape) or not len(given):
            received = "none" if given is None else f"{tuple(given.shape)}"
            raise ValueError(f"quantising needs samples (n, {shape}) of the input {name!r}; received {received}")
    found = {name: _range_of(name, value) for name, value in graph.constants.items()}
    n = min((len(samples[name]) for name in graph.inputs), default=0)
    for start in range(0, n, CHUNK):
        fed = {name: samples[name][start : start + CHUNK].double() for name in graph.inputs}
        for name, value in _evaluated(graph, fed):
            here, before = _range_of(name, value), found.get(name)
            found[name] = here if before is None else _union(before, here)
    return found


def _evaluated(graph: Graph, fed: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
    values: dict[str, Tensor] = {**graph.constants, **fed}
    for node in graph.nodes:
        values[node.name] = EVALUATE[node.operation](node.attrs, *(values[name] for name in node.inputs))
    return [(name, value) for name, value in values.items() if name not in graph.constants]


def _range_of(name: str, value: Tensor) -> Range:
    low, high = float(value.min()), float(value.max())
    if not (math.isfinite(low) and math.isfinite(high)):  # min and max pass NaN on
        raise ValueError(
            f"every number of a codec's networks must be finite; the calibration data lead to {low} … {high} at "
            f"{name!r}: train the model until its outputs are finite, or calibrate with data of its kind"
        )
    return Range(low, high, _lattice_of(value))


def _lattice_of(value: Tensor) -> int | None:
    some = value.reshape(-1)[:64]  # which settles most
    for bits in range(LATTICE + 1):
        if _is_whole(some * 2.0**bits) and _is_whole(value * 2.0**bits):
            return bits
    return None


def _is_whole(value: Tensor) -> bool:
    return torch.equal(value.round(), value)


def _union(a: Range, b: Range) -> Range:
    lattice = None if a.lattice is None or b.lattice is None else max(a.lattice, b.lattice)
    return Range(min(a.low, b.low), max(a.high, b.high), lattice)

"""Known answers: a few inputs kept with a network, and the hash of what must come out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lucid.codec.network.fixed import FixedNetwork

__all__ = ["KnownAnswers", "digest_of", "typical_and_extreme"]


@dataclass(frozen=True)
class KnownAnswers:
    """Inputs and the hash of the outputs.

    Attributes:
        inputs: For every input of the network, whole numbers (n, *shape) in its own unit.
        digest: SHA-256 of the outputs, in hexadecimal.
    """

    inputs: Mapping[str, Tensor]
    digest: str


def digest_of(network: FixedNetwork, inputs: Mapping[str, Tensor], device: str | torch.device = "cpu") -> str:
    """SHA-256 of all outputs, by name, as little-endian float64, at `inputs` (whole numbers)."""
    n = min((len(values) for values in inputs.values()), default=1)
    run = network.start(n, device, checked=False)
    for name, values in inputs.items():
        run.feed(name, values.to(torch.float64) * 2.0 ** -network.inputs[name].fraction)
    found = hashlib.sha256()
    for name in sorted(network.outputs):
        value = run.read(name).cpu().contiguous() + 0.0  # no negative zeros
        found.update(name.encode() + value.numpy().astype("<f8", copy=False).tobytes())
    return found.hexdigest()


def typical_and_extreme(network: FixedNetwork, samples: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Two examples of calibration, and one of numbers from all over the inputs' ranges, clamps included."""
    generator = torch.Generator().manual_seed(0)
    chosen: dict[str, Tensor] = {}
    for name, spec in network.inputs.items():
        typical = (samples[name][:2].double() * 2.0**spec.fraction).round().clamp(spec.low, spec.high)
        extreme = torch.randint(spec.low, spec.high + 1, (1, *spec.shape), generator=generator)
        chosen[name] = torch.cat([typical.to(torch.int64).reshape(-1, *spec.shape), extreme])
    return chosen

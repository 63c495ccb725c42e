"""Models away from where they begin, and how far their graphs lie from them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from lucid.codec.layout import Described
from lucid.codec.network.trace import Traced
from lucid.distributions import (
    Likelihood,
    StandardNormal,
)
from lucid.distributions.mixture import Mixture
from lucid.models import DataProtocol
from lucid.models.base import LatentModel
from lucid.models.walk import Record, drive, given

LEVELS = 5
SHAPES = {"image": (3, 5, 4), "series": (3, 9), "vector": (3,)}


def data(likelihood: Likelihood | None, kind: str, levels: int | None = LEVELS) -> tuple[DataProtocol, Tensor]:
    """A protocol and examples, more than those on which `trace` holds the graph against the model."""
    levels = levels if likelihood is None else likelihood.levels
    u = torch.rand(11, *SHAPES[kind], dtype=torch.float64)
    x = (4 * u).floor() if levels is None else (u * (levels - 1)).round() / (levels - 1)
    return DataProtocol(name="toy", kind=kind, shape=SHAPES[kind], levels=levels), x


def stirred(model: LatentModel) -> LatentModel:
    """Away from where a model begins, with branches that emit nothing; in float64, to compare closely."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter) / max(1, parameter[0].numel()) ** 0.5)
    return model.double()


def walked(model: LatentModel, x: Tensor, traced: Traced) -> Record:
    latents = [traced.samples[f"z{level}"] for level in traced.layout.inference]
    with torch.no_grad():
        return drive(model.eval().walk(x), given(latents))


def parameters(described: Described, distribution: Distribution) -> dict[str, tuple[str, Tensor]]:
    """From a parameter's name to the output that holds it, and what the model says it is, as code and not by name."""
    d: Any = distribution
    if isinstance(distribution, Mixture | StandardNormal):
        return {}
    if described.kind == "table":
        return {
            k: v
            for own, part in zip(described.parts, d.parts, strict=True)
            for k, v in parameters(own, part.distribution).items()
        }
    inner = parameters(described.parts[0], d.counts) if described.kind == "zero_inflated" else {}
    for name, output in described.params.items():
        inner[output] = (name, getattr(d, name))
    return inner


def error(model: LatentModel, x: Tensor, traced: Traced) -> float:
    """The largest distance between an output of the graph and the parameter it stands for, relative to its size."""
    record, layout = walked(model, x, traced), traced.layout
    computed = traced.graph.evaluate(traced.samples)
    expected = parameters(layout.likelihood, record.likelihood)
    for latent, met in zip(layout.latents, record.latents, strict=True):
        assert met.posterior is not None
        expected |= parameters(latent.posterior, met.posterior) | parameters(latent.prior, met.prior)
    assert set(expected) == set(computed)
    return max(
        float((computed[output] - own).abs().max() / (1 + own.abs().max())) for output, (_, own) in expected.items()
    )

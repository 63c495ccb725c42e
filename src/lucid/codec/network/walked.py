"""One walk of a model, decided by draws: the order of its latents, and its distributions by name."""

from __future__ import annotations

from typing import Any

from torch import Generator, Tensor

from lucid.codec.network.describe import Found, describe_latent, describe_likelihood
from lucid.models import LatentModel
from lucid.models.walk import Record, draws, drive, given
from lucid.nn import Module

__all__ = ["Distributions", "Parameters", "distributions_of", "values_of", "walk_over"]


def walk_over(model: LatentModel, x: Tensor, generator: Generator) -> tuple[Record, list[int]]:
    """The record, with the levels in the order in which the walk met them."""
    met: list[Any] = []
    choose = draws(generator)

    def note(distribution: Any) -> Tensor:
        met.append(distribution)
        return choose(distribution)

    record = drive(model.walk(x, check=False), note)
    levels = {id(latent.posterior): level for level, latent in enumerate(record.latents)}
    return record, [levels[id(distribution)] for distribution in met]


def values_of(record: Record) -> list[Tensor]:
    """The values of the latents, by level."""
    return [latent.value for latent in record.latents]


class Distributions(dict[str, Found]):
    """The distributions of a walk: "q0", "p0" … and "x"."""

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The parameters of all of them."""
        return {name: tensor for found in self.values() for name, tensor in found.tensors.items()}


def distributions_of(record: Record) -> Distributions:
    """All distributions of a walk, described.

    Raises:
        ValueError: If a file cannot hold what one of them describes.
    """
    found = Distributions()
    for level, latent in enumerate(record.latents):
        assert latent.posterior is not None
        found[f"q{level}"] = describe_latent(latent.posterior, f"q{level}")
        found[f"p{level}"] = describe_latent(latent.prior, f"p{level}")
    found["x"] = describe_likelihood(record.likelihood, "x")
    return found


class Parameters(Module):
    """The walk as a module: from x and the latents, in the order of inference, to all parameters."""

    def __init__(self, model: LatentModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, *latents: Tensor) -> tuple[Tensor, ...]:
        record = drive(self.model.walk(x, check=False), given(latents))
        return tuple(distributions_of(record).tensors.values())

"""What a codec codes, in which order, and under which distributions: the model's walk without its networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

__all__ = ["MOST_COUNT", "MOST_MARK", "DataLayout", "Described", "Grid", "LatentLayout", "Layout"]

MOST_COUNT = 2**31 - 2
"""The greatest count that is coded: symbols of the entropy coder have 32 bits."""
MOST_MARK = 33
"""Of `Grid.shared`: the last tier's."""


@dataclass(frozen=True)
class Described:
    """A distribution by name: which outputs of the network are its parameters.

    Attributes:
        kind: Its name, such as "gaussian" or "bernoulli".
        params: From the name of a parameter to the network's output, such as {"loc": "q0.loc"}.
        constants: Parameters that are the same for every example, float64, without a batch.
        settings: Plain JSON values, such as {"levels": 256}.
        parts: Of what is made of others: the counts under extra zeros, the groups of columns of a table.
    """

    kind: str
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    constants: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    parts: tuple[Described, ...] = ()


@dataclass(frozen=True)
class Grid:
    """The values a latent can take in a file.

    A latent is centre + step · i for integers i in ±cells/2. Where its prior is known first, in units of the prior:
    z = loc + scale · (step · i).

    Attributes:
        standardised: Whether in units of the prior.
        centre: (*shape), zeros where standardised.
        step: (*shape), powers of two.
        cells: (*shape), how many.
        shared: (*shape), which are drawn from the generator that both sides share. Bool: the collapsed ones. Or uint8:
            1 for these, 0 for what is always coded, and 1 + t for the weak ones of tier t, drawn until the block has
            grown enough to pay for them; see `lucid.codec.coding.entries`.
    """

    standardised: bool
    centre: Tensor
    step: Tensor
    cells: Tensor
    shared: Tensor


@dataclass(frozen=True)
class LatentLayout:
    """One latent.

    Attributes:
        level: 0 is nearest the data.
        shape: Of one example.
        posterior: q(z_l | …).
        prior: p(z_l | …).
        prior_known_first: Whether the prior depends on no latent that inference draws after this one.
        grid: None until it has been calibrated.
    """

    level: int
    shape: tuple[int, ...]
    posterior: Described
    prior: Described
    prior_known_first: bool
    grid: Grid | None = None


@dataclass(frozen=True)
class DataLayout:
    """The data.

    Attributes:
        shape: Of one example in model space.
        levels: Number of values of a feature, spread evenly over [0, 1]; None for counts and tables.
        protocol: What `DataProtocol` says of it, plain JSON; empty where nothing was declared.
    """

    shape: tuple[int, ...]
    levels: int | None
    protocol: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Layout:
    """The whole walk.

    Attributes:
        latents: By level.
        inference: Levels in the order inference draws them.
        generation: Levels in the order generation draws them.
        likelihood: p(x|z).
        data: What x is.
    """

    latents: tuple[LatentLayout, ...]
    inference: tuple[int, ...]
    generation: tuple[int, ...]
    likelihood: Described
    data: DataLayout

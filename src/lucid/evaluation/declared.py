"""What the figures are figures of: the declared protocol, and bits/dim, which only declared levels give a meaning."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lucid.data import Split
from lucid.evaluation.result import Measurement
from lucid.models import DataProtocol, LatentModel

__all__ = ["BitsPerDim", "protocol_of"]


def protocol_of(model: LatentModel, data: object) -> DataProtocol | None:
    """What the figures are figures of: the protocol of the data, which must fit that of the model."""
    declared = data.protocol if isinstance(data, Split) else None
    trained = model.protocol
    if declared is None or trained is None:
        return declared or trained
    for name in ("kind", "shape", "levels", "shift", "scale"):
        if getattr(declared, name) != getattr(trained, name):
            raise ValueError(_other_preparation(name, getattr(declared, name), getattr(trained, name)))
    if (declared.binarisation == "none") != (trained.binarisation == "none"):
        raise ValueError(_other_preparation("binarisation", declared.binarisation, trained.binarisation))
    return declared


def _other_preparation(name: str, given: object, trained: object) -> str:
    return (
        f"the data was prepared with {name} {given!r} and the model was trained with {trained!r}: a likelihood would "
        "compare different things. Load the data as the model's protocol says: lucid.data.load_like"
    )


class BitsPerDim:
    """bits/dim where it means something: a mass over exactly the levels the data was declared to have."""

    def __init__(self, protocol: DataProtocol | None, levels: int | None) -> None:
        self.protocol = protocol
        self.why_not = _why_no_bits(protocol, levels)

    def off_grid(self, x: Tensor) -> Tensor:
        """See that x is what the protocol says; whether each example holds values between its levels, (B,)."""
        if self.protocol is None:
            return torch.zeros(len(x), dtype=torch.bool)
        if x[0].numel() != self.protocol.num_features:
            raise ValueError(
                f"the model's protocol declares {self.protocol.num_features} features an example "
                f"({self.protocol.describe()}); x has shape {tuple(x.shape)}"
            )
        if self.why_not is not None:
            return torch.zeros(len(x), dtype=torch.bool)
        scaled = x.float() * ((self.protocol.model_levels or 2) - 1)
        return ((scaled - scaled.round()).abs() >= 0.02).flatten(1).any(1)

    def refuse_off_grid(self) -> None:
        """There are no bits/dim after all: some examples were off the grid."""
        if self.why_not is None and self.protocol is not None:
            self.why_not = (
                f"none: x holds values between the {self.protocol.model_levels} levels its protocol declares, so the "
                "likelihood is not a probability of them"
            )

    def result(self, log_likelihood: Measurement) -> tuple[float | None, str]:
        if self.why_not is not None or self.protocol is None:
            return None, self.why_not or ""
        k = log_likelihood.num_samples
        note = f"−log-likelihood / (D ln 2) from {k:,} draw{'s' if k > 1 else ''}, D = {self.protocol.num_features:,}"
        return -log_likelihood.value / (self.protocol.num_features * math.log(2)), note


def _why_no_bits(protocol: DataProtocol | None, levels: int | None) -> str | None:
    """Why there are no bits/dim; None if there are."""
    if protocol is None:
        return "none: no data protocol is declared, so the levels of the data are not known"
    if protocol.model_levels is None:
        return "none: the data is continuous, and bits/dim is for data of declared discrete levels"
    if levels is None:
        return "none: the likelihood is a density, not a probability of the data's levels"
    if levels != protocol.model_levels:
        return f"none: the likelihood is over {levels} levels where the data has {protocol.model_levels}"
    return None

"""The networks of a model: the parts that are worth sharding, timing or computing twice."""

from __future__ import annotations

from torch import nn

__all__ = ["networks_of"]


def networks_of(model: nn.Module) -> dict[str, nn.Module]:
    """Encoders, decoders, priors and whatever else a model is made of, by name, for instance "encoders.0".

    These are the entries of the model's module lists, and its other children with parameters.
    """
    found: dict[str, nn.Module] = {}
    for name, child in model.named_children():
        if isinstance(child, nn.ModuleList):
            found |= {f"{name}.{number}": entry for number, entry in enumerate(child)}
        elif next(child.parameters(), None) is not None:
            found[name] = child
    return found

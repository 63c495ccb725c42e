"""Activation checkpointing: what the backward pass needs is computed again in the place of being kept.

Chen et al.: Training Deep Nets with Sublinear Memory Cost, 2016, https://arxiv.org/abs/1604.06174.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from lucid.training.networks import networks_of

__all__ = ["recomputing"]


@contextmanager
def recomputing(model: nn.Module) -> Generator[None]:
    """Within it, the model's networks keep only what goes into their segments.

    A `Sequential` of n layers has about √n segments; any other network is one; a network that shares a layer with
    another place of the model is left as it is. Dropout draws the same mask again.
    """
    replaced: list[nn.Module] = []

    def replace(module: nn.Module, forward: Callable[..., Any]) -> None:
        # An attribute of the instance shadows the method of the class, and leaves when it is deleted.
        module.forward = forward
        replaced.append(module)

    places = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
    for segment in (segment for network in networks_of(model).values() for segment in _segments(network, places)):
        # Whoever runs the layers one after the other meets the whole segment in the first, and nothing in the rest.
        replace(segment[0], _twice([layer.forward for layer in segment]))
        for layer in segment[1:]:
            replace(layer, _same)
    try:
        yield
    finally:
        for module in replaced:
            del module.forward


def _segments(network: nn.Module, places: Mapping[int, int]) -> list[list[nn.Module]]:
    layers = list(network) if isinstance(network, nn.Sequential) else [network]
    if any(places[id(layer)] > 1 for layer in layers):  # a layer that occurs twice cannot stand for two places
        return []
    if not isinstance(network, nn.Sequential):
        return [layers]
    if layers and isinstance(layers[-1], nn.Sigmoid):  # which the model may leave out, to have the logits
        layers.pop()
    size = max(1, math.ceil(math.sqrt(len(layers))))
    return [layers[i : i + size] for i in range(0, len(layers), size)]


def _twice(forwards: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    def run(*inputs: Any) -> Any:
        x = forwards[0](*inputs)
        for forward in forwards[1:]:
            x = forward(x)
        return x

    return lambda *inputs: checkpoint(run, *inputs, use_reentrant=False)


def _same(x: Any) -> Any:
    return x

"""One call of a PyTorch operation in a traced model, and the list of who knows which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lucid.codec.network.values import Builder, Value

__all__ = ["LOWERINGS", "Call", "lowers"]

Operand = Value | Tensor | float


@dataclass(frozen=True)
class Call:
    """A call of which at least one argument depends on the data or the latents.

    Attributes:
        builder: Of the graph.
        name: Of the operation, such as "add".
        target: The operation itself.
        arguments: By name: values, constants (tensors), numbers, lists.
        shape: Of what it makes, where the model runs on a single example; () where it makes several things.
        floating: Whether what it makes are floating-point numbers.
    """

    builder: Builder
    name: str
    target: Callable[..., Any]
    arguments: Mapping[str, Any]
    shape: tuple[int, ...]
    floating: bool

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """An argument, or `default` where the operation has none of that name."""
        return self.arguments.get(name, default)

    @property
    def x(self) -> Value:
        """The first argument, of operations that read one value."""
        first = self.arguments.get("self", self.arguments.get("input"))
        if not isinstance(first, Value):
            raise NotImplementedError("with a constant as its input, and a parameter that depends on the data")
        return first


Lowering = Callable[[Call], Any]

LOWERINGS: dict[str, Lowering] = {}
"""From the name of an operation, without its overload, to what writes it into the graph. It may raise
`NotImplementedError` with what it does not know, in words that follow the name of the operation."""


def lowers(*names: str) -> Callable[[Lowering], Lowering]:
    """Enter a function into `LOWERINGS`."""

    def enter(lowering: Lowering) -> Lowering:
        for name in names:
            assert name not in LOWERINGS, name
            LOWERINGS[name] = lowering
        return lowering

    return enter

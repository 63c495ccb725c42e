"""What a model is conditioned on: the class of each example, or a vector for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lucid.io import register

if TYPE_CHECKING:
    from torch.nn import Module

__all__ = ["Condition", "refuse_condition", "told"]


@register
@dataclass(frozen=True)
class Condition:
    """What `condition=` must be for a model: give exactly one of the two.

    Args:
        num_classes: Labels, int64 (N,), each in 0 … num_classes − 1.
        size: Vectors of that many finite numbers, floating point (N, size).

    Raises:
        ValueError: If both or neither are given, or a number is not positive.
        TypeError: If a number is not an int.

    Example:
        >>> import torch
        >>> Condition(num_classes=10).check(torch.tensor([3, 7]), rows=2)
        tensor([3, 7])
    """

    num_classes: int | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        if (self.num_classes is None) == (self.size is None):
            raise ValueError(
                "a condition is either labels (num_classes) or vectors (size): give exactly one; received "
                f"num_classes={self.num_classes} and size={self.size}"
            )
        for name, value in (("num_classes", self.num_classes), ("size", self.size)):
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"{name} must be an int; received {value!r}")
            if value < 1:
                raise ValueError(f"{name} must be positive; received {value}")

    def describe(self) -> str:
        """What has to be given, in words."""
        if self.num_classes is not None:
            return f"labels, an int64 tensor (N,) of values 0 … {self.num_classes - 1}"
        return f"vectors, a floating-point tensor (N, {self.size})"

    def check(self, condition: Tensor | None, rows: int) -> Tensor:
        """`condition` if it is what this asks for.

        Args:
            condition: What was given.
            rows: Examples it must have an entry for.

        Raises:
            ValueError: If there is none, or its shape or values are others.
            TypeError: If it is of another type.
        """
        if condition is None:
            raise ValueError(f"this model is conditional: give condition=, {self.describe()}; received None")
        if not isinstance(condition, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"condition must be {self.describe()}; received {type(condition).__name__}")
        wanted = (rows,) if self.num_classes is not None else (rows, self.size)
        if tuple(condition.shape) != wanted:
            raise ValueError(
                f"condition must be {self.describe()}, with N = {rows} examples; received shape "
                f"{tuple(condition.shape)}"
            )
        if torch.compiler.is_compiling():
            return condition
        self._check_values(condition)
        return condition

    def _check_values(self, condition: Tensor) -> None:
        if self.num_classes is None:
            if not condition.is_floating_point():
                raise TypeError(f"condition must be {self.describe()}; received {condition.dtype}: convert it to float")
            if condition.device.type == "cpu" and not bool(condition.isfinite().all()):
                raise ValueError("condition must be finite; it holds NaN or infinity: fill those in, or leave them out")
            return
        if condition.dtype != torch.int64:
            raise TypeError(f"condition must be {self.describe()}; received {condition.dtype}: convert it to int64")
        if condition.device.type != "cpu":  # a GPU would have to be waited for; it refuses labels out of range itself
            return
        low, high = (int(label) for label in torch.aminmax(condition))
        if low < 0 or high >= self.num_classes:
            raise ValueError(f"condition must be {self.describe()}; received labels from {low} to {high}")


def refuse_condition(model: Module, condition: Tensor | None) -> None:
    """Refuse a condition where the model takes none.

    Raises:
        ValueError: If one is given.
    """
    if condition is not None:
        raise ValueError(
            f"this {type(model).__name__} takes no condition, and one was given: leave condition= out, or build a "
            "model that takes one, TopDownVAE with num_classes or condition_size"
        )


def told(condition: Tensor | None) -> dict[str, Any]:
    """A condition as an argument of `walk`; nothing for None: a model that takes no condition need not name one."""
    return {} if condition is None else {"condition": condition}

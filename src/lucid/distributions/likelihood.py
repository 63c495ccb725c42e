"""What a likelihood is: how the decoder's output becomes a distribution over the data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

__all__ = ["Likelihood", "check_finite", "describe_range", "finite_range", "require"]


def finite_range(x: Tensor) -> tuple[float, float]:
    """Least and greatest value of a non-empty tensor; NaN if it holds any NaN."""
    low, high = torch.aminmax(x)
    return float(low), float(high)


def describe_range(low: float, high: float) -> str:
    """What `finite_range` found, in words."""
    return "NaN" if low != low else f"values from {low:g} to {high:g}"


def check_finite(low: float, high: float) -> None:
    """Refuse a range, as `finite_range` found it, that holds NaN or infinity."""
    require(
        abs(low) < float("inf") and abs(high) < float("inf"),
        lambda: (
            f"x must be finite; it holds {describe_range(low, high)}. Remove or impute NaN and inf "
            "before the model sees them"
        ),
    )


def require(condition: bool, message: Callable[[], str]) -> None:
    """Raise `ValueError` unless `condition` holds; the message is worked out only then."""
    if not condition:
        raise ValueError(message())


class Likelihood(nn.Module, ABC):
    """p(x|z): turns what the decoder emitted into a distribution over x, in nats per example.

    A new likelihood is one small file: it says how many numbers a feature needs (`num_parameters`), whether it is a
    mass over a declared number of levels (`levels`), which data it accepts (`check`), and how the numbers become a
    distribution (`forward`). Numbers of different kinds are concatenated along dimension 1, each block as wide as the
    data.

    Attributes:
        num_parameters: Decoder outputs per feature, so the decoder emits (N, num_parameters · C, ...) for x (N, C,
            ...); a likelihood with parameters of another count says so in `num_outputs`.
        levels: Number of values a feature can take, spread evenly over [0, 1]; None for a density.
        takes_missing: Whether NaN in x is a missing value, which is left out, and not an error.
    """

    num_parameters: int = 1
    levels: int | None = None
    takes_missing: bool = False

    def num_outputs(self, channels: int) -> int:
        """Width (dimension 1) of the decoder's output for data of that many channels (columns, for a table)."""
        return self.num_parameters * channels

    @abstractmethod
    def forward(self, params: Tensor, x: Tensor | None = None) -> Distribution:
        """The distribution over x.

        Args:
            params: What the decoder emitted, (N, num_parameters · C, ...).
            x: The observed data, (N, C, ...), where there is any. Only a likelihood that fits something to the training
                batch reads it, and only in training mode.

        Returns:
            A distribution with batch shape (N,) and event shape (C, ...), with `log_prob`, `sample` and `mean`.
        """

    def check(self, x: Tensor) -> None:
        """Refuse data this likelihood gives no probability.

        Raises:
            ValueError: If x holds NaN or infinite values, or values outside the support.
        """
        check_finite(*finite_range(x))

    def initial_params(self, x: Tensor) -> Tensor | None:
        """Decoder outputs that describe data which looks like `x` whatever z is: where a last layer may well start.

        Args:
            x: Some training data, (N, C, ...).

        Returns:
            (num_parameters · C, ...), or None where the likelihood has no opinion.
        """
        return None

"""What the sizes given to a prior or posterior must be."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lucid.distributions.flow import Univariate

__all__ = ["check_event", "check_univariate", "positive", "shape_of"]


def positive(name: str, value: int) -> int:
    """`value` if it is a positive int."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int; received {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1; received {value}")
    return value


def shape_of(name: str, shape: int | Sequence[int]) -> tuple[int, ...]:
    """A shape as a tuple of positive ints; one number stands for a vector."""
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if not sizes:
        raise ValueError(f"{name} must name at least one dimension; received {shape!r}")
    return tuple(positive(f"every size in {name}", size) for size in sizes)


def check_event(what: str, shape: tuple[int, ...], like: Tensor) -> None:
    """Refuse latents of another shape than the part was made for."""
    if like.shape[1:] != shape:
        raise ValueError(
            f"the {what} was made for latents of shape {shape}; this model's deepest latent has shape "
            f"{tuple(like.shape[1:])}. Make it with that shape"
        )


def check_univariate(univariate: Univariate) -> Univariate:
    """Refuse a univariate map that there is not."""
    if univariate not in ("affine", "spline"):
        raise ValueError(f"univariate must be 'affine' or 'spline'; received {univariate!r}")
    return univariate

"""What likelihoods over a declared number of levels ask of that number, and of the data."""

from __future__ import annotations

from torch import Tensor

from lucid.distributions.likelihood import check_finite, describe_range, finite_range, require

__all__ = ["check_grid", "valid_levels"]


def valid_levels(levels: int) -> int:
    """`levels` itself, refused unless it is an integer of at least 2."""
    require(
        isinstance(levels, int) and not isinstance(levels, bool) and levels >= 2,
        lambda: f"levels must be an integer of at least 2; received {levels!r}",
    )
    return levels


def check_grid(x: Tensor, levels: int | None) -> None:
    """Refuse values off the grid {0, 1/(levels − 1), …, 1}."""
    assert levels is not None
    scaled = x * (levels - 1)
    low, high = finite_range(x)
    check_finite(low, high)
    on_grid = low >= 0 and high <= 1 and bool(((scaled - scaled.round()).abs() < 0.02).all())
    require(
        on_grid,
        lambda: (
            f"x must lie on the {levels} levels 0, 1/{levels - 1}, …, 1; it holds {describe_range(low, high)}"
            + (" that fall between levels" if low >= 0 and high <= 1 else "")
            + f". Divide integer data by {levels - 1}, or declare its number of levels when loading it"
        ),
    )

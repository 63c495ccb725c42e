"""What the values are: whole numbers with declared levels, kept compact, or continuous; and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from lucid.data.found import listing
from lucid.models import DataProtocol

if TYPE_CHECKING:
    from lucid.data.on_disk import DiskArray

__all__ = ["Scaling", "as_tensor", "check_probabilities", "conform", "declare", "measure"]

Scaling = Literal["none", "standardise", "unit"]

X = TypeVar("X", "Tensor", "DiskArray", "Tensor | DiskArray")

_MEASURED = 1 << 17  # numbers measured at a time: as many as a processor's cache holds


def as_tensor(values: Any, what: str) -> Tensor:
    """An array or tensor as a tensor on the CPU, sharing memory where it can.

    Args:
        values: A NumPy array, a PyTorch tensor, or nested lists of numbers.
        what: What it is called in an error.

    Raises:
        TypeError: If its elements are not real numbers.
    """
    if isinstance(values, Tensor):
        if values.layout != torch.strided or values.is_quantized or values.is_meta:
            raise TypeError(
                f"{what} must be a dense tensor with values; received layout {values.layout} on {values.device}"
            )
        if values.is_complex():
            raise TypeError(f"{what} must hold real numbers; received {values.dtype}")
        return _signed(values.detach().cpu())
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{what} must have examples of one shape; NumPy says: {error}") from error
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise TypeError(
            f"{what} must hold real numbers of at most 8 bytes; received dtype {array.dtype}{_remedy(array)}"
        )
    if array.dtype == np.uint64:
        if array.size and array.max() > np.iinfo(np.int64).max:
            raise ValueError(f"{what} holds integers beyond 2^63 - 1: convert them to floating point")
        array = array.astype(np.int64)
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    return _signed(torch.from_numpy(array if array.flags.writeable else array.copy()))


def _remedy(array: np.ndarray[Any, Any]) -> str:
    if array.dtype.kind == "O":
        return " (Python objects, perhaps examples of differing shapes): give them one shape and a numeric dtype"
    return ": convert it to a numeric dtype"


def _signed(x: Tensor) -> Tensor:
    """PyTorch has few operations on its wider unsigned types."""
    wider = {torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.int64}
    return x.to(wider[x.dtype]) if x.dtype in wider else x


def _chunks(x: Tensor | DiskArray) -> Iterator[Tensor]:
    """All values; of a file a few at a time."""
    return iter((x,)) if isinstance(x, Tensor) else x.chunks()


def declare(
    x: X, levels: int | None, scaling: Scaling | None, known: int | None = None
) -> tuple[X, int | None, str | None]:
    """Values in the smallest type that holds them, and their number of levels (None: continuous).

    `levels` decides; else a `scaling` makes the data continuous; else what the source says, `known`; else bool has 2
    levels, and uint8 has 256 if it uses more than the lower half of its range. Any other integers must be declared.

    Returns:
        The values, the levels, and a note where the levels were inferred.

    Raises:
        TypeError, ValueError: If the values are not finite, off the grid of levels, or integers nobody declared.
    """
    low, high = _finite_range(x)
    if levels is not None:
        if not isinstance(levels, int) or isinstance(levels, bool):
            raise TypeError(f"levels must be an int; received {levels!r}")
        if not 2 <= levels <= 2**16:
            remedy = ". Finer numbers are best taken as continuous: leave it out" if levels > 2 else ""
            raise ValueError(f"levels must be from 2 to 65536; received {levels}{remedy}")
        if scaling not in (None, "none"):
            raise ValueError(f"levels={levels} scales the data by itself: leave scaling={scaling!r} out")
        return _on_grid(x, levels, low, high), levels, None
    if x.is_floating_point():
        return x, None, None
    if scaling is not None:
        return _smallest(x, low, high), None, None
    if known is not None:
        return _on_grid(x, known, low, high), known, None
    if x.dtype == torch.bool:
        return x.to(torch.uint8), 2, "2, inferred from bool"
    if x.dtype == torch.uint8 and high > 127:
        return x, 256, "256, inferred from uint8"
    count = max(int(high - min(low, 0)) + 1, 2)
    example = f"levels={count}" if low >= 0 else f"levels={count} after adding {-low:.0f}"
    raise ValueError(
        f"the data holds integers from {low:.0f} to {high:.0f} ({str(x.dtype).removeprefix('torch.')}) and does not "
        f"say how many levels they have. Give levels= (values are 0 to levels - 1), for instance {example}, or "
        "scaling='none' or 'standardise' to take them as continuous. Counts, for a likelihood of counts, are "
        "scaling='none'"
    )


def _finite_range(x: Tensor | DiskArray) -> tuple[float, float]:
    """Least and greatest value.

    Raises:
        ValueError: If a value is NaN or infinite.
    """
    low, high, first = np.inf, -np.inf, 0
    for chunk in _chunks(x):
        least, greatest = _range(chunk)
        if not (-np.inf < least and greatest < np.inf):
            _refuse_non_finite(chunk, first, len(x))
        low, high, first = min(low, least), max(high, greatest), first + len(chunk)
    return low, high


def _range(x: Tensor) -> tuple[float, float]:
    low, high = torch.aminmax(x.to(torch.uint8) if x.dtype == torch.bool else x)
    return float(low), float(high)


def _refuse_non_finite(x: Tensor, first: int, size: int) -> None:
    bad = ~torch.isfinite(x)
    nans, row = int(torch.isnan(x).sum()), int(bad.flatten(1).any(1).nonzero()[0])
    where = "the data holds" if len(x) == size else f"among examples {first} to {first + len(x) - 1} the data holds"
    raise ValueError(
        f"{where} {nans} NaN and {int(bad.sum()) - nans} infinite values, the first in example {first + row}: "
        "leave those examples out or fill the values in"
    )


def _on_grid(x: X, levels: int, low: float, high: float) -> X:
    """Whole numbers 0 … levels - 1 in the smallest type, or an error that says what was found."""
    off = _off_grid(x) if x.is_floating_point() else None
    if off is not None:
        if low >= 0 and high <= 1:
            remedy = f"Data scaled to [0, 1] is brought back by (x * {levels - 1}).round()"
        else:
            remedy = "Round it, or leave levels= out for continuous data"
        raise ValueError(f"levels={levels} declares whole numbers 0 to {levels - 1}; the data holds {off:g}. {remedy}")
    if low < 0 or high > levels - 1:
        raise ValueError(
            f"levels={levels} declares whole numbers 0 to {levels - 1}; the data holds values from {low:.0f} to "
            f"{high:.0f}"
        )
    return _smallest(x, low, high)


def _off_grid(x: Tensor | DiskArray) -> float | None:
    """The first value that is not a whole number."""
    for chunk in _chunks(x):
        off = chunk != chunk.round()
        if bool(off.any()):
            return float(chunk[off][0])
    return None


def _smallest(x: X, low: float, high: float) -> X:
    """The same whole numbers in the smallest type that holds them."""
    for dtype in (torch.uint8, torch.int16, torch.int32):
        bounds = torch.iinfo(dtype)
        if bounds.min <= low and high <= bounds.max:
            return x.to(dtype)
    return x.to(torch.float64)


def conform(x: X, protocol: DataProtocol, what: str) -> X:
    """Further values under a protocol that exists: the same shape and levels, or an error.

    Args:
        x: Examples (N, *shape).
        protocol: What they must fit.
        what: What they are called in an error.
    """
    if tuple(x.shape[1:]) != protocol.shape:
        raise ValueError(
            f"{what} has examples of shape {tuple(x.shape[1:])}; the protocol of {protocol.name!r} says "
            f"{protocol.shape}"
        )
    if protocol.schema:
        return x.to(torch.float64)  # the reader has checked each column
    if protocol.levels is not None:
        return _on_grid(x, protocol.levels, *_finite_range(x))
    _finite_range(x)
    if protocol.binarisation != "none":
        check_probabilities(x)
    return x.to(torch.uint8) if x.dtype == torch.bool else x


def check_probabilities(x: Tensor | DiskArray) -> None:
    """Refuse to binarise continuous values that are not probabilities."""
    low, high = _finite_range(x)
    if low < 0 or high > 1:
        raise ValueError(
            f"binarisation takes each value as the probability of a 1; the data holds values from {low:g} to "
            f"{high:g}. Bring it "
            "into [0, 1], or declare its levels="
        )


def measure(
    x: Tensor | DiskArray, rows: Tensor, scaling: Scaling, columns: tuple[str, ...]
) -> tuple[float | tuple[float, ...], float | tuple[float, ...]]:
    """Shift and scale of continuous data, measured on the training part: a pair a column of a table, else one for all.

    Args:
        x: Raw values (N, *shape) of all parts.
        rows: Which examples are for training.
        scaling: "standardise" (mean and standard deviation) or "unit" (onto [0, 1]).
        columns: Column names of a table; empty otherwise.

    Raises:
        ValueError: If the training part is constant: nothing can scale it.
    """
    found = _statistics(x, rows, by_column=bool(columns))
    shift, scale = found.mean, (found.squares / found.size).sqrt()
    if scaling == "unit":
        shift, scale = found.low, found.high - found.low
    constant = (found.high == found.low).nonzero().flatten().tolist()
    if constant and columns:
        names = listing([repr(columns[i]) for i in constant])
        raise ValueError(
            f"{'these columns are' if len(constant) > 1 else 'this column is'} constant in the training part and "
            f"cannot be scaled: {names}. Leave out what does not vary with columns="
        )
    if constant:
        raise ValueError(
            f"the training part holds only the value {float(found.low):g} and cannot be scaled; give scaling='none'"
        )
    if not bool((torch.isfinite(shift) & torch.isfinite(scale) & (scale > 0)).all()):
        raise ValueError(
            "the training part spreads too widely or too narrowly to be scaled in double precision; rescale it"
        )
    if not columns:
        return float(shift), float(scale)
    return tuple(shift.tolist()), tuple(scale.tolist())


class _Statistics(NamedTuple):
    """Of each column, float64: how many values, their mean, the sum of their squared deviations from it, the range."""

    size: int
    mean: Tensor
    squares: Tensor
    low: Tensor
    high: Tensor


def _statistics(x: Tensor | DiskArray, rows: Tensor, *, by_column: bool) -> _Statistics:
    """Of some examples, some at a time: in memory and in a file the same ones, so that the figures are equal.

    The pieces are put together as in Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for
    Computing Sample Variances" (1979).
    """
    examples = max(1, _MEASURED // max(1, x[:1].numel() if isinstance(x, Tensor) else x.numel() // len(x)))
    total: _Statistics | None = None
    for chunk in _selected(x, rows, examples):
        one = _statistics_of(chunk.reshape(len(chunk), -1) if by_column else chunk.reshape(-1))
        total = one if total is None else _together(total, one)
    assert total is not None, "a training part has examples"
    return total


def _statistics_of(x: Tensor) -> _Statistics:
    """Of each column, or of all numbers if there is one dimension; in two passes, eight times as fast as `var_mean`."""
    low, high, deviations = x.amin(0).double(), x.amax(0).double(), x.double()
    mean = deviations.mean(0)
    squares = (deviations - mean).square_().sum(0)
    return _Statistics(len(x), mean.reshape(-1), squares.reshape(-1), low.reshape(-1), high.reshape(-1))


def _together(a: _Statistics, b: _Statistics) -> _Statistics:
    size, apart = a.size + b.size, b.mean - a.mean
    mean = a.mean + apart * (b.size / size)
    squares = a.squares + b.squares + apart.square() * (a.size * (b.size / size))
    return _Statistics(size, mean, squares, torch.minimum(a.low, b.low), torch.maximum(a.high, b.high))


def _selected(x: Tensor | DiskArray, rows: Tensor, examples: int) -> Iterator[Tensor]:
    if isinstance(x, Tensor):
        return (x.index_select(0, some) for some in rows.split(examples))
    return x.chunks(rows, examples)

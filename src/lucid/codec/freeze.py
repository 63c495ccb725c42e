"""From a trained model to a codec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lucid.codec.codec import Codec, check_that_it_codes
from lucid.codec.coding.calibrate import calibrate
from lucid.codec.coding.data import to_model_space
from lucid.codec.inputs.arrays import plain
from lucid.codec.inputs.axes import axes_of, to_model_axes
from lucid.codec.inputs.grid import scale_of, to_levels
from lucid.codec.network.fixed import FixedNetwork
from lucid.codec.pinned import pinned
from lucid.data.values import as_tensor
from lucid.models import LatentModel

if TYPE_CHECKING:
    from lucid.data import Split

__all__ = ["freeze"]

_ORDER = 0
"""Seed of the order in which a split's examples are looked at."""


@pinned()
def freeze(model: LatentModel, calibration: Tensor | np.ndarray[Any, Any] | Split, *, num_examples: int = 512) -> Codec:
    """A trained model as a codec: its networks in integers, proven not to overflow, with the grids of its latents.

    Every value in the frozen networks is an integer held in float64, and every partial sum is proven to stay below
    2⁵³, where float64 is exact. So it computes the same on every machine, for any batch size, which decoding needs.

    Args:
        model: Any lucid model of discrete data: chain, ladder or top-down, whatever its modules.
        calibration: Data of the kind that will be compressed: an array as `Codec.compress` takes it, (N, ...), or a
            split of a dataset; ranges and grids are taken from it. Part of the training data is a good choice. A
            Bernoulli model takes greys in [0, 1] here too, the probabilities of its bits.
        num_examples: How many of them to look at, spread over all: at even distances in an array, and drawn from a
            split by a fixed seed.

    Returns:
        The codec.

    Raises:
        TypeError: `model` is no lucid model, or `calibration` no data.
        ValueError: The model codes continuous data, is conditional, or uses an operation without an exact form, or
            the calibration data is not of its kind; the message says what to do.
    """
    from lucid.codec.network.describe import refuse_continuous_columns
    from lucid.codec.network.trace import trace  # PyTorch's exporter takes a second to load, and opening needs none

    if not isinstance(model, LatentModel):
        raise TypeError(f"freeze takes a LatentModel, such as a VAE; received {type(model).__name__}")
    if isinstance(num_examples, bool) or not isinstance(num_examples, int) or num_examples < 1:
        raise ValueError(f"num_examples must be a whole number, 1 or more; received {num_examples!r}")
    refuse_continuous_columns(model.likelihood)
    levels, x = _seen(_examples(calibration, num_examples), model)
    traced = trace(model, x)
    network = FixedNetwork.quantise(traced.graph, traced.samples)
    layout = calibrate(network, traced.layout, levels)
    codec = Codec(network, layout, {"lucid": _version(), "model": type(model).__name__})
    check_that_it_codes(codec)  # or nobody could open it
    return codec


def _examples(calibration: Any, num_examples: int) -> Tensor:
    """Some of the examples, as they were given."""
    if isinstance(calibration, Tensor | np.ndarray):
        n = len(calibration) if calibration.ndim else 0
        chosen = np.linspace(0, n - 1, min(num_examples, n)).round().astype(np.int64)
        every = n <= num_examples
        x = as_tensor(plain(calibration if every else calibration[chosen], "calibration"), "calibration")
    elif hasattr(calibration, "batches"):
        x = next(iter(calibration.batches(num_examples, seed=_ORDER)), torch.empty(0, 1))
    else:
        raise TypeError(f"calibration must be an array or a split of a dataset; received {type(calibration).__name__}")
    if x.dim() < 2 or not len(x):
        raise ValueError(f"calibration must be (N, features, ...) with N ≥ 1; received shape {tuple(x.shape)}")
    return x


def _seen(x: Tensor, model: LatentModel) -> tuple[Tensor, Tensor]:
    """The levels of examples, and the examples as the model sees them."""
    from lucid.codec.network.trace import data_of, trace

    data = data_of(model, tuple(x.shape[1:]))
    if tuple(x.shape[1:]) != data.shape:
        x = to_model_axes(x, axes_of(x.shape, data, "calibration"))
    low, high = float(x.min()), float(x.max())
    if data.levels == 2 and x.is_floating_point() and low >= 0 and high <= 1:
        return (x >= 0.5).long(), x  # greys are the probabilities of the bits that are coded
    try:
        levels = to_levels(x.contiguous(), scale_of(low, high, x.dtype, data), data, "calibration")
    except ValueError:
        if data.levels is None and bool(x.isfinite().all()):
            trace(model, x)  # where the model is not of counts but of continuous data, it says so
        raise
    seen = to_model_space(levels.reshape(len(levels), -1).numpy(), data).masked_fill(levels < 0, torch.nan)
    return levels, seen.to(torch.float64 if x.dtype == torch.float64 else torch.float32)


def _version() -> str:
    import lucid  # for the version alone; at import time the package may still be initialising

    return lucid.__version__

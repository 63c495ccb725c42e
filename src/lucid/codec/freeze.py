"""From a trained model to a codec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lucid.codec.codec import Codec
from lucid.codec.coding.calibrate import calibrate
from lucid.codec.inputs.arrays import levels_of
from lucid.codec.layout import DataLayout
from lucid.codec.network.fixed import FixedNetwork
from lucid.models import LatentModel

if TYPE_CHECKING:
    from lucid.data import Split

__all__ = ["freeze"]


def freeze(model: LatentModel, calibration: Tensor | np.ndarray[Any, Any] | Split, *, num_examples: int = 512) -> Codec:
    """A trained model as a codec: its networks in integers, proven not to overflow, with the grids of its latents.

    Every value in the frozen networks is an integer held in float64, and every partial sum is proven to stay below
    2⁵³, where float64 is exact. So it computes the same on every machine, for any batch size, which decoding needs.

    Args:
        model: Any lucid model of discrete data: chain, ladder or top-down, whatever its modules.
        calibration: Data of the kind that will be compressed, in model space, (N, ...), or a split of a dataset; ranges
            and grids are taken from it. Part of the training data is a good choice.
        num_examples: How many of them to look at, from the first on.

    Returns:
        The codec.

    Raises:
        TypeError: `model` is no lucid model, or `calibration` no data.
        ValueError: The model codes continuous data, is conditional, or uses an operation without an exact form; the
            message says what to do.
    """
    from lucid.codec.network.trace import trace  # PyTorch's exporter takes a second to load, and opening needs none

    if not isinstance(model, LatentModel):
        raise TypeError(f"freeze takes a LatentModel, such as a VAE; received {type(model).__name__}")
    if isinstance(num_examples, bool) or not isinstance(num_examples, int) or num_examples < 1:
        raise ValueError(f"num_examples must be a whole number, 1 or more; received {num_examples!r}")
    x = _examples(calibration, num_examples)
    traced = trace(model, x)
    network = FixedNetwork.quantise(traced.graph, traced.samples)
    layout = calibrate(network, traced.layout, _levels(x, traced.layout.data))
    return Codec(network, layout, {"lucid": _version(), "model": type(model).__name__})


def _levels(x: Tensor, data: DataLayout) -> Tensor:
    """The levels of examples as the model sees them; of the greys of a model of bits, the nearer bit."""
    if data.levels == 2 and not bool(((x == 0) | (x == 1)).all()):
        return (x >= 0.5).long()
    return levels_of(x, data)[0]


def _examples(calibration: Any, num_examples: int) -> Tensor:
    """Some examples as the model sees them."""
    if isinstance(calibration, np.ndarray):
        calibration = torch.from_numpy(calibration)
    if isinstance(calibration, Tensor):
        x = calibration[:num_examples]
    elif hasattr(calibration, "batches"):
        x = next(iter(calibration.batches(num_examples)))
    else:
        raise TypeError(f"calibration must be an array or a split of a dataset; received {type(calibration).__name__}")
    if x.dim() < 2 or not len(x):
        raise ValueError(f"calibration must be (N, features, ...) with N ≥ 1; received shape {tuple(x.shape)}")
    return x


def _version() -> str:
    import lucid  # for the version alone; at import time the package may still be initialising

    return lucid.__version__

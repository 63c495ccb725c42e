"""Feature spaces: what images, or data of another kind, are turned into before samples are compared with data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lucid.evaluation.samples.efficientnet import NUM_FEATURES, SIZE, pretrained
from lucid.models import DataProtocol

__all__ = ["SPACES", "FeatureSpace", "feature_space", "features_of"]


@dataclass(frozen=True)
class FeatureSpace:
    """A map from examples to features, under the name that every figure made with it carries.

    Attributes:
        name: As figures name it.
        says: What it is, in a few words.
        map: From x in the model's space, (N, ...), to features (N, D), on any device.

    Raises:
        ValueError: If the name or `says` is empty.
        TypeError: If `map` cannot be called.

    Example:
        >>> import torch
        >>> means = FeatureSpace("channel means", "the mean of each channel", lambda x: x.mean((2, 3)))
        >>> features_of(means, torch.rand(5, 3, 8, 8)).shape
        torch.Size([5, 3])
    """

    name: str
    says: str
    map: Callable[[Tensor], Tensor]

    def __post_init__(self) -> None:
        for key in ("name", "says"):
            value = getattr(self, key)
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"{key} of a feature space must be a text that says something; received {value!r}")
        if not callable(self.map):
            raise TypeError(f"map of a feature space must take x and return features; received {self.map!r}")


SPACES = {
    "pixels": "the values that the model sees, one feature each",
    "efficientnet-lite0": (
        f"{NUM_FEATURES:,} pooled features of EfficientNet-Lite0, trained on ImageNet; images resized to {SIZE}×{SIZE} "
        "(bicubic, antialiased), grey repeated as red, green and blue, transparency laid on white"
    ),
}
"""The spaces that are known by name."""


def feature_space(features: str | FeatureSpace, protocol: DataProtocol | None = None) -> FeatureSpace:
    """A feature space by its name, or the one that is given.

    Args:
        features: "pixels", "efficientnet-lite0", or a space of your own.
        protocol: Of the data; "efficientnet-lite0" needs to know that they are images, and of which range.

    Raises:
        ValueError: If there is no space of that name, or it does not suit the data.
        ImportError: If the weights that it needs are not installed.

    Example:
        >>> feature_space("pixels").says
        'the values that the model sees, one feature each'
    """
    if isinstance(features, FeatureSpace):
        return features
    if features == "pixels":
        return FeatureSpace(features, SPACES[features], lambda x: x.flatten(1))
    if features == "efficientnet-lite0":
        _check_images(protocol)
        network = pretrained()
        return FeatureSpace(features, SPACES[features], lambda x: network.to(x.device)(_prepared(x)))
    if features == "embedding":
        raise ValueError(
            "a model is not compared with data in its own embedding: what it has not learned to see would not count "
            f"against it. Give {' or '.join(SPACES)}, or a FeatureSpace with another network"
        )
    raise ValueError(f"features must be {', '.join(SPACES)} or a lucid.evaluation.FeatureSpace; received {features!r}")


def features_of(space: FeatureSpace, x: Tensor) -> Tensor:
    """The features of some examples, (N, D), in float32 on the CPU.

    Raises:
        ValueError: If the space's map does not return a row of finite numbers for each example.
    """
    with torch.no_grad():
        found = space.map(x)
    if not isinstance(found, Tensor) or found.dim() != 2 or len(found) != len(x):
        got = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(
            f"the feature space {space.name!r} must map {len(x)} examples to ({len(x)}, D); received {got}"
        )
    if not bool(found.isfinite().all()):
        raise ValueError(
            f"the feature space {space.name!r} gave features that are not finite. A missing value has no place among "
            "pixels: complete the data first, or give a FeatureSpace of your own"
        )
    return found.float().cpu()


def _check_images(protocol: DataProtocol | None) -> None:
    if protocol is None or protocol.kind != "image" or protocol.shape[0] > 4:
        seen = "data that was not declared"
        if protocol is not None:
            seen = "images" if protocol.kind == "image" else f"data of the kind {protocol.kind},"
            seen += f" of shape {protocol.shape}"
        raise ValueError(
            f"the feature space efficientnet-lite0 is for images of 1 to 4 channels; received {seen}. Use pixels, or a "
            "FeatureSpace of your own"
        )
    if protocol.model_levels is None:
        raise ValueError(
            "the feature space efficientnet-lite0 needs images of declared levels, whose range is known; these are "
            "continuous. Load them with levels=256, or use pixels"
        )


def _prepared(x: Tensor) -> Tensor:
    """Images in the model's space, [0, 1], as the network was trained to see them: 3×224×224 in [−1, 1]."""
    x = x.float().clamp(0, 1)  # a mean of p(x|z) may lie a little outside
    if x.shape[1] in (2, 4):
        colour, alpha = x[:, :-1], x[:, -1:]
        x = colour * alpha + (1 - alpha)
    x = x.expand(-1, 3, -1, -1)
    x = F.interpolate(x, (SIZE, SIZE), mode="bicubic", antialias=True, align_corners=False)
    return 2 * x.clamp(0, 1) - 1

"""Labels as what a conditional model is told of each example."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lucid.models import LatentModel

if TYPE_CHECKING:
    from lucid.data.split import Split

__all__ = ["tells_labels"]


def tells_labels(model: LatentModel, *splits: Split) -> bool:
    """Whether the labels of these parts go to the model with their examples.

    Args:
        model: The model; it is told labels if it is conditional.
        splits: What it is to be trained or measured on; empty ones are fine.

    Raises:
        ValueError: If the model is conditional and a part has no labels, others than the model knows, or the model asks
            for vectors.

    Example:
        >>> import lucid.nn as nn
        >>> from lucid.data import load, tells_labels
        >>> from lucid.models import VAE, VAEConfig
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(64, 4)], decoders=[nn.Linear(2, 64)]))
        >>> tells_labels(model, load("digits").train)
        False
    """
    asked = model.condition
    if asked is None:
        return False
    if asked.num_classes is None:
        raise ValueError(
            f"the model is conditioned on {asked.describe()}, and a dataset gives labels alone: drive the model "
            "yourself, model.elbo(x, condition=…), or condition it on labels"
        )
    for split in splits:
        if split.size == 0:
            continue
        labels = split.required_labels()
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= asked.num_classes:
            raise ValueError(
                f"the model is conditioned on {asked.num_classes} classes, labels 0 … {asked.num_classes - 1}, and "
                f"{split.called} has labels from {low} to {high}: build the model for {high + 1} classes, or "
                "number the labels from 0"
            )
    return True

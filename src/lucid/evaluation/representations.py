"""What a model makes of its data: posterior means of one level as a matrix, with the examples they belong to."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lucid.data import Split
from lucid.evaluation.declared import protocol_of
from lucid.evaluation.examples import Batches, device_of, examples_of, length_of, name_of
from lucid.models import LatentModel, drive, evaluating
from lucid.models import means as means_of_all
from lucid.models.condition import told

__all__ = ["Representations", "represent"]

_MAX_NUMBERS = 2**28
"""Numbers of a matrix of representations: 1 GiB in float32."""


class Representations(NamedTuple):
    """Posterior means of some examples, on the CPU.

    Attributes:
        means: E_q[z|x], flattened, (N, U) float32.
        x: The examples, flattened, (N, D) float32; None where they were not asked for.
        rows: Their places in the data, (N,) int64, ascending.
        labels: Their labels, (N,) int64; None where the data has none.
        split: What the data is called.
        protocol: The data protocol in one line.
    """

    means: Tensor
    x: Tensor | None
    rows: Tensor
    labels: Tensor | None
    split: str
    protocol: str


def represent(
    model: LatentModel,
    data: Batches | Tensor,
    *,
    level: int | None = -1,
    max_examples: int | None = None,
    batch_size: int = 128,
    condition: Tensor | None = None,
    keep_x: bool = False,
) -> Representations:
    """The posterior means of a split's examples, batch by batch.

    Args:
        model: Any latent-variable model.
        data: A split of a dataset, or a tensor of model-space x, (N, ...).
        level: Which latent; the deepest by default; None means all, side by side. A posterior that depends on another
            latent is read at the mean of that.
        max_examples: At most this many, evenly spread over the data (of a stream, the first). None means all.
        batch_size: Examples encoded at once.
        condition: What a conditional model is told of each example of a tensor; a split gives its labels itself.
        keep_x: Whether to keep the examples too.

    Returns:
        The means, with labels where the data has them.

    Raises:
        ValueError: If there is no such level, no example, or the matrix would hold more than 2²⁸ numbers.
        FloatingPointError: If a mean is NaN or infinite.

    Example:
        >>> import lucid.nn as nn
        >>> from lucid.data import load
        >>> from lucid.models import VAE, VAEConfig
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(64, 4)], decoders=[nn.Linear(2, 64)]))
        >>> found = represent(model, load("digits", kind="vector").test, max_examples=100)
        >>> found.means.shape, found.labels.shape, found.split
        (torch.Size([100, 2]), torch.Size([100]), 'test')
    """
    for name, value in (("max_examples", max_examples), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1; received {value}")
    total = length_of(data)
    wanted = _rows(total, max_examples)
    protocol = protocol_of(model, data)
    device = device_of(model)
    means: list[Tensor] = []
    kept: list[Tensor] = []
    rows: list[Tensor] = []
    first = 0
    with evaluating(model):
        for x, labels in examples_of(model, data, batch_size, device, condition):
            here = (
                torch.arange(len(x))
                if wanted is None
                else wanted[(wanted >= first) & (wanted < first + len(x))] - first
            )
            if max_examples is not None:
                here = here[: max_examples - sum(map(len, rows))]
            if len(here):
                part = x[here.to(device)]
                given = None if labels is None else labels[here.to(device)]
                means.append(_means(model, part, level, given))
                rows.append(here + first)
                if keep_x:
                    kept.append(part.flatten(1).float().cpu())
                _check(means, kept, first)
            first += len(x)
            if wanted is None and max_examples is not None and sum(map(len, rows)) >= max_examples:
                break
    if not rows:
        raise ValueError("there is no example to represent")
    places = torch.cat(rows)
    known = data.labels if isinstance(data, Split) else None
    return Representations(
        means=torch.cat(means),
        x=torch.cat(kept) if keep_x else None,
        rows=places,
        labels=None if known is None else known[places],
        split=name_of(data),
        protocol="not declared" if protocol is None else protocol.describe(),
    )


def _means(model: LatentModel, x: Tensor, level: int | None, condition: Tensor | None) -> Tensor:
    if level is not None:
        return model.embed(x, level, condition=condition).flatten(1).float().cpu()
    latents = drive(model.walk(x, **told(condition)), means_of_all()).latents
    return torch.cat([latent.value.flatten(1) for latent in latents], 1).float().cpu()


def _rows(total: int | None, most: int | None) -> Tensor | None:
    """Places of the examples that are used, ascending; None where the first ones are, or all."""
    if total is None or most is None or most >= total:
        return None
    return torch.arange(most) * total // most


def _check(means: list[Tensor], kept: list[Tensor], first: int) -> None:
    if not bool(means[-1].isfinite().all()):
        raise FloatingPointError(
            f"a posterior mean is not finite in the batch that begins at example {first}; no example is left out of a "
            "figure: look at the model's weights"
        )
    numbers = sum(part.numel() for part in means) + sum(part.numel() for part in kept)
    if numbers > _MAX_NUMBERS:
        raise ValueError(
            f"the representations hold more than {_MAX_NUMBERS:,} numbers ({means[0].shape[1]:,} units an example): "
            "choose fewer examples (max_examples) or another level"
        )

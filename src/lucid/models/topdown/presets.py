"""`topdown_preset`: a `TopDownVAE` for some data, with one dial."""

from __future__ import annotations

import math

from torch import Tensor

from lucid.distributions import Likelihood, Prior
from lucid.models.condition import Condition
from lucid.models.protocol import DataProtocol
from lucid.models.topdown.config import Stage, TopDownConfig
from lucid.models.topdown.model import TopDownVAE

__all__ = ["topdown_preset"]

_LONGEST = {1: 8, 2: 16, 3: 16}
"""Most positions along the longest side of the finest stage, by size; 32 from size 4 on."""


def topdown_preset(
    protocol: DataProtocol,
    *,
    likelihood: Likelihood,
    size: int = 1,
    latents: int | None = None,
    top_prior: Prior | None = None,
    condition: Condition | None = None,
    recompute: bool = False,
    examples: Tensor | None = None,
) -> TopDownVAE:
    """A top-down model for data of any kind.

    Images and signals get a stage for each halving of their longest side down to 4 positions, and one of a single
    position above them; vectors and tables three stages of one position. The finest stage has most of the blocks, each
    coarser one half as many.

    Args:
        protocol: What the data is.
        likelihood: p(x|z).
        size: The dial, at least 1: 48 · size channels, and about 2.75 · size blocks in the finest stage. 1 teaches on a
            laptop; 8 is, for 3×32×32 images, as large as Child's model for CIFAR-10 (43 latents, 39 million
            parameters).
        latents: Channels of each latent; None means 16.
        top_prior: Prior of the deepest latent; None is N(0, I).
        condition: What the model is conditioned on; None for nothing.
        recompute: Whether activations are computed again in the backward pass in the place of being kept.
        examples: Some training data, (N, ...), at whose mean and spread the last layer then starts.

    Raises:
        ValueError: If `size` or `latents` is not a positive int.

    Example:
        >>> from lucid.distributions import DiscretisedLogistic
        >>> from lucid.models import DataProtocol
        >>> digits = DataProtocol(name="digits", kind="image", shape=(1, 8, 8), levels=17)
        >>> model = topdown_preset(digits, likelihood=DiscretisedLogistic(17))
        >>> model.depth, [stage.size for stage in model.config.stages]
        (5, [(8, 8), (4, 4), (1, 1)])
    """
    for what, value in (("size", size), ("latents", latents)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"{what} must be a positive int; received {value!r}")
    sizes = _sizes(protocol.shape[1:] or (1,), _LONGEST.get(size, 32))
    blocks, encoder_blocks = ([max(1, round(rate * size / 2**i)) for i in range(len(sizes))] for rate in (2.75, 1.75))
    stages = tuple(
        Stage(each, channels=48 * size, latents=latents or 16, blocks=b, encoder_blocks=e)
        for each, b, e in zip(sizes, blocks, encoder_blocks, strict=True)
    )
    config = TopDownConfig(
        shape=protocol.shape,
        likelihood=likelihood,
        stages=stages,
        top_prior=top_prior,
        num_classes=None if condition is None else condition.num_classes,
        condition_size=None if condition is None else condition.size,
        centred=protocol.model_levels is not None,
        recompute=recompute,
    )
    model = TopDownVAE(config)
    model.protocol = protocol
    if examples is not None:
        model.start_at(examples)
    return model


def _sizes(spatial: tuple[int, ...], longest: int) -> list[tuple[int, ...]]:
    """The sizes of the stages, finest first: halves, rounded up, down to 4 positions; then a single one."""
    if math.prod(spatial) == 1:
        return [spatial] * 3
    finest = spatial
    while max(finest) > longest:
        finest = _half(finest)
    sizes = [finest]
    while max(sizes[-1]) > 4:
        sizes.append(_half(sizes[-1]))
    return [*sizes, (1,) * len(spatial)]


def _half(size: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(-(-n // 2) for n in size)

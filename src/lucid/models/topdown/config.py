"""`TopDownConfig`: the stages of a `TopDownVAE`, checked when they are put together."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from lucid.distributions import Likelihood, Prior, TableLikelihood
from lucid.io import register
from lucid.models.condition import Condition
from lucid.models.tables import table_input
from lucid.nn import TableInput

__all__ = ["Stage", "TopDownConfig", "ratio_of"]

MAX_SPATIAL = 3
"""Spatial dimensions there are convolutions for."""


@register
@dataclass(frozen=True)
class Stage:
    """One resolution of a `TopDownVAE`.

    Args:
        size: Height and width of the features and latents, (T,) for signals, (1,) for vectors.
        channels: Channels of the features.
        latents: Channels of each latent drawn here.
        blocks: Top-down blocks, each with a latent of its own.
        encoder_blocks: Residual blocks of the bottom-up network.

    Raises:
        ValueError: If a number is not positive.
        TypeError: If a number is not an int.

    Example:
        >>> Stage(size=(8, 8), channels=32, latents=4, blocks=3).blocks
        3
    """

    size: tuple[int, ...]
    channels: int
    latents: int
    blocks: int = 1
    encoder_blocks: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(self.size))
        for number in self.size:
            _check_positive("each size of a stage", number)
        for name in ("channels", "latents", "blocks", "encoder_blocks"):
            _check_positive(f"{name} of a stage", getattr(self, name))


@register
@dataclass(frozen=True)
class TopDownConfig:
    """The parts of a `TopDownVAE`.

    Args:
        shape: Shape of one example: (C, H, W) for images, (C, T) for signals, (D,) for vectors and tables.
        likelihood: p(x|z), any of `lucid.distributions`.
        stages: The resolutions, finest first. The size of each is that of the one before, of the first that of the
            data, divided by a whole number and rounded up.
        top_prior: Prior of the deepest latent, of `lucid.distributions`; None is N(0, I).
        num_classes: Number of classes, for a model conditioned on labels.
        condition_size: Numbers in a vector, for a model conditioned on vectors.
        centred: Whether the data lies in [0, 1] and the network is to see it in [−1, 1].
        recompute: Whether activations are computed again in the backward pass in the place of being kept: memory of
            one block in the place of all, about a third more time.

    Raises:
        ValueError: If the stages do not fit the shape or each other, or both kinds of condition are given.
        TypeError: If a part is not what its field says.

    Example:
        >>> from lucid.distributions import Bernoulli
        >>> stages = (Stage((7, 7), channels=32, latents=4, blocks=2), Stage((1, 1), channels=32, latents=8))
        >>> TopDownConfig(shape=(1, 28, 28), likelihood=Bernoulli(), stages=stages).depth
        3
    """

    shape: tuple[int, ...]
    likelihood: Likelihood
    stages: tuple[Stage, ...]
    top_prior: Prior | None = None
    num_classes: int | None = None
    condition_size: int | None = None
    centred: bool = False
    recompute: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "stages", tuple(self.stages))
        self._check_shape()
        self._check_stages()
        # What the annotations promise is our promise, not our callers'.
        if not isinstance(self.likelihood, Likelihood):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"likelihood must be a lucid.distributions.Likelihood; received {self.likelihood!r}")
        if self.top_prior is not None and not isinstance(self.top_prior, Prior):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"top_prior must be a lucid.distributions.Prior, or None; received {self.top_prior!r}")
        for name in ("centred", "recompute"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False; received {getattr(self, name)!r}")
        if self.num_classes is not None or self.condition_size is not None:
            self._make_condition()

    @property
    def depth(self) -> int:
        """Number of latents: all the stages' top-down blocks."""
        return sum(stage.blocks for stage in self.stages)

    @property
    def spatial(self) -> tuple[int, ...]:
        """Spatial sizes of the data; a vector is one position with D channels."""
        return self.shape[1:] or (1,)

    @property
    def condition(self) -> Condition | None:
        """What the model is conditioned on; None for nothing."""
        if self.num_classes is None and self.condition_size is None:
            return None
        return self._make_condition()

    @property
    def read_channels(self) -> int:
        """Channels the bottom-up network reads: those of the data, or what becomes of the columns of a table."""
        reader = self.make_reader()
        return self.shape[0] if reader is None else reader.out_features

    def make_reader(self) -> TableInput | None:
        """The layer that reads the rows of a mixed table; None for all other data."""
        return table_input(self.likelihood.schema) if isinstance(self.likelihood, TableLikelihood) else None

    def stage_of(self, level: int) -> int:
        """The stage that the latent of a level belongs to, 0 the finest."""
        for number, stage in enumerate(self.stages):
            if level < stage.blocks:
                return number
            level -= stage.blocks
        raise ValueError(f"there are {self.depth} levels; asked for one beyond")

    def _make_condition(self) -> Condition:
        return Condition(self.num_classes, self.condition_size)

    def _check_shape(self) -> None:
        if not self.shape or len(self.shape) > MAX_SPATIAL + 1:
            raise ValueError(
                f"shape must be (D,), (C, T), (C, H, W) or (C, D, H, W), without the batch; received {self.shape}"
            )
        for number in self.shape:
            _check_positive("each number of shape", number)

    def _check_stages(self) -> None:
        if not self.stages:
            raise ValueError("stages must hold at least one Stage; received none")
        for stage in self.stages:
            if not isinstance(stage, Stage):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"stages must hold Stage objects; received {type(stage).__name__}")
            if len(stage.size) != len(self.spatial):
                raise ValueError(
                    f"each stage's size must have {len(self.spatial)} numbers for data of shape {self.shape}; received "
                    f"{stage.size}"
                )
        for finer, coarser in pairwise([self.spatial, *(stage.size for stage in self.stages)]):
            ratio_of(finer, coarser)


def ratio_of(finer: tuple[int, ...], coarser: tuple[int, ...]) -> tuple[int, ...]:
    """The whole numbers r with ⌈finer / r⌉ = coarser, one a dimension.

    Raises:
        ValueError: If there are none.
    """
    ratio = tuple(-(-a // b) for a, b in zip(finer, coarser, strict=True))
    if any(-(-a // r) != b for a, b, r in zip(finer, coarser, ratio, strict=True)):
        reachable = tuple(sorted({-(-a // r) for r in range(1, a + 1)}, reverse=True)[:6] for a in finer)
        raise ValueError(
            f"a stage's size is the finer one divided by a whole number and rounded up: {coarser} does not follow "
            f"{finer}. From there one reaches, largest first, {' and '.join(str(sizes) for sizes in reachable)}"
        )
    return ratio


def _check_positive(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int; received {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be positive; received {value}")

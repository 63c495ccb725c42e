"""Named presets: chains and ladders of perceptrons or convolutions, and top-down models; one dial for their size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from lucid.distributions import (
    Bernoulli,
    DiscretisedLogistic,
    Likelihood,
    OptimalScaleGaussian,
    Posterior,
    Prior,
    TableLikelihood,
)
from lucid.models.base import LatentModel
from lucid.models.condition import Condition
from lucid.models.named_parts import PosteriorMaker, PriorMaker, one_of
from lucid.models.preset_families import Asked, conv, ladder, mlp, topdown
from lucid.models.protocol import DataProtocol

__all__ = ["PRESETS", "create", "default_likelihood"]


class _Split(Protocol):
    def tensor(self, limit: int | None = None) -> Tensor: ...


class _Described(Protocol):
    """Data that says what it is, such as a `lucid.data.Dataset`."""

    @property
    def protocol(self) -> DataProtocol: ...

    @property
    def train(self) -> _Split: ...


@dataclass(frozen=True)
class Preset:
    """A family of models for any data.

    Attributes:
        make: Makes one as it was asked for.
        defaults: What it is unless told otherwise; what is not among these it does not take.
    """

    make: Callable[[Asked], LatentModel]
    defaults: Mapping[str, Any]


PRESETS: dict[str, Preset] = {
    "mlp": Preset(mlp, {"size": 2, "dropout": 0.1, "depth": 1}),
    "conv": Preset(conv, {"size": 2, "dropout": 0.1, "depth": 1}),
    "ladder": Preset(ladder, {"size": 2, "dropout": 0.1, "depth": 3}),
    "topdown": Preset(topdown, {"size": 1}),
}
"""The presets by name."""


def create(
    name: str,
    data: _Described | DataProtocol,
    *,
    size: int | None = None,
    latents: int | None = None,
    depth: int | None = None,
    dropout: float | None = None,
    likelihood: Likelihood | None = None,
    prior: Prior | PriorMaker | str | None = None,
    posterior: Posterior | Sequence[Posterior] | PosteriorMaker | str | None = None,
    condition: Condition | None = None,
    **config: Any,
) -> Any:  # the class is the name's; a narrower type would make its own methods a type error
    """A model for some data, by the name of a preset.

    Args:
        name: "mlp", residual multi-layer perceptrons for data of any shape, or "conv", residual convolutions for
            images of any size and number of channels, both a `VAE`; "ladder", a `LadderVAE`, with maps of latents for
            images; "topdown", a `TopDownVAE`.
        data: What is to be modelled: a `lucid.data.Dataset`, or its protocol. Given data, the last layer starts at
            the data's mean and spread.
        size: The dial: width 128 · size for "mlp", 8 · size channels at full resolution for "conv", 16 · size for
            "ladder", for "topdown" see `topdown_preset`. None means 2, and 1 for "topdown".
        latents: Latent units of level 0, of which each deeper level has half; channels of each level for the maps of
            "ladder" and "topdown". None means 8 · size, and for maps what the preset says.
        depth: Number of levels; None means 1, and 3 for "ladder". The stages of "topdown" follow from its size.
        dropout: Fraction of hidden units dropped in training, in [0, 1); None means 0.1. "topdown" has none.
        likelihood: p(x|z); None chooses by the data: Bernoulli for binary, discretised logistic for integer levels,
            Gaussian at the optimal scale for continuous data. A table of several kinds of columns, or with missing
            values, has a likelihood for each column, and takes no other.
        prior: p(z_{L−1}), the prior of the deepest latent: "standard", "mixture", "vamp" or "flow", what makes one
            from the latent's shape and the protocol, or the prior itself. None is N(0, I).
        posterior: Of "mlp" and "conv": "diagonal", "full" or "flow", what makes one from a latent's shape
            (`FlowPosterior` does), one for all levels, or a list. None is a diagonal Gaussian.
        condition: What the model is conditioned on; only "topdown" takes one.
        config: Further fields of `VAEConfig`, such as kl_weight or beta_schedule. With several levels, unless they are
            given, `hierarchical_kl` is False, so that β = 1 trains the bound itself, and β rises to `kl_weight` in 500
            steps, without which levels collapse.

    Raises:
        ValueError: If there is no such preset, or it does not suit the data.
        TypeError: If the preset does not take an argument.

    Example:
        >>> from lucid.models import DataProtocol, create
        >>> digits = DataProtocol(name="digits", kind="image", shape=(1, 8, 8), levels=17)
        >>> create("conv", digits).sample(2).shape
        torch.Size([2, 1, 8, 8])
        >>> ladder = create("ladder", digits, depth=2, prior="mixture")
        >>> type(ladder).__name__, ladder.depth, type(ladder.top_prior).__name__
        ('LadderVAE', 2, 'MixturePrior')
    """
    if not isinstance(data, DataProtocol) and not hasattr(data, "protocol"):
        raise TypeError(
            f"data must say what it is: a lucid.data.Dataset or its protocol; received {type(data).__name__}. "
            "lucid.data.load(...) makes one of arrays, tensors and files"
        )
    protocol = data if isinstance(data, DataProtocol) else data.protocol
    preset = PRESETS[one_of(PRESETS, name, "preset")]
    if protocol.schema and likelihood is not None and not likelihood.takes_missing:
        raise ValueError(
            f"the likelihood {type(likelihood).__name__} takes complete numbers, and {protocol.name!r} has columns of "
            "several kinds, or missing values: leave it out, and each column has a likelihood of its own kind"
        )
    dials: dict[str, Any] = {"size": size, "depth": depth, "dropout": dropout}
    for what, value in dials.items():
        if value is not None and what not in preset.defaults:
            raise TypeError(f"the preset {name} takes no {what}; received {value!r}. Leave it out")
        dials[what] = preset.defaults.get(what) if value is None else value
    asked = Asked(
        protocol=protocol,
        likelihood=likelihood or default_likelihood(protocol),
        examples=None if isinstance(data, DataProtocol) else data.train.tensor(2048),
        latents=latents,
        prior=prior,
        posterior=posterior,
        condition=condition,
        config=config,
        **dials,
    )
    model = preset.make(asked)
    model.protocol = protocol
    return model


def default_likelihood(protocol: DataProtocol) -> Likelihood:
    """The likelihood that suits data of a protocol."""
    if protocol.schema:
        return TableLikelihood(protocol.schema)
    levels = protocol.model_levels
    if levels is None:
        return OptimalScaleGaussian()
    return Bernoulli() if levels == 2 else DiscretisedLogistic(levels)

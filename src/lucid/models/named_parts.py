"""Priors and posteriors by name, sized by the latents and the data they are for."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Sequence

from torch import Tensor

from lucid.distributions import (
    DiagonalPosterior,
    FlowPosterior,
    FlowPrior,
    FullCovariancePosterior,
    MixturePrior,
    Posterior,
    Prior,
    StandardNormalPrior,
    VampPrior,
)
from lucid.models.protocol import DataProtocol

__all__ = ["POSTERIORS", "PRIORS", "PosteriorMaker", "PriorMaker", "level_posteriors", "one_of", "top_prior"]

Shape = tuple[int, ...]
PosteriorMaker = Callable[[Shape], Posterior]
"""From the shape of one latent, without the batch, to its posterior; `FlowPosterior` itself is one."""
PriorMaker = Callable[[Shape, DataProtocol], Prior]
"""From the shape of one latent and what the data is to the latent's prior."""


def _standard(_shape: Shape, _protocol: DataProtocol) -> Prior:
    return StandardNormalPrior()


def _mixture(shape: Shape, _protocol: DataProtocol, *, components: int = 100) -> Prior:
    return MixturePrior(shape, components)


def _vamp(_shape: Shape, protocol: DataProtocol, *, components: int = 100) -> Prior:
    if protocol.schema:
        raise ValueError(
            "the prior vamp learns examples, and between two categories, or a value and a missing one, there is "
            "nothing to learn: for a table of several kinds of columns, or with missing values, choose mixture or flow"
        )
    # The paper has 500 pseudo-inputs; each is encoded at each step.
    return VampPrior(protocol.shape, components, unit_interval=protocol.model_levels is not None)


def _flow(
    shape: Shape, _protocol: DataProtocol, *, transforms: int = 3, passes: int | None = None, hidden: int = 64
) -> Prior:
    return FlowPrior(shape, transforms, passes=passes, hidden=hidden)


def _diagonal(_shape: Shape) -> Posterior:
    return DiagonalPosterior()


def _full(_shape: Shape) -> Posterior:
    return FullCovariancePosterior()


def _flow_posterior(
    shape: Shape, *, context: int = 16, transforms: int = 2, passes: int | None = None, hidden: int = 64
) -> Posterior:
    return FlowPosterior(shape, context, transforms, passes=passes, hidden=hidden)


PRIORS: dict[str, Callable[..., Prior]] = {
    "standard": _standard,
    "mixture": _mixture,
    "vamp": _vamp,
    "flow": _flow,
}
"""Priors of the deepest latent by name: `PriorMaker`s, which also take the prior's own settings by keyword."""

POSTERIORS: dict[str, Callable[..., Posterior]] = {"diagonal": _diagonal, "full": _full, "flow": _flow_posterior}
"""Posteriors by name: `PosteriorMaker`s, which also take the posterior's own settings by keyword."""


def top_prior(prior: Prior | PriorMaker | str, shape: Shape, protocol: DataProtocol, x: Tensor | None) -> Prior:
    """The prior of a latent, begun where the data is.

    Args:
        prior: The prior itself, what makes it, or its name.
        shape: Of the latent, without the batch.
        protocol: What the data is.
        x: Some training data, at which pseudo-inputs then start; None leaves them random.
    """
    if isinstance(prior, Prior):
        return prior
    made = (PRIORS[one_of(PRIORS, prior, "prior")] if isinstance(prior, str) else prior)(shape, protocol)
    if isinstance(made, VampPrior) and x is not None:
        made.start(x)
    return made


def level_posteriors(
    posterior: Posterior | Sequence[Posterior] | PosteriorMaker | str | None, shapes: Sequence[Shape]
) -> list[Posterior] | None:
    """One posterior for each level; None where none was asked for.

    Args:
        posterior: One for all levels, one for each, what makes one, or its name.
        shapes: Of the latents, without the batch, indexed by level.
    """
    if posterior is None:
        return None
    if isinstance(posterior, Posterior):
        return [posterior] * len(shapes)
    if isinstance(posterior, Sequence) and not isinstance(posterior, str):
        return list(posterior)
    if isinstance(posterior, str):
        posterior = POSTERIORS[one_of(POSTERIORS, posterior, "posterior")]
    return [posterior(shape) for shape in shapes]


def one_of(known: Collection[str], name: str, what: str) -> str:
    """`name`, if it is known; `ValueError` with the nearest one, or all, otherwise."""
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
        raise ValueError(f"there is no {what} {name!r}; {hint}")
    return name

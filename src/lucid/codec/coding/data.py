"""The data: which code each likelihood has, and how levels become what the model sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lucid.codec.coding.bits import BernoulliCode
from lucid.codec.coding.categorical import categorical_code
from lucid.codec.coding.code import Code, Parameters, Run, TransposedCode
from lucid.codec.coding.count_masses import CountMasses, NegativeBinomialMasses, PoissonMasses
from lucid.codec.coding.counts import counts_code, zero_inflated_code
from lucid.codec.coding.exact import Flags, Floats, exp
from lucid.codec.coding.logistic import CutEdges, LogisticEdges, halving_code
from lucid.codec.coding.logistic_mixture import MixtureNumbers, mixture_code
from lucid.codec.layout import DataLayout, Described

__all__ = ["LIKELIHOODS", "data_code", "to_model_space"]

_LOG_SCALE = 30.0


def data_code(run: Run, described: Described, rows: int, keep: Flags | None = None) -> Code:
    """The code of levels under p(x|z).

    Args:
        run: An evaluation of the network.
        described: The likelihood.
        rows: Examples n.
        keep: Which elements of all examples, flattened, are coded; None means all.

    Returns:
        A code of the flattened levels of those elements.
    """
    return LIKELIHOODS[described.kind](Parameters(run, described, rows), keep)


def _bernoulli(of: Parameters, keep: Flags | None) -> Code:
    return BernoulliCode(of.elements("logits", keep))


def _logistic(of: Parameters, keep: Flags | None) -> Code:
    inverse_scale = _inverse_scale(of.elements("log_scale", keep))
    return halving_code(LogisticEdges(of.elements("loc", keep), inverse_scale, int(of.settings["levels"])))


def _logistic_mixture(of: Parameters, keep: Flags | None) -> Code:
    assert keep is None, "the channels of a position are coded together"
    loc = of["loc"]  # (n, K, C, G, *places); x has its groups before the channels of each
    n, _, channels, groups = loc.shape[:4]

    def positions_last(x: Floats) -> Floats:
        return np.moveaxis(x, 0, 2).reshape(*x.shape[1:3], -1)

    code = mixture_code(
        MixtureNumbers(
            of.rows_of("logits"),
            positions_last(loc),
            _inverse_scale(positions_last(of["log_scale"])),
            positions_last(of["coefficients"]) if "coefficients" in of else None,
            int(of.settings["levels"]),
        )
    )
    return TransposedCode(code, (n, groups, channels, int(np.prod(loc.shape[4:]))), (0, 1, 3, 2))


def _categorical(of: Parameters, keep: Flags | None) -> Code:
    return categorical_code(of.rows_of("logits", keep))


def _ordered(of: Parameters, keep: Flags | None) -> Code:
    shape = of["loc"].shape[1:]
    cutpoints = of.constant("cutpoints")
    cutpoints = np.broadcast_to(cutpoints, (*shape, cutpoints.shape[-1])).reshape(-1, cutpoints.shape[-1])
    feature = np.tile(np.arange(len(cutpoints)), of.rows)
    return halving_code(CutEdges(of.elements("loc", keep), cutpoints, feature if keep is None else feature[keep]))


def _counts(of: Parameters, keep: Flags | None) -> Code:
    return counts_code(_count_masses(of, keep))


def _zero_inflated(of: Parameters, keep: Flags | None) -> Code:
    return zero_inflated_code(of.elements("logits", keep), _count_masses(of.part(0), keep))


def _count_masses(of: Parameters, keep: Flags | None) -> CountMasses:
    if of.kind == "poisson":
        return PoissonMasses(of.elements("log_rate", keep))
    return NegativeBinomialMasses(of.elements("log_mean", keep), of.elements("log_concentration", keep))


def _inverse_scale(log_scale: Floats) -> Floats:
    return exp(-np.clip(log_scale, -_LOG_SCALE, _LOG_SCALE))


LIKELIHOODS: Mapping[str, Callable[[Parameters, Flags | None], Code]] = {
    "bernoulli": _bernoulli,
    "categorical": _categorical,
    "logistic": _logistic,
    "logistic_mixture": _logistic_mixture,
    "negative_binomial": _counts,
    "ordered": _ordered,
    "poisson": _counts,
    "zero_inflated": _zero_inflated,
}
"""From the kind of a likelihood to the code of levels under it. A table is made of these, see `table.py`."""


def to_model_space(levels: NDArray[np.integer], data: DataLayout) -> Tensor:
    """Flattened levels, (n, numbers of an example), as the numbers a model sees, (n, *shape), float64."""
    values = levels.astype(np.float64)
    if data.levels is not None and data.levels > 2:
        values /= data.levels - 1
    return torch.from_numpy(values).reshape(len(levels), *data.shape)

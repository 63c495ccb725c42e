"""How a level's KL is spread over its units, as figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lucid.evaluation.declared import protocol_of
from lucid.evaluation.examples import Batches, device_of, examples_of, name_of
from lucid.evaluation.figure import Figure
from lucid.evaluation.latents import UnitStatistics, unit_statistics
from lucid.models import LatentModel

__all__ = ["unit_figures"]

_MOST = 0.9
_LISTED = 100


def unit_figures(
    model: LatentModel,
    data: Batches | Tensor,
    *,
    num_samples: int = 10,
    batch_size: int = 128,
    seed: int = 0,
    split: str | None = None,
    condition: Tensor | None = None,
) -> list[Figure]:
    """How many units carry nine tenths of each level's KL, with what each unit costs.

    Args:
        model: Any latent-variable model.
        data: A split of a dataset, or a tensor of model-space x, (N, ...).
        num_samples: Posterior draws per example; at least 2 for several levels.
        batch_size: Examples encoded at once.
        seed: Of the draws.
        split: What to call the data. None means the name of the split, or "tensor".
        condition: What a conditional model is told of each example of a tensor; a split gives its labels itself.

    Returns:
        One figure a level whose densities split into units, with the KL and the variance over x of the posterior mean
        of its most expensive units in `details`. Levels with a flow or a mixture, whose KL belongs to no unit, have
        none.

    Raises:
        ValueError: If a setting is out of range.

    Example:
        >>> import lucid.nn as nn, torch
        >>> from lucid.models import VAE, VAEConfig
        >>> model = VAE(VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)]))
        >>> found = unit_figures(model, torch.randn(50, 6))
        >>> found[0].name, len(found[0].details["kl"])
        ('units that carry 90 % of the KL', 2)
    """
    if num_samples < (2 if model.depth > 1 else 1):
        raise ValueError(f"num_samples must be at least 2 for several levels, else 1; received {num_samples}")
    protocol = protocol_of(model, data)
    batches = examples_of(model, data, batch_size, device_of(model), condition)
    levels = unit_statistics(model, batches, num_samples=num_samples, seed=seed)
    shared = {
        "split": split or name_of(data),
        "protocol": "not declared" if protocol is None else protocol.describe(),
        "seed": seed,
        "num_samples": num_samples,
    }
    return [
        _figure(units, units.kl, f", level {level}" if len(levels) > 1 else "", shared)
        for level, units in enumerate(levels)
        if units.kl is not None
    ]


def _figure(units: UnitStatistics, kl: Tensor, suffix: str, shared: Mapping[str, Any]) -> Figure:
    greatest, order = kl.sort(descending=True)
    carried = greatest.clamp(min=0).cumsum(0)
    enough = int((carried < _MOST * carried[-1]).sum()) + 1 if float(carried[-1]) > 0 else 0
    listed = order[:_LISTED]
    return Figure(
        name=f"units that carry 90 % of the KL{suffix}",
        value=enough,
        standard_error=None,
        unit="units",
        estimator="KL of each unit, in closed form where it is one, averaged over draws and examples",
        num_examples=units.num_examples,
        meaning=_meaning(enough, len(kl)),
        details={
            "of": len(kl),
            "unit": listed.tolist(),
            "kl": kl[listed].tolist(),
            "variance_of_mean": units.variance[listed].tolist(),
        },
        **shared,
    )


def _meaning(enough: int, units: int) -> str:
    if enough == 0:
        return f"the level costs nothing: all {units} units are idle"
    if enough == units:
        return "all there are: none can be spared"
    return f"of {units}; the other {units - enough} carry less than a tenth of the KL together"

"""The figures of the bounds: ELBO, rate and distortion, units, importance-weighted bounds, bits/dim."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lucid.evaluation.convergence import gap_left, unsettled
from lucid.evaluation.figure import Figure
from lucid.evaluation.found import Found
from lucid.evaluation.latents import ACTIVE_THRESHOLD, UnitStatistics
from lucid.evaluation.moments import Moments

__all__ = ["bound_figures", "of_level"]

_NATS = "nats per example"
_OVER_EXAMPLES = "standard error over examples"


def bound_figures(
    found: Found,
    elbo_samples: int,
    units: Sequence[UnitStatistics],
    features: int | None,
    about: Mapping[str, Any],
) -> tuple[Figure, ...]:
    """Everything that was found, each figure with its estimator.

    Args:
        found: The moments.
        elbo_samples: Draws per example of the ELBO and its parts.
        units: Of each level.
        features: Numbers in one example, where bits/dim mean something.
        about: What all figures share: `num_examples`, `seed`, `split`, `protocol`.
    """
    shared = {**about, "num_samples": elbo_samples, "unit": _NATS}
    figures = [
        _mean("ELBO", found.elbo, "ELBO", "lower bound on log p(x), β = 1; larger is better", shared),
        _mean(
            "reconstruction",
            found.reconstruction,
            "E_q[−log p(x|z)]",
            "the distortion D: what x still costs once z is known",
            shared,
        ),
        _mean("rate", found.rate, "E_q[log q/p], closed form where it is one", "R: what all latents cost", shared),
    ]
    figures += [
        *_level_figures(found, units, elbo_samples, about),
        *_importance_figures(found, features, about),
    ]
    left = gap_left(found, about)
    return tuple(figures if left is None else [*figures, left])


def of_level(name: str, level: int, depth: int) -> str:
    """The name of a figure that every level has: the level is named where there are several."""
    return f"{name}, level {level}" if depth > 1 else name


def _level_figures(
    found: Found, units: Sequence[UnitStatistics], elbo_samples: int, about: Mapping[str, Any]
) -> list[Figure]:
    shared = {**about, "num_samples": elbo_samples, "unit": _NATS}
    figures: list[Figure] = []
    for level, (kl, statistics) in enumerate(zip(found.kl, units, strict=True)):
        meaning = "what the latent of this level costs; near 0 it has collapsed"
        figures.append(_mean(of_level("KL", level, len(units)), kl, "E_q[log q/p]", meaning, shared))
        figures.append(
            Figure(
                name=of_level("active units", level, len(units)),
                value=statistics.num_active,
                standard_error=None,
                estimator=f"Var over x of E_q[z] above {ACTIVE_THRESHOLD}, noise of the draws subtracted",
                meaning="units whose posterior mean moves with x",
                details={"of": statistics.variance.numel()},
                unit="units",
                num_samples=elbo_samples,
                **about,
            )
        )
    return figures


def _importance_figures(found: Found, features: int | None, about: Mapping[str, Any]) -> list[Figure]:
    figures: list[Figure] = []
    for k, bound, effective in zip(found.counts, found.importance, found.effective, strict=True):
        shared = {**about, "num_samples": k, "unit": _NATS}
        details = {"effective_sample_size": float(effective.mean)}
        meaning = "lower bound on log p(x) that tightens with k" if k > 1 else "the ELBO without its closed-form KL"
        figure = _mean(f"log-likelihood, k = {k:,}", bound, f"IW-{k}", meaning, shared, details)
        figures.append(replace(figure, warning=unsettled(found)))
        figures.append(
            _mean(
                f"effective sample size, k = {k:,}",
                effective,
                "(Σw)²/Σw² of the importance weights",
                "draws that carry the bound; near 1 one of them decides",
                {**shared, "unit": "draws"},
            )
        )
    if features is not None:
        k, bound, scale = found.counts[-1], found.importance[-1], features * math.log(2)
        figures.append(
            Figure(
                **about,
                name="bits/dim",
                value=-float(bound.mean) / scale,
                standard_error=float(bound.standard_error) / scale,
                unit="bits per dimension",
                estimator=f"−IW-{k} / (D ln 2), D = {features:,}; {_OVER_EXAMPLES}",
                num_samples=k,
                meaning="what one number of x costs; smaller is better",
            )
        )
    return figures


def _mean(
    name: str,
    moments: Moments,
    estimator: str,
    meaning: str,
    shared: Mapping[str, Any],
    details: Mapping[str, Any] | None = None,
) -> Figure:
    return Figure(
        name=name,
        value=float(moments.mean),
        standard_error=float(moments.standard_error),
        estimator=f"{estimator}; {_OVER_EXAMPLES}",
        meaning=meaning,
        details=details or {},
        **shared,
    )

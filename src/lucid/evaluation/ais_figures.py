"""The figures of annealed importance sampling: on a part of the data, and, sandwiched, on the model's own examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lucid.evaluation.ais import Annealed, Sandwich, annealed, sandwiched
from lucid.evaluation.annealing import Annealing
from lucid.evaluation.declared import protocol_of
from lucid.evaluation.examples import Batches, device_of, name_of, some_examples
from lucid.evaluation.figure import Figure
from lucid.evaluation.moments import Moments
from lucid.evaluation.sharing import Team
from lucid.models import LatentModel, evaluating, importance_weighted

__all__ = ["ais_figures"]

_LEAST_ACCEPTANCE = 0.4
_NEW_EXAMPLES = "other examples for each seed, so that an error over seeds contains that over examples"
_LEAST_STEP = 0.02
_LARGEST_GAP = 1.0  # nats


def ais_figures(
    model: LatentModel,
    data: Batches | Tensor,
    num_examples: int = 100,
    annealing: Annealing | None = None,
    *,
    importance_samples: int | None = None,
    split: str | None = None,
    condition: Tensor | None = None,
    tell: Callable[[int, int], None] | None = None,
    workers: int = 1,
    team: Team | None = None,
) -> list[Figure]:
    """log p(x) of some examples by annealed importance sampling, and how far that can be trusted.

    The bound on the data is one from below. How much may be missing is measured on as many examples that the model has
    made itself, where chains from the exact posterior draw give a bound from above too: the gap between the two is, in
    expectation, at least the error of the bound from below there. That carries over as far as the model's examples are
    like the data (Wu et al. 2017 check this).

    Args:
        model: Any latent-variable model.
        data: A split of a dataset, or a tensor of model-space x.
        num_examples: How many examples, evenly spread over the data, and how many simulated ones; at least 2.
        annealing: How; None means `Annealing()`.
        importance_samples: Draws of the importance-weighted bound on the same examples, for a paired difference; None
            leaves it out.
        split: What to call the data. None means the name of the split, or "tensor".
        condition: What a conditional model is told of each example of a tensor; a split gives its labels itself.
        tell: Called as `tell(examples done, examples in total)`, over data and simulated examples.
        workers: How many processes of this machine share the examples, as for `evaluate`; the figures are the same.
        team: The processes that torchrun has started, instead; each is given the figures.

    Returns:
        "AIS log-likelihood", "AIS − IW-k" where asked for, "AIS simulated, lower" and "upper", and "BDMC gap".

    Raises:
        ValueError: If there are fewer than two examples.
        FloatingPointError: If an estimate is NaN or infinite.
    """
    how = annealing or Annealing()
    protocol = protocol_of(model, data)
    x, told = some_examples(model, data, num_examples, device_of(model), condition)
    if len(x) < 2:
        raise ValueError(f"a standard error over examples needs at least 2 of them; received {len(x)}")
    both = 2 * len(x)
    found = annealed(model, x, how, condition=told, tell=_onwards(tell, 0, both), workers=workers, team=team)
    sandwich = sandwiched(
        model, len(x), how, condition=told, tell=_onwards(tell, len(x), both), workers=workers, team=team
    )
    about = {
        "num_samples": how.num_chains,
        "seed": how.seed,
        "split": f"{split or name_of(data)}, {len(x):,} examples",
        "num_examples": len(x),
        "protocol": "not declared" if protocol is None else protocol.describe(),
        "details": {"chains": how.num_chains, "steps": how.num_steps, "leapfrogs": how.leapfrogs, "start": how.start},
    }
    figures = [_on_data(found, sandwich, how, about)]
    if importance_samples is not None:
        figures.append(_against_importance(model, x, told, found, importance_samples, how, about))
    simulated = {**about, "split": f"{len(x):,} examples drawn from the model"}
    return [*figures, *_simulated(sandwich, how, simulated)]


def _on_data(found: Annealed, sandwich: Sandwich, how: Annealing, about: Mapping[str, Any]) -> Figure:
    value, error = _mean(found.log_likelihood)
    gap, acceptance = _mean(sandwich.gap)[0], float(found.acceptance.mean())
    why: list[str] = []
    if gap > min(error, _LARGEST_GAP):
        why.append(
            f"it may be {gap:.2g} nats too small, the BDMC gap: take several times the steps of β, or begin at the "
            "posterior; where that does not shrink the gap, the chains do not reach the posterior, and the gap is all "
            "that is known"
        )
    if acceptance < _LEAST_ACCEPTANCE:
        why.append(f"transitions were accepted with probability {acceptance:.2f} only: take more steps of β")
    step = float(found.step_size.mean())
    if step < _LEAST_STEP:
        why.append(
            f"a step of HMC is {step:.2g} of the width of the density, so that transitions hardly move, however many "
            "are accepted: more steps of β will help little; more leapfrog steps move further"
        )
    effective = float(found.effective_sample_size.mean())
    details = {**about["details"], "effective_sample_size": effective, "acceptance": acceptance, "step_size": step}
    figure = Figure(
        name="AIS log-likelihood",
        value=value,
        standard_error=error,
        unit="nats per example",
        estimator=f"{how.describe()}; standard error over examples",
        meaning="log p(x) of some examples, from below; the BDMC gap says how much may be missing; "
        + _amount(how, found),
        warning="; ".join(why) or None,
        **about,
    )
    return replace(figure, details=details)


def _against_importance(
    model: LatentModel,
    x: Tensor,
    condition: Tensor | None,
    found: Annealed,
    num_samples: int,
    how: Annealing,
    about: Mapping[str, Any],
) -> Figure:
    generator = torch.Generator(x.device).manual_seed(how.seed)
    with evaluating(model):
        bound = importance_weighted(model, x, [num_samples], generator, how.max_rows, condition)[0]
    value, error = _mean(found.log_likelihood - bound.per_example)
    warning = None
    if value > 2 * error and value > 0.1:
        warning = f"the IW-{num_samples} bound misses about {value:.2g} nats that AIS finds on the same examples"
    return Figure(
        name=f"AIS − IW, k = {num_samples:,}",
        value=value,
        standard_error=error,
        unit="nats per example",
        estimator=f"{how.describe()}, less IW-{num_samples} on the same examples; paired standard error",
        meaning=f"above 0: what the importance-weighted bound misses; below: what AIS does; {_amount(how, found)}",
        warning=warning,
        **about,
    )


def _simulated(sandwich: Sandwich, how: Annealing, about: Mapping[str, Any]) -> list[Figure]:
    ways = {
        "AIS simulated, lower": (sandwich.lower, "chains from β = 0 to the posterior", "log p(x), from below"),
        "AIS simulated, upper": (sandwich.upper, "chains from an exact posterior draw", "log p(x), from above"),
        "BDMC gap": (sandwich.gap, "upper − lower", "at least the error of AIS on examples of the model's own"),
    }
    return [
        Figure(
            name=name,
            value=_mean(per_example)[0],
            standard_error=_mean(per_example)[1],
            unit="nats per example",
            estimator=f"{how.describe()}; {way}; {_NEW_EXAMPLES}; standard error over examples",
            meaning=f"{meaning}; {_amount(how, sandwich)}",
            **about,
        )
        for name, (per_example, way, meaning) in ways.items()
    ]


def _amount(how: Annealing, found: Annealed | Sandwich) -> str:
    return f"{how.num_chains:,} chains, {how.num_steps:,} steps, {len(found.acceptance):,} examples"


def _mean(per_example: Tensor) -> tuple[float, float]:
    moments = Moments()
    moments.add(per_example)
    return float(moments.mean), float(moments.standard_error)


def _onwards(tell: Callable[[int, int], None] | None, before: int, total: int) -> Callable[[int, int], None] | None:
    return None if tell is None else lambda done, _: tell(before + done, total)

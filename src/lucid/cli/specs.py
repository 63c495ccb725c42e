"""Parts of a model named on the command line: `linear:steps=2000`, `gaussian:scale=0.1`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from lucid import distributions, objectives
from lucid.cli.errors import UsageError, as_usage
from lucid.distributions import Likelihood
from lucid.models import DataProtocol
from lucid.objectives import Schedule

__all__ = ["make_likelihood", "make_schedule"]

_LIKELIHOODS: dict[str, type[Likelihood]] = {
    "bernoulli": distributions.Bernoulli,
    "gaussian": distributions.Gaussian,
    "learned-scale-gaussian": distributions.LearnedScaleGaussian,
    "heteroscedastic-gaussian": distributions.HeteroscedasticGaussian,
    "optimal-scale-gaussian": distributions.OptimalScaleGaussian,
    "discretised-logistic": distributions.DiscretisedLogistic,
    "categorical": distributions.Categorical,
}

_SCHEDULES: dict[str, type[Schedule]] = {
    "constant": objectives.Constant,
    "linear": objectives.Linear,
    "cosine": objectives.Cosine,
    "sigmoid": objectives.Sigmoid,
    "cyclical": objectives.Cyclical,
}


def make_likelihood(spec: str, protocol: DataProtocol) -> Likelihood:
    """A likelihood from its specification; `levels` is the data's unless it is given."""
    name, settings = _parse(spec, _LIKELIHOODS, "likelihood")
    if "levels" in inspect.signature(_LIKELIHOODS[name]).parameters and "levels" not in settings:
        if protocol.model_levels is None:
            raise UsageError(f"the likelihood {name} is for data of declared levels; {protocol.name} is continuous")
        settings["levels"] = protocol.model_levels
    return _make(_LIKELIHOODS[name], settings, spec)


def make_schedule(spec: str) -> Schedule:
    """A β schedule from its specification."""
    name, settings = _parse(spec, _SCHEDULES, "schedule")
    return _make(_SCHEDULES[name], settings, spec)


def _parse(spec: str, known: Mapping[str, Any], what: str) -> tuple[str, dict[str, float]]:
    name, _, rest = spec.partition(":")
    if name not in known:
        raise UsageError(f"there is no {what} {name!r}; there are {', '.join(known)}")
    settings: dict[str, float] = {}
    for item in filter(None, rest.split(",")):
        key, equals, value = item.partition("=")
        if not equals:
            raise UsageError(f"{item!r} in {spec!r} must be setting=number, for example {name}:steps=1000")
        settings[key.strip()] = _number(value, spec)
    return name, settings


def _number(text: str, spec: str) -> float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"{text!r} in {spec!r} is not a number") from error


def _make(kind: Any, settings: Mapping[str, float], spec: str) -> Any:
    # A class without an __init__ of its own shows that of its base, (*args, **kwargs): it takes nothing.
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = {key: p for key, p in inspect.signature(kind).parameters.items() if p.kind in named}
    for key in settings:
        if key not in known:
            takes = ", ".join(known) or "no settings"
            raise UsageError(f"{spec!r}: there is no setting {key!r}; it takes {takes}")
    missing = [key for key, p in known.items() if p.default is p.empty and key not in settings]
    if missing:
        raise UsageError(f"{spec!r} needs {', '.join(missing)}, for example {spec.split(':')[0]}:{missing[0]}=1000")
    with as_usage():
        return kind(**settings)

"""Parts of a model named on the command line: `linear:steps=2000`, `gaussian:scale=0.1`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from lucid import distributions, objectives
from lucid.cli.errors import UsageError, as_usage
from lucid.distributions import Likelihood
from lucid.models import POSTERIORS, PRIORS, DataProtocol, LatentModel, PosteriorMaker, PriorMaker
from lucid.objectives import Objective, Schedule, objective_of

__all__ = ["make_likelihood", "make_objective", "make_posterior", "make_prior", "make_schedule"]

_LIKELIHOODS: dict[str, type[Likelihood]] = {
    "bernoulli": distributions.Bernoulli,
    "gaussian": distributions.Gaussian,
    "learned-scale-gaussian": distributions.LearnedScaleGaussian,
    "heteroscedastic-gaussian": distributions.HeteroscedasticGaussian,
    "optimal-scale-gaussian": distributions.OptimalScaleGaussian,
    "discretised-logistic": distributions.DiscretisedLogistic,
    "categorical": distributions.Categorical,
    "ordered-logistic": distributions.OrderedLogistic,
    "mixture-of-logistics": distributions.MixtureOfLogistics,
    "laplace": distributions.Laplace,
    "student-t": distributions.StudentT,
    "poisson": distributions.Poisson,
    "negative-binomial": distributions.NegativeBinomial,
    "zero-inflated-negative-binomial": distributions.ZeroInflatedNegativeBinomial,
}

_SCHEDULES: dict[str, type[Schedule]] = {
    "constant": objectives.Constant,
    "linear": objectives.Linear,
    "cosine": objectives.Cosine,
    "sigmoid": objectives.Sigmoid,
    "cyclical": objectives.Cyclical,
}


def make_likelihood(spec: str, protocol: DataProtocol) -> Likelihood:
    """A likelihood from its specification; what it must know of the data is the data's unless it is given."""
    name, settings = _parse(spec, _LIKELIHOODS, "likelihood")
    takes = inspect.signature(_LIKELIHOODS[name]).parameters
    if "levels" in takes and "levels" not in settings:
        if protocol.model_levels is None:
            raise UsageError(f"the likelihood {name} is for data of declared levels; {protocol.name} is continuous")
        settings["levels"] = protocol.model_levels
    # The channels of a position share a mixture; the columns of a table have nothing to share.
    shared = protocol.kind in ("image", "series")
    states = {"channels": protocol.shape[0] if shared else 1, "features": 1 if shared else protocol.shape[0]}
    known = {key: value for key, value in states.items() if key in takes}
    return _make(_LIKELIHOODS[name], {**known, **settings}, spec)


def _capacity(nats: float, steps: int, gamma: float = 100.0) -> objectives.Capacity:
    return objectives.Capacity(objectives.Linear(steps, end=nats), gamma=gamma)


def _beta_tc(
    num_examples: int, beta: float = 6.0, information: float = 1.0, margins: float = 1.0, stratified: bool = True
) -> objectives.BetaTC:
    return objectives.BetaTC(num_examples, beta, information=information, margins=margins, stratified=bool(stratified))


_OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "elbo": objectives.ELBO,
    "free-bits": objectives.FreeBits,
    "kl-balancing": objectives.KLBalancing,
    "geco": objectives.GECO,
    "capacity": _capacity,
    "iwae": objectives.IWAE,
    "dreg": objectives.DReG,
    "miwae": objectives.MIWAE,
    "ciwae": objectives.CIWAE,
    "beta-tc": _beta_tc,
    "info-vae": objectives.InfoVAE,
}


def make_objective(spec: str, model: LatentModel, num_examples: int | None) -> Objective:
    """An objective from its specification.

    β is what the model's configuration states (`--kl-weight`, `--beta-schedule`), where the objective has one.

    Args:
        spec: `name:setting=value,…`.
        model: What is to be trained.
        num_examples: The size of the training data, for an objective that asks for it; None if it is not known.
    """
    name, settings = _parse(spec, _OBJECTIVES, "objective")
    stated = objective_of(model)
    takes = inspect.signature(_OBJECTIVES[name]).parameters
    states: dict[str, Any] = {"schedule": stated.schedule, "spread": stated.spread}
    if name == "kl-balancing" and isinstance(stated.schedule, objectives.Constant):
        raise UsageError("kl-balancing works while β warms up: give --beta-schedule too, such as linear:steps=10000")
    if num_examples is not None:
        states["num_examples"] = num_examples
    known = {key: value for key, value in states.items() if key in takes}
    return _make(_OBJECTIVES[name], {**known, **settings}, spec)


def make_schedule(spec: str) -> Schedule:
    """A β schedule from its specification."""
    name, settings = _parse(spec, _SCHEDULES, "schedule")
    return _make(_SCHEDULES[name], settings, spec)


def make_prior(spec: str) -> PriorMaker:
    """What makes the prior of the deepest latent, from its specification; the model knows the latent's shape."""
    return _maker(spec, PRIORS, "prior")


def make_posterior(spec: str) -> PosteriorMaker:
    """What makes the posterior of a latent, from its specification."""
    return _maker(spec, POSTERIORS, "posterior")


def _maker(spec: str, known: Mapping[str, Callable[..., Any]], what: str) -> Callable[..., Any]:
    name, settings = _parse(spec, known, what)
    takes = [key for key, p in inspect.signature(known[name]).parameters.items() if p.kind is p.KEYWORD_ONLY]
    for key in settings:
        if key not in takes:
            raise UsageError(f"{spec!r}: there is no setting {key!r}; it takes {', '.join(takes) or 'no settings'}")
    return partial(known[name], **settings)


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
    if text in ("yes", "no"):
        return text == "yes"
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"{text!r} in {spec!r} is neither a number nor yes or no") from error


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

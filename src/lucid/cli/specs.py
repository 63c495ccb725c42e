"""Parts of a model named on the command line: `linear:steps=2000`, `gaussian:scale=0.1`."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from lucid import distributions, objectives
from lucid.cli.errors import UsageError, as_usage
from lucid.data import Dataset
from lucid.distributions import Likelihood
from lucid.evaluation import examples_of
from lucid.models import POSTERIORS, PRIORS, DataProtocol, LatentModel, PosteriorMaker, PriorMaker, draws, drive
from lucid.objectives import Objective, Schedule, objective_of, record_of

__all__ = ["check_objective", "make_likelihood", "make_objective", "make_posterior", "make_prior", "make_schedule"]

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
    if protocol.schema:
        raise UsageError(
            f"{protocol.name} has columns of several kinds, or missing values, and each has a likelihood of its kind: "
            f"leave --likelihood {spec} out, or choose columns of complete numbers, --columns A,B"
        )
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
    num_examples: int,
    beta: float = 6.0,
    information: float = 1.0,
    margins: float = 1.0,
    stratified: bool = True,
    schedule: Callable[[int], float] | None = None,
) -> objectives.BetaTC:
    weight, stratified = schedule or beta, bool(stratified)
    return objectives.BetaTC(num_examples, weight, information=information, margins=margins, stratified=stratified)


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


_BETA = "--kl-weight and --beta-schedule (kl_weight, beta_schedule)"
_STATED = ("schedule", "spread")
"""What other options say of an objective, and its specification does not."""


def make_objective(
    spec: str, model: LatentModel, num_examples: int | None, beta: float | Schedule | None = None
) -> Objective:
    """An objective from its specification.

    Its β is what the model's configuration states; for a family whose configuration has none, the one that was said.

    Args:
        spec: `name:setting=value,…`.
        model: What is to be trained.
        num_examples: The size of the training data, for an objective that asks for it; None if it is not known.
        beta: What `--kl-weight` or `--beta-schedule` said; None if neither was given.

    Raises:
        UsageError: If there is no such objective, or it does not take a setting, or what was said of β.
    """
    name, settings = _parse(spec, _OBJECTIVES, "objective")
    stated = objective_of(model)
    if beta is not None and not hasattr(getattr(model, "config", None), "kl_weight"):
        stated = objectives.ELBO(beta)  # a family whose configuration has no β
    takes = inspect.signature(_OBJECTIVES[name]).parameters
    states: dict[str, Any] = {"schedule": stated.schedule, "spread": stated.spread}
    if beta is not None and "schedule" not in takes:
        raise UsageError(f"{name} finds the weight of the KL by rules of its own: leave {_BETA} out")
    if stated.spread and model.depth > 1 and "spread" not in takes:
        raise UsageError(f"{name} does not spread β over the levels: leave hierarchical_kl out, or train with elbo")
    if name == "kl-balancing" and isinstance(stated.schedule, objectives.Constant):
        raise UsageError("kl-balancing works while β warms up: give --beta-schedule too, such as linear:steps=10000")
    if name == "beta-tc":
        if beta is None:
            del states["schedule"]  # its own β is not that of the bound
        elif "beta" in settings:
            raise UsageError(f"{spec!r} says β: leave {_BETA} out")
    if num_examples is not None:
        states["num_examples"] = num_examples
    known = {key: value for key, value in states.items() if key in takes}
    return _make(_OBJECTIVES[name], settings, spec, known)


def check_objective(spec: str, objective: Objective, model: LatentModel, data: Dataset) -> None:
    """Refuse an objective that does not suit the model's prior or posterior, before anything is trained.

    Copies of both are shown two examples: what the objective itself would refuse is refused here.

    Args:
        spec: Which was asked for.
        objective: To be minimised.
        model: To be trained; it is left as it is.
        data: To be trained on.

    Raises:
        UsageError: If they do not go together.
    """
    place = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    example = next(iter(examples_of(model, data.train, 2, place)), None)
    if example is None:
        return
    model, objective = copy.deepcopy((model, objective))
    x, condition = example
    stream = torch.Generator(place).manual_seed(0)
    model.eval()
    drive(model.walk(x, condition=condition), draws(stream))  # what is wrong with the data is not the objective's fault
    try:
        objective(record_of(objective, model.walk(x, condition=condition), stream), 1.0)
    except ValueError as error:
        raise UsageError(f"--objective {spec} does not suit this model: {error}") from error


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


def _make(kind: Any, settings: Mapping[str, float], spec: str, stated: Mapping[str, Any] | None = None) -> Any:
    """What a specification names.

    Args:
        kind: Makes it.
        settings: What the specification says.
        spec: The specification.
        stated: What is known from elsewhere; a setting of the same name goes before it.
    """
    stated = stated or {}
    # A class without an __init__ of its own shows that of its base, (*args, **kwargs): it takes nothing.
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = {key: p for key, p in inspect.signature(kind).parameters.items() if p.kind in named}
    for key in settings:
        if key not in known or key in _STATED:
            takes = ", ".join(name for name in known if name not in _STATED) or "no settings"
            raise UsageError(f"{spec!r}: there is no setting {key!r}; it takes {takes}")
    given = {**stated, **settings}
    missing = [key for key, p in known.items() if p.default is p.empty and key not in given]
    if missing:
        raise UsageError(f"{spec!r} needs {', '.join(missing)}, for example {spec.split(':')[0]}:{missing[0]}=1000")
    with as_usage():
        return kind(**given)

"""`VAEConfig`: the eight fixed fields, and every check of them with its words."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any, Literal, get_type_hints

import numpy as np
import pytest
import torch

import lucid.nn as nn
from lucid.distributions import Bernoulli, Categorical, Gaussian, Likelihood
from lucid.models import VAE, VAEConfig

FIELDS = [
    ("encoders", "list[nn.Module]", dataclasses.MISSING),
    ("decoders", "list[nn.Module]", dataclasses.MISSING),
    ("priors", "list[nn.Module] | None", None),
    # `from __future__ import annotations` keeps them as text, with Python's own quotes.
    ("reconstruction_loss", "Literal['mse', 'bce']", "mse"),
    ("kl_weight", "float", 1.0),
    ("beta_schedule", "Callable[[int], float] | None", None),
    ("hierarchical_kl", "bool", True),
    ("depth", "int | None", None),
]


def test_the_first_eight_fields_are_fixed() -> None:
    fields = dataclasses.fields(VAEConfig)
    assert [(f.name, f.type, f.default) for f in fields[:8]] == FIELDS
    assert all(f.default_factory is dataclasses.MISSING and not f.kw_only and f.init for f in fields[:8])
    # The annotations mean what they say when they are resolved, too.
    hints = get_type_hints(VAEConfig)
    meant = {"nn": torch.nn, "Literal": Literal, "Callable": Callable}
    assert [hints[name] for name, _, _ in FIELDS] == [eval(text, meant) for _, text, _ in FIELDS]


def test_further_fields_are_keyword_only_with_defaults() -> None:
    for field in dataclasses.fields(VAEConfig)[8:]:
        assert field.kw_only
        assert field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def parts(depth: int = 2) -> dict[str, Any]:
    return {
        "encoders": [nn.Linear(6, 4), *(nn.Linear(2, 4) for _ in range(depth - 1))],
        "decoders": [nn.Linear(2, 6), *(nn.Linear(2, 2) for _ in range(depth - 1))],
    }


def test_positional_arguments_are_in_the_fixed_order() -> None:
    given = parts()
    schedule = float
    priors = [nn.Linear(2, 4)]
    config = VAEConfig(given["encoders"], given["decoders"], priors, "bce", 0.5, schedule, False, 2)
    assert (config.encoders, config.decoders, config.priors) == (given["encoders"], given["decoders"], priors)
    assert (config.reconstruction_loss, config.kl_weight, config.hierarchical_kl, config.depth) == (
        "bce",
        0.5,
        False,
        2,
    )
    assert config.beta_schedule is schedule


def test_depth_none_becomes_the_number_of_encoders() -> None:
    assert VAEConfig(**parts(3)).depth == 3


@pytest.mark.parametrize(
    "change",
    [
        {"kl_weight": 0},
        {"kl_weight": 4},
        {"kl_weight": np.float64(0.25)},
        {"priors": [nn.Linear(2, 4)]},
        {"depth": 2},
        {"hierarchical_kl": False},
        {"beta_schedule": lambda step: 0.1 * step},
        {"reconstruction_loss": "bce"},
        {"reconstruction_loss": "bce", "likelihood": Bernoulli()},
        {"likelihood": Categorical(3)},
        {"encoders": (nn.Linear(6, 4), nn.Linear(2, 4))},
        {"encoders": nn.ModuleList([nn.Linear(6, 4), nn.Linear(2, 4)])},
    ],
)
def test_what_is_right_is_accepted(change: dict[str, Any]) -> None:
    VAE(VAEConfig(**{**parts(), **change}))


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"encoders": []}, ValueError, "encoders must hold at least one module"),
    ({"decoders": []}, ValueError, "decoders must hold at least one module"),
    ({"encoders": None}, TypeError, "encoders must be a list of modules, one for each level; received NoneType"),
    ({"encoders": nn.Linear(6, 4)}, TypeError, "received Linear. Put it in a list: [module]"),
    ({"decoders": "linear"}, TypeError, "decoders must be a list of modules, one for each level; received str"),
    (
        {"encoders": [nn.Linear(6, 4), torch.relu]},
        TypeError,
        "encoders[1] must be an nn.Module; received builtin_function",
    ),
    ({"encoders": [nn.Linear(6, 4), None]}, TypeError, "encoders[1] must be an nn.Module; received NoneType"),
    (
        {"decoders": [nn.Linear(2, 6), nn.Linear]},
        TypeError,
        "decoders[1] must be an nn.Module; received the class Linear",
    ),
    ({"decoders": [nn.Linear(2, 6)]}, ValueError, "depth is 2, with 2 encoders and 1 decoders"),
    ({"priors": []}, ValueError, "priors must hold exactly depth − 1 = 1 modules"),
    ({"priors": [nn.Linear(2, 4)] * 2}, ValueError, "whose prior is N(0, I); received 2"),
    ({"priors": [3.0]}, TypeError, "priors[0] must be an nn.Module; received float"),
    ({"priors": nn.Linear(2, 4)}, TypeError, "priors must be a list of modules"),
    ({"reconstruction_loss": "l1"}, ValueError, "reconstruction_loss must be 'mse' or 'bce'; received 'l1'"),
    ({"reconstruction_loss": "BCE"}, ValueError, "reconstruction_loss must be 'mse' or 'bce'; received 'BCE'"),
    ({"reconstruction_loss": None}, ValueError, "reconstruction_loss must be 'mse' or 'bce'; received None"),
    ({"kl_weight": -0.1}, ValueError, "kl_weight must be non-negative and finite; received -0.1"),
    ({"kl_weight": math.nan}, ValueError, "kl_weight must be non-negative and finite; received nan"),
    ({"kl_weight": math.inf}, ValueError, "kl_weight must be non-negative and finite; received inf"),
    ({"kl_weight": "1"}, TypeError, "kl_weight must be a number; received '1'"),
    ({"kl_weight": True}, TypeError, "kl_weight must be a number; received True"),
    ({"kl_weight": None}, TypeError, "kl_weight must be a number; received None"),
    ({"kl_weight": torch.tensor(1.0)}, TypeError, "kl_weight must be a number"),
    ({"beta_schedule": 0.5}, TypeError, "beta_schedule must be a function from the step to β, or None; received 0.5"),
    ({"beta_schedule": [0.1]}, TypeError, "A constant weight goes into kl_weight"),
    ({"hierarchical_kl": 1}, TypeError, "hierarchical_kl must be True or False; received 1"),
    ({"hierarchical_kl": None}, TypeError, "hierarchical_kl must be True or False; received None"),
    ({"depth": 0}, ValueError, "depth must be positive; received 0"),
    ({"depth": -2}, ValueError, "depth must be positive; received -2"),
    ({"depth": 3}, ValueError, "depth is 3, with 2 encoders and 2 decoders"),
    ({"depth": 2.0}, TypeError, "depth must be an int or None; received 2.0 of type float"),
    ({"depth": True}, TypeError, "depth must be an int or None; received True of type bool"),
    ({"depth": "2"}, TypeError, "depth must be an int or None; received '2' of type str"),
    ({"likelihood": "gaussian"}, TypeError, "likelihood must be a lucid.distributions.Likelihood; received 'gaussian'"),
    ({"likelihood": Gaussian}, TypeError, "likelihood must be a lucid.distributions.Likelihood"),
    ({"likelihood": Gaussian(), "reconstruction_loss": "bce"}, ValueError, "likelihood=Gaussian contradict each other"),
]


@pytest.mark.parametrize(("change", "kind", "message"), REFUSED, ids=lambda value: str(value)[:60])
def test_what_is_wrong_is_refused_in_words(change: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        VAEConfig(**{**parts(), **change})


def test_priors_of_depth_one_are_an_empty_list_or_none() -> None:
    assert VAEConfig(**parts(1), priors=[]).depth == 1
    with pytest.raises(ValueError, match="exactly depth − 1 = 0 modules"):
        VAEConfig(**parts(1), priors=[nn.Linear(2, 4)])


def test_the_vae_takes_a_config_only() -> None:
    with pytest.raises(TypeError, match="VAE takes a VAEConfig; received dict"):
        VAE(parts())


@pytest.mark.parametrize(
    ("options", "kind"),
    [({}, Gaussian), ({"reconstruction_loss": "bce"}, Bernoulli), ({"likelihood": Categorical(3)}, Categorical)],
)
def test_the_shorthand_names_its_likelihood(options: dict[str, Any], kind: type[Likelihood]) -> None:
    likelihood = VAE(VAEConfig(**parts(), **options)).likelihood
    assert type(likelihood) is kind
    if isinstance(likelihood, Gaussian):
        assert likelihood.scale == 1.0

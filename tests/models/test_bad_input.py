"""Bad input, one row a case: what was given, and the words it gets."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import lucid.nn as nn
from lucid.distributions import Categorical, DiscretisedLogistic, HeteroscedasticGaussian
from lucid.models import VAE, VAEConfig, draws, drive, importance_weighted


def make(**options: Any) -> VAE:
    parts: dict[str, Any] = {"encoders": [nn.Linear(6, 4)], "decoders": [nn.Linear(2, 6)]}
    return VAE(VAEConfig(**{**parts, **options}))


def refused(kind: type[Exception], message: str, action: Callable[[], object]) -> None:
    with pytest.raises(kind, match=re.escape(message)):
        action()


ONES = torch.ones(3, 6)

# Data

X: list[tuple[Any, type[Exception], str]] = [
    ([[0.0] * 6], TypeError, "x must be a tensor; received list. torch.as_tensor makes one of an array"),
    (np.zeros((3, 6), dtype=np.float32), TypeError, "x must be a tensor; received ndarray"),
    (
        ONES.long(),
        TypeError,
        "x must be floating point; received torch.int64. Convert it: x.float() / 255 for 8-bit images",
    ),
    (ONES.byte(), TypeError, "x must be floating point; received torch.uint8"),
    (ONES.bool(), TypeError, "x must be floating point; received torch.bool"),
    (ONES.to(torch.complex64), TypeError, "x must be floating point; received torch.complex64"),
    (
        ONES.double(),
        TypeError,
        "x is torch.float64 and the model's parameters torch.float32: convert one, x.to(torch.float32)",
    ),
    (ONES.half(), TypeError, "x is torch.float16 and the model's parameters torch.float32"),
    (torch.ones(6), ValueError, "x must be (batch, features, ...); received shape (6,)"),
    (torch.tensor(1.0), ValueError, "x must be (batch, features, ...); received shape ()"),
    (torch.ones(0, 6), ValueError, "x must hold at least one example and one feature; received shape (0, 6)"),
    (torch.ones(3, 0), ValueError, "x must hold at least one example and one feature; received shape (3, 0)"),
    (ONES * math.nan, ValueError, "x must be finite; it holds NaN. Remove or impute NaN and inf"),
    (ONES * math.inf, ValueError, "x must be finite; it holds values from inf to inf"),
    (torch.ones(3, 7), ValueError, "x has 7 features where encoders[0] takes 6"),
    (ONES.to("meta"), ValueError, "x is on meta and the model on cpu: move one, x.to('cpu')"),
]


@pytest.mark.parametrize(("x", "kind", "message"), X, ids=[message[:50] for _, _, message in X])
@pytest.mark.parametrize("method", ["forward", "encode", "get_loss", "elbo", "log_likelihood", "reconstruct", "embed"])
def test_data_the_model_cannot_take(x: Any, kind: type[Exception], message: str, method: str) -> None:
    model = make()
    if method == "get_loss":
        if message.startswith("x has 7"):
            message = "decoders[0] emitted (3, 6) where Gaussian needs (3, 7) for x of shape (3, 7)"
        output = model(ONES)
        refused(kind, message, lambda: model.get_loss(x, *output))
    else:
        refused(kind, message, lambda: getattr(model, method)(x))


@pytest.mark.parametrize(
    ("x", "to"), [([[0.0] * 6], ONES), (ONES, [[0.0] * 6]), (ONES.long(), ONES.long()), (ONES[:0], ONES[:0])]
)
def test_data_interpolate_cannot_take(x: Any, to: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"x.* must "):
        make().interpolate(x, to)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (1.5, "values from 0 to 1.5"),
        (-0.5, "values from -0.5 to 0"),
        (255.0, "values from 0 to 255"),
    ],
)
def test_data_outside_0_1_for_bce(value: float, told: str) -> None:
    x = torch.zeros(3, 6)
    x[1, 2] = value
    model = make(reconstruction_loss="bce")
    refused(ValueError, f"x must lie in [0, 1] for the Bernoulli likelihood ('bce'); it holds {told}", lambda: model(x))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_scaling_is_not_the_cure_for_nan(value: float) -> None:
    x = torch.zeros(3, 6)
    x[1, 2] = value
    refused(ValueError, "x must be finite; it holds", lambda: make(reconstruction_loss="bce")(x))


def test_data_off_the_grid() -> None:
    for likelihood, emitted in ((DiscretisedLogistic(17), 12), (Categorical(17), 17 * 6)):
        model = make(decoders=[nn.Linear(2, emitted)], likelihood=likelihood)
        refused(ValueError, "x must lie on the 17 levels", lambda model=model: model(torch.full((3, 6), 0.03)))


def test_the_walk_looks_at_its_data_unless_told_not_to() -> None:
    model, x = make(), ONES * math.nan
    refused(ValueError, "x must be finite", lambda: drive(model.walk(x), draws()))
    drive(model.walk(x, check=False), draws())


# Shapes between modules


class Returns(nn.Module):
    """Returns what it was made with, whatever it receives."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Any:
        return self.value


SHAPES: list[tuple[dict[str, Any], tuple[int, ...], type[Exception], str]] = [
    (
        {"encoders": [nn.Linear(6, 5)]},
        (3, 6),
        ValueError,
        "encoders[0] emitted 5 features; it must be even, a mean and a",
    ),
    (
        {"encoders": [nn.Linear(6, 4), nn.Linear(2, 101)], "decoders": [nn.Linear(4, 6), nn.Linear(4, 4)]},
        (3, 6),
        ValueError,
        "encoders[1] emitted 101 features; it must be even, a mean and a log-variance for each, concatenated",
    ),
    ({"encoders": [nn.Conv2d(1, 3, 1)]}, (3, 1, 4, 4), ValueError, "encoders[0] emitted 3 channels; it must be even"),
    (
        {"encoders": [nn.Linear(6, 4), nn.Linear(2, 4)], "decoders": [nn.Linear(64, 6), nn.Linear(2, 48)]},
        (3, 6),
        ValueError,
        "decoders[1] emitted 48 features where decoders[0] takes 64",
    ),
    (
        {"encoders": [nn.Linear(6, 4), nn.Linear(3, 4)], "decoders": [nn.Linear(2, 6), nn.Linear(2, 2)]},
        (3, 6),
        ValueError,
        "level 0 drew a latent of 2 features where encoders[1] takes 3",
    ),
    (
        {"decoders": [nn.Linear(3, 6)]},
        (3, 6),
        ValueError,
        "level 0 drew a latent of 2 features where decoders[0] takes 3",
    ),
    (
        {"encoders": [nn.Linear(6, 4), nn.Linear(2, 6)], "decoders": [nn.Linear(5, 6), nn.Linear(2, 5)]},
        (3, 6),
        ValueError,
        "level 1 drew a latent of 3 features where decoders[1] takes 2",
    ),
    (
        {"encoders": [nn.Sequential(nn.Conv2d(3, 4, 1))]},
        (3, 1, 4, 4),
        ValueError,
        "x has 1 channels where encoders[0] takes 3",
    ),
    (
        {"encoders": [nn.Conv2d(1, 4, 1)], "decoders": [nn.Conv2d(4, 1, 1)]},
        (3, 1, 4, 4),
        ValueError,
        "level 0 drew a latent of 2 channels where decoders[0] takes 4",
    ),
    (
        {"decoders": [nn.Linear(2, 7)]},
        (3, 6),
        ValueError,
        "decoders[0] emitted (3, 7) where Gaussian needs (3, 6) for x of shape (3, 6)",
    ),
    (
        {"decoders": [nn.Sequential(nn.Linear(2, 7), nn.Sigmoid())], "reconstruction_loss": "bce"},
        (3, 6),
        ValueError,
        "decoders[0] emitted (3, 7) where Bernoulli needs (3, 6) for x of shape (3, 6)",
    ),
    (
        {"likelihood": HeteroscedasticGaussian()},
        (3, 6),
        ValueError,
        "emitted (3, 6) where HeteroscedasticGaussian needs (3, 12) for x of shape (3, 6), 2 numbers a feature",
    ),
    (
        {"encoders": [nn.Sequential(nn.Flatten(), nn.Linear(16, 4))], "decoders": [nn.Linear(2, 16)]},
        (3, 1, 4, 4),
        ValueError,
        "decoders[0] emitted (3, 16) where Gaussian needs (3, 1, 4, 4) for x of shape (3, 1, 4, 4)",
    ),
    (
        {
            "encoders": [nn.Linear(6, 4), nn.Linear(2, 4)],
            "decoders": [nn.Linear(2, 6), nn.Linear(2, 2)],
            "priors": [nn.Linear(2, 6)],
        },
        (3, 6),
        ValueError,
        "priors[0] emitted (3, 6) where level 0 needs (3, 4): mean and log-variance of each of its (2,) latents",
    ),
    (
        {
            "encoders": [nn.Linear(6, 4), nn.Linear(2, 4)],
            "decoders": [nn.Linear(2, 6), nn.Linear(2, 2)],
            "priors": [nn.Linear(3, 4)],
        },
        (3, 6),
        ValueError,
        "level 1 drew a latent of 2 features where priors[0] takes 3",
    ),
    ({"encoders": [Returns([ONES, ONES])]}, (3, 6), TypeError, "encoders[0] must return a tensor; it returned list"),
    ({"encoders": [Returns((ONES, ONES))]}, (3, 6), TypeError, "encoders[0] must return a tensor; it returned tuple"),
    ({"encoders": [Returns(None)]}, (3, 6), TypeError, "encoders[0] must return a tensor; it returned NoneType"),
    ({"decoders": [Returns({"recon": ONES})]}, (3, 6), TypeError, "decoders[0] must return a tensor; it returned dict"),
    (
        {"encoders": [Returns(torch.ones(4))]},
        (3, 6),
        ValueError,
        "encoders[0] must keep dimension 0 as the batch: it received (3, 6) and returned (4,)",
    ),
    ({"encoders": [nn.Flatten(0, 1)]}, (3, 6), ValueError, "encoders[0] must keep dimension 0 as the batch"),
    ({"decoders": [Returns(torch.ones(1, 6))]}, (3, 6), ValueError, "decoders[0] must keep dimension 0 as the batch"),
]


@pytest.mark.parametrize(("parts", "shape", "kind", "message"), SHAPES, ids=[message[:60] for *_, message in SHAPES])
def test_disagreements_are_told_by_level_and_module(
    parts: dict[str, Any], shape: tuple[int, ...], kind: type[Exception], message: str
) -> None:
    model, x = make(**parts), torch.ones(shape)
    refused(kind, message, lambda: model.get_loss(x, *model(x)))
    refused(kind, message, lambda: model.elbo(x))


def test_a_failure_inside_a_users_module_names_the_module() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x @ torch.ones(9, 4)

    with pytest.raises(RuntimeError) as caught:
        make(encoders=[Broken()])(ONES)
    assert caught.value.__notes__ == ["This happened inside encoders[0], on an input of shape (3, 6)."]


def test_an_error_of_a_users_own_passes_through() -> None:
    class Picky(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        make(encoders=[Picky()])(ONES)


# get_loss


def test_lists_of_the_wrong_length() -> None:
    model = make()
    recon, mus, logvars, zs = model(ONES)
    told = "mus, logvars and zs must each hold 1 tensors, one a level; received"
    refused(ValueError, f"{told} (2, 1, 1)", lambda: model.get_loss(ONES, recon, mus * 2, logvars, zs))
    refused(ValueError, f"{told} (1, 1, 0)", lambda: model.get_loss(ONES, recon, mus, logvars, []))


def test_recon_of_the_wrong_shape() -> None:
    model = make()
    recon, mus, logvars, zs = model(ONES)
    message = "decoders[0] emitted (3, 5) where Gaussian needs (3, 6)"
    refused(ValueError, message, lambda: model.get_loss(ONES, recon[:, :5], mus, logvars, zs))


# Arguments of the methods

ARGUMENTS: list[tuple[Callable[[VAE], object], type[Exception], str]] = [
    (lambda m: m.sample(0), ValueError, "n must be at least 1; received 0"),
    (lambda m: m.sample(-1), ValueError, "n must be at least 1; received -1"),
    (lambda m: m.sample(2.0), TypeError, "n must be an int; received 2.0"),
    (lambda m: m.sample(True), TypeError, "n must be an int; received True"),
    (lambda m: m.sample(2, temperature=-0.5), ValueError, "temperature must be finite and not negative; received -0.5"),
    (
        lambda m: m.sample(2, temperature=math.nan),
        ValueError,
        "temperature must be finite and not negative; received nan",
    ),
    (
        lambda m: m.sample(2, temperature=math.inf),
        ValueError,
        "temperature must be finite and not negative; received inf",
    ),
    (
        lambda m: m.sample(2, temperature=[1.0, 0.5]),
        ValueError,
        "temperature must be one number, or one for each of the 1 levels; received 2 numbers",
    ),
    (
        lambda m: m.sample(2, temperature=torch.tensor([0.5, 0.5])),
        ValueError,
        "temperature must be one number, or one for each of the 1 levels; received 2 numbers",
    ),
    (
        lambda m: m.sample(2, temperature="7"),
        TypeError,
        "temperature must be one number, or one for each level; received '7'",
    ),
    (
        lambda m: m.sample(2, temperature=torch.ones(1, 1)),
        TypeError,
        "temperature must be one number, or one for each level; received tensor([[1.]])",
    ),
    (lambda m: m.sample(2, condition=torch.tensor([0, 1])), ValueError, "this VAE takes no condition"),
    (lambda m: m.vary(ONES, 2), ValueError, "levels must be in 0 … 1, the latents that are kept; received 2"),
    (lambda m: m.elbo(ONES, 0), ValueError, "num_samples must be at least 1; received 0"),
    (lambda m: m.elbo(ONES, 1.5), TypeError, "num_samples must be an int; received 1.5"),
    (lambda m: m.log_likelihood(ONES, 0), ValueError, "num_samples must be at least 1; received 0"),
    (lambda m: m.log_likelihood(ONES, -3), ValueError, "num_samples must be at least 1; received -3"),
    (lambda m: m.log_likelihood(ONES, "5"), TypeError, "num_samples must be an int; received '5'"),
    (lambda m: m.log_likelihood(ONES, True), TypeError, "num_samples must be an int; received True"),
    (lambda m: m.log_likelihood(ONES, 5, max_rows=0), ValueError, "max_rows must be at least 1; received 0"),
    (lambda m: importance_weighted(m, ONES, [10, 1], None), ValueError, "counts must increase"),
    (lambda m: importance_weighted(m, ONES, [0], None), ValueError, "at least 1; received 0"),
    (
        lambda m: m.embed(ONES, level=1),
        ValueError,
        "level must be in 0 … 0 (or negative, counting from the deepest); received 1",
    ),
    (lambda m: m.embed(ONES, level=-2), ValueError, "level must be in 0 … 0"),
    (lambda m: m.interpolate(ONES, ONES, steps=1), ValueError, "steps must be at least 2, the two ends; received 1"),
    (lambda m: m.interpolate(ONES, ONES[:2]), ValueError, "both ends must have one shape; received (3, 6) and (2, 6)"),
]


@pytest.mark.parametrize(
    ("action", "kind", "message"), ARGUMENTS, ids=[f"{i}-{m[:50]}" for i, (*_, m) in enumerate(ARGUMENTS)]
)
def test_wrong_arguments(action: Callable[[VAE], object], kind: type[Exception], message: str) -> None:
    refused(kind, message, lambda: action(make()))


# Sampling before the shapes are known


def test_linear_models_sample_before_they_have_met_data() -> None:
    model = make(
        encoders=[nn.Linear(6, 8), nn.Linear(4, 6)],
        decoders=[nn.Linear(5, 6), nn.Sequential(nn.Sequential(nn.Linear(3, 5)), nn.ReLU())],
        priors=[nn.Linear(3, 8)],
    )
    assert model.sample(2).shape == (2, 6)


@pytest.mark.parametrize(
    "decoder",
    [
        nn.Conv2d(2, 1, 1),
        nn.Sequential(nn.Unflatten(1, (2, 4, 4)), nn.Conv2d(2, 1, 1)),
        nn.Identity(),
        nn.LazyLinear(6),
    ],
    ids=["conv", "unflatten", "identity", "lazy"],
)
def test_other_models_say_that_they_must_meet_data_first(decoder: nn.Module) -> None:
    model = make(decoders=[decoder])
    message = "the shape of the latent of level 0 is not known yet: run the model once on a batch of data, model(x)"
    refused(ValueError, message, lambda: model.sample(2))


def test_having_met_data_once_is_remembered_even_across_loading_a_fresh_state() -> None:
    def conv() -> VAE:
        return make(encoders=[nn.Conv2d(1, 4, 1)], decoders=[nn.Conv2d(2, 1, 1)])

    model, x = conv(), torch.ones(2, 1, 4, 4)
    model(x)
    model.load_state_dict(conv().state_dict())
    model(x)
    assert model.sample(3).shape == (3, 1, 4, 4)


# Parts of a loss that do not belong together


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda o: (o.recon[:1], o.mus, o.logvars, o.zs),
            "recon and x must be of one batch; received 1 and 3 examples",
        ),
        (lambda o: (o.recon, [o.mus[0][:1]], o.logvars, o.zs), "mus[0], logvars[0] and zs[0] must have one shape"),
        (lambda o: (o.recon, [o.mus[0][:, :1]], o.logvars, o.zs), "of 3 examples as x; received (3, 1), (3, 2)"),
        (lambda o: (o.recon, o.mus, o.logvars, [o.zs[0][:1]]), "received (3, 2), (3, 2) and (1, 2)"),
    ],
)
def test_nothing_is_stretched_to_fit(change: Callable[[Any], Any], message: str) -> None:
    model = make()
    output = model(ONES)
    refused(ValueError, message, lambda: model.get_loss(ONES, *change(output)))


def test_what_is_not_a_list_of_latents() -> None:
    model = make()
    refused(TypeError, "zs must be a list of latents, one a level; received Tensor", lambda: model.decode(ONES))  # type: ignore[arg-type]
    refused(ValueError, "zs must hold 1 latents, one a level; received 0", lambda: model.decode([]))
    refused(TypeError, "x must be a tensor; received NoneType", lambda: model(None))
    refused(TypeError, "x must be a dense tensor; received layout torch.sparse_coo", lambda: model(ONES.to_sparse()))

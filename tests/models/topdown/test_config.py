"""`TopDownConfig` and the preset: what is refused, and what one dial makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.models.topdown.small import rand

from lucid.distributions import Bernoulli, DiscretisedLogistic, MixtureOfLogistics
from lucid.models import Condition, DataProtocol, Stage, TopDownConfig, TopDownVAE, topdown_preset


def config(sizes: list[tuple[int, ...]], shape: tuple[int, ...] = (1, 28, 28), **options: Any) -> TopDownConfig:
    stages = tuple(Stage(size, channels=4, latents=2) for size in sizes)
    return TopDownConfig(**{"shape": shape, "likelihood": Bernoulli(), "stages": stages, **options})


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "stages=()": (lambda: config([]), ValueError, "at least one Stage"),
    "a stage of size (14,) for images": (lambda: config([(14,)]), ValueError, "must have 2 numbers"),
    "a stage of size (6, 6) after (14, 14)": (
        lambda: config([(14, 14), (6, 6)]),
        ValueError,
        r"\(6, 6\) does not follow \(14, 14\).*14, 7, 5, 4",
    ),
    "a stage of size (13, 14) for 28×28": (
        lambda: config([(13, 14)]),
        ValueError,
        r"\(13, 14\) does not follow \(28, 28\)",
    ),
    "stages from coarse to fine": (lambda: config([(7, 7), (14, 14)]), ValueError, "does not follow"),
    "likelihood='bce'": (lambda: config([(7, 7)], likelihood="bce"), TypeError, "likelihood must be"),
    "top_prior=Identity()": (lambda: config([(7, 7)], top_prior=torch.nn.Identity()), TypeError, "top_prior must be"),
    "recompute=1": (lambda: config([(7, 7)], recompute=1), TypeError, "recompute must be True or False"),
    "num_classes=2, condition_size=2": (
        lambda: config([(7, 7)], num_classes=2, condition_size=2),
        ValueError,
        "exactly one",
    ),
    "num_classes=0": (lambda: config([(7, 7)], num_classes=0), ValueError, "num_classes must be positive"),
    "shape=()": (lambda: config([(1,)], shape=()), ValueError, "shape must be"),
    "shape=(1, 2, 2, 2, 2)": (lambda: config([(1, 1, 1, 1)], shape=(1, 2, 2, 2, 2)), ValueError, "shape must be"),
    "shape=(0,)": (lambda: config([(1,)], shape=(0,)), ValueError, "must be positive; received 0"),
    "channels=0": (lambda: Stage((4, 4), 0, 1), ValueError, "channels of a stage must be positive; received 0"),
    "blocks=True": (lambda: Stage((4, 4), 4, 1, blocks=True), TypeError, "blocks of a stage must be an int"),
    "stages=('stage',)": (
        lambda: TopDownConfig((3,), Bernoulli(), ("stage",)),  # type: ignore[arg-type]
        TypeError,
        "must hold Stage objects",
    ),
    "TopDownVAE('config')": (
        lambda: TopDownVAE("config"),  # type: ignore[arg-type]
        TypeError,
        "takes a TopDownConfig; received str",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused(name: str) -> None:
    make, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        make()


def protocol(shape: tuple[int, ...], levels: int | None = 256) -> DataProtocol:
    kind: Any = {1: "vector", 2: "series", 3: "image"}[len(shape)]
    return DataProtocol(name="data", kind=kind, shape=shape, levels=levels)


@pytest.mark.parametrize(
    ("shape", "size", "sizes"),
    [
        ((1, 8, 8), 1, [(8, 8), (4, 4), (1, 1)]),
        ((1, 28, 28), 1, [(7, 7), (4, 4), (1, 1)]),
        ((1, 28, 28), 2, [(14, 14), (7, 7), (4, 4), (1, 1)]),
        ((3, 33, 17), 2, [(9, 5), (5, 3), (3, 2), (1, 1)]),
        ((3, 32, 32), 4, [(32, 32), (16, 16), (8, 8), (4, 4), (1, 1)]),
        ((4, 64, 64), 4, [(32, 32), (16, 16), (8, 8), (4, 4), (1, 1)]),
        ((2, 150), 1, [(5,), (3,), (1,)]),
        ((9,), 1, [(1,), (1,), (1,)]),
    ],
)
def test_the_preset_finds_stages_for_any_data(shape: tuple[int, ...], size: int, sizes: list[tuple[int, ...]]) -> None:
    with torch.device("meta"):
        model = topdown_preset(protocol(shape), likelihood=DiscretisedLogistic(256), size=size)
    assert [stage.size for stage in model.config.stages] == sizes
    assert model.config.centred
    assert model.protocol is not None


def test_at_size_8_it_is_as_large_as_the_model_of_the_paper() -> None:
    """Child (2020), table 1: 39 million parameters for CIFAR-10, ten logistics a pixel."""
    with torch.device("meta"):
        likelihood = MixtureOfLogistics(256, 3, components=10)
        model = topdown_preset(protocol((3, 32, 32)), likelihood=likelihood, size=8)
        assert model.depth == 43
        assert model.head(torch.empty(1, 384, 32, 32)).shape == (1, likelihood.num_outputs(3), 32, 32)
    count = sum(p.numel() for p in model.parameters())
    assert 38.5e6 < count < 39.5e6, count


def test_the_preset_starts_at_the_data_and_takes_a_condition() -> None:
    x = (rand(64, 1, 8, 8).square() * 16).round() / 16
    likelihood = DiscretisedLogistic(17)
    options = {"likelihood": likelihood, "condition": Condition(num_classes=4)}
    model = topdown_preset(protocol((1, 8, 8), 17), examples=x, **options)  # type: ignore[arg-type]
    far = topdown_preset(protocol((1, 8, 8), 17), **options)  # type: ignore[arg-type]
    assert model.condition == Condition(num_classes=4)
    labels = torch.zeros(64, dtype=torch.int64)
    near, far_off = (float(m.elbo(x, condition=labels).value.detach()) for m in (model, far))
    # The best distribution that is the same at every position; the model's small last weights cost a few nats.
    params = likelihood.initial_params(x.flatten(0)[:, None])[None, :, None].expand(1, 2, 64)
    best = float(likelihood(params).log_prob(x.view(64, 1, 64)).mean())
    assert far_off < near
    assert near > best - 0.15 * 64


@pytest.mark.parametrize("options", [{"size": 0}, {"size": True}, {"latents": -1}])
def test_the_dial_is_a_positive_int(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be a positive int"):
        topdown_preset(protocol((1, 8, 8)), likelihood=Bernoulli(), **options)

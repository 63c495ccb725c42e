"""How a run is described: defaults, refusals, the learning rate over time."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lucid.training import Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 3, "steps": 5}, "give epochs or steps, not both"),
        ({"epochs": 0}, "epochs must be at least 1; received 0"),
        ({"steps": -2}, "steps must be at least 1; received -2"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive and finite; received 0.0"),
        ({"learning_rate": math.nan}, "learning_rate must be positive and finite; received nan"),
        ({"weight_decay": -0.1}, "weight_decay must be non-negative and finite"),
        ({"warmup": -1}, "warmup must be a non-negative number of steps"),
        ({"seed": -1}, "seed must be in 0"),
        ({"decay": "linear"}, "decay must be one of cosine, none; received 'linear'"),
        ({"device": "tpu"}, "device must be one of auto, cpu, cuda, mps; received 'tpu'"),
        (
            {"precision": "int8"},
            "precision must be one of auto, float32, float64, bf16-mixed, fp16-mixed; received 'int8'",
        ),
    ],
)
def test_a_wrong_value_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings.of(**settings)


def test_a_wrong_type_is_refused() -> None:
    with pytest.raises(TypeError, match=r"epochs must be an int; received 2\.5"):
        Settings.of(epochs=2.5)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(TypeError, match="there is no setting 'epoch'; did you mean epochs"):
        Settings.of(epoch=4)
    with pytest.raises(TypeError, match="there is no setting 'zzz'; there are epochs, steps"):
        Settings.of(zzz=4)


@pytest.mark.parametrize(("alias", "name"), [("32", "float32"), ("32-true", "float32"), ("bf16", "bf16-mixed")])
def test_precisions_go_by_the_engines_names_too(alias: str, name: str) -> None:
    assert Settings.of(precision=alias).precision == name


def test_length_of_a_run() -> None:
    assert Settings(epochs=3, batch_size=4).total_steps(10) == 9
    assert Settings(steps=7).total_steps(None) == 7
    assert Settings(batch_size=10).total_steps(100) == 1000
    with pytest.raises(ValueError, match="the data is a stream of unknown length: give steps"):
        Settings(epochs=3).total_steps(None)


def test_learning_rate_rises_then_follows_a_half_cosine_to_zero() -> None:
    settings = Settings(learning_rate=1.0, warmup=4)
    assert [settings.learning_rate_at(step, 104) for step in range(4)] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert settings.learning_rate_at(4, 104) == 1.0
    assert settings.learning_rate_at(54, 104) == pytest.approx(0.5)
    assert settings.learning_rate_at(104, 104) == pytest.approx(0.0)
    assert Settings(learning_rate=1.0, warmup=0, decay="none").learning_rate_at(99, 100) == 1.0

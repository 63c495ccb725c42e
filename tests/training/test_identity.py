"""A resumed run must be the same run: whatever else changes is refused, in words that name it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.helpers import dataset, vae, vectors

from lucid import data, nn
from lucid.distributions import LearnedScaleGaussian
from lucid.models import VAE, VAEConfig
from lucid.objectives import ELBO, Linear
from lucid.training import Settings, fit
from lucid.training.engine import Engine
from lucid.training.identity import describe_run, refuse_other_run


def described(
    model: VAE | None = None, source: data.Dataset | None = None, objective: Any = None, **settings: Any
) -> dict[str, Any]:
    """What a run's file says, read back from it."""
    chosen = Settings.of(**{"precision": "float32", "steps": 10, **settings})
    engine = Engine(chosen, vae())
    said = describe_run(model or network(), source or dataset(), chosen, objective or ELBO(), engine, {"title": "mine"})
    return json.loads(json.dumps(said))


def network(*layers: Any, **config: Any) -> VAE:
    encoder = nn.Sequential(*(layers or (nn.Linear(6, 8), nn.SiLU(), nn.Dropout(0.2), nn.Linear(8, 6))))
    return VAE(VAEConfig(encoders=[encoder], decoders=[nn.Linear(3, 6)], **config))


def changed(where: int, value: float) -> data.Dataset:
    x = vectors()
    x[where, 3] = value
    return data.load(x)


def refusal(now: dict[str, Any], before: dict[str, Any] | None = None) -> str:
    with pytest.raises(ValueError, match=r"^the run in RUN cannot be resumed with other ") as error:
        refuse_other_run(before or described(), now, "RUN")
    assert str(error.value).endswith(": only its length may change")
    return str(error.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batch_size": 64}, "batch_size (was 128, now 64)"),
        ({"optimizer": "adamax"}, "optimizer (was adamw, now adamax)"),
        ({"learning_rate": 0.1}, "learning_rate (was 0.002, now 0.1)"),
        ({"weight_decay": 0.0}, "weight_decay (was 0.01, now 0.0)"),
        ({"warmup": 3}, "warmup (was 50, now 3)"),
        ({"decay": "none"}, "decay (was cosine, now none)"),
        ({"clip": 1.0}, "clip (was None, now 1.0)"),
        ({"skip": None}, "skip (was 10.0, now None)"),
        ({"ema": 0.9}, "ema (was None, now 0.9)"),
        ({"accumulate": 2}, "accumulate (was 1, now 2)"),
        ({"seed": 1}, "seed (was 0, now 1)"),
        ({"precision": "bf16-mixed"}, "precision (was float32, now bf16-mixed)"),
        ({"validate_every": 7}, "validate_every (was None, now 7)"),
    ],
)
def test_another_setting_is_named(settings: dict[str, Any], words: str) -> None:
    assert words in refusal(described(**settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 20},
        {"steps": None, "epochs": 30},
        {"early_stopping": 3},
        {"log_every": 1},
        {"checkpoint_seconds": 1.0},
        {"keep_checkpoints": 9},
        {"device": "cpu"},
        {"strategy": "sharded"},
        {"recompute": True},
        {"max_skips": 5},
        {"compile": "auto"},
    ],
)
def test_what_leaves_the_numbers_alone_may_change(settings: dict[str, Any]) -> None:
    refuse_other_run(described(), described(**settings), "RUN")


LAYERS: list[tuple[str, tuple[Any, ...], str]] = [
    ("width", (nn.Linear(6, 9), nn.SiLU(), nn.Dropout(0.2), nn.Linear(9, 6)), "out_features=9"),
    ("activation", (nn.Linear(6, 8), nn.GELU(), nn.Dropout(0.2), nn.Linear(8, 6)), "GELU"),
    ("dropout", (nn.Linear(6, 8), nn.SiLU(), nn.Dropout(0.3), nn.Linear(8, 6)), "Dropout(p=0.3"),
    ("normalisation", (nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 6)), "BatchNorm1d(8"),
    ("layer", (nn.Linear(6, 8), nn.SiLU(), nn.Linear(8, 6)), "Dropout"),
]


@pytest.mark.parametrize(("layers", "words"), [row[1:] for row in LAYERS], ids=[row[0] for row in LAYERS])
def test_another_layer_is_named(layers: tuple[Any, ...], words: str) -> None:
    said = refusal(described(network(*layers)))
    assert "other architecture (was " in said
    assert words in said


def test_another_likelihood_is_named() -> None:
    before = described(network())
    said = refusal(described(network(likelihood=LearnedScaleGaussian())), before)
    assert "likelihood (was " in said
    assert "LearnedScaleGaussian" in said


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        (ELBO(2.0), "2.0"),
        (ELBO(Linear(steps=100)), "Linear(steps=100"),
        (ELBO(spread=True), "spread=True"),
    ],
)
def test_another_objective_is_named(objective: ELBO, words: str) -> None:
    said = refusal(described(objective=objective))
    assert "other objective (was ELBO(" in said
    assert words in said


def test_another_schedule_of_the_same_kind_is_named() -> None:
    said = refusal(described(objective=ELBO(Linear(steps=90))), described(objective=ELBO(Linear(steps=100))))
    assert "Linear(steps=100" in said
    assert "Linear(steps=90" in said


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_one_other_value_of_the_data_is_named_by_its_part(part: str) -> None:
    x = vectors()
    row = getattr(dataset(), part).tensor()[0]
    x[(x == row).all(1).nonzero()[0], 3] += 1e-3
    said = refusal(described(source=data.load(x)))
    assert f"data: the values of its {part} part:" in said


def test_another_number_of_examples_and_another_reading_of_the_data_are_named() -> None:
    assert "data: its split (was " in refusal(described(source=dataset(300)))
    pixels = torch.randint(0, 256, (200, 6)).to(torch.uint8)
    read = {rule: data.load(pixels, levels=256, binarisation=rule) for rule in ("none", "dynamic")}
    said = refusal(described(source=read["dynamic"]), described(source=read["none"]))
    assert "data: its binarisation (was none, now dynamic)" in said


def test_everything_that_differs_is_named_at_once() -> None:
    said = refusal(described(network(nn.Linear(6, 6)), changed(5, 9.0), ELBO(2.0), batch_size=7))
    for name in ("batch_size", "data", "architecture", "objective"):
        assert name in said


def test_where_an_object_lies_in_memory_does_not_matter() -> None:
    """A schedule that is a plain function, and a network that shows its own, in two processes."""

    class Shown(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 6)

        def extra_repr(self) -> str:
            return repr(object())

    def of(ramp: Any) -> dict[str, Any]:
        return described(network(Shown()), objective=ELBO(ramp))

    def first() -> Any:
        def ramp(step: int) -> float:
            return 1.0

        return ramp

    one, other = first(), first()
    assert repr(one) != repr(other)
    refuse_other_run(of(one), of(other), "RUN")


def test_what_an_earlier_version_did_not_say_is_not_held_against_the_run() -> None:
    before = described()
    del before["identity"], before["training"]["skip"]
    refuse_other_run(before, described(), "RUN")


def test_a_compiled_run_is_not_gone_on_with_uncompiled() -> None:
    before = described()
    before["training"]["compile"] = True  # what "auto" came to
    refuse_other_run(before, described(), "RUN")
    assert "compile (was True, now False)" in refusal(described(compile=False), before)


def test_a_run_refuses_before_anything_is_written(tmp_path: Path) -> None:
    fit(vae(), dataset(), steps=3, out=tmp_path, progress=False)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="data: the values of its"):
        fit(vae(), changed(5, 9.0), steps=6, out=tmp_path, progress=False, resume=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_another_optimizer_of_the_callers_own_is_named(tmp_path: Path) -> None:
    fit(vae(), dataset(), steps=3, out=tmp_path, progress=False, optimizer=lambda p: torch.optim.SGD(p, lr=0.01))
    with pytest.raises(ValueError, match="cannot be resumed with other optimizer"):
        fit(vae(), dataset(), steps=6, out=tmp_path, progress=False, resume=True)


def test_what_an_earlier_lucid_did_not_write_is_no_difference() -> None:
    before = described()
    del before["protocol"]["dtypes"]
    refuse_other_run(before, described(), "RUN")
    before["protocol"]["levels"] = 4
    assert "data: its levels (was 4, now None)" in refusal(described(), before)

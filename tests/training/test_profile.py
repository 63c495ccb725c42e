"""Where the time of a step goes: the parts, their shares, and what is said of them."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tests.training.helpers import dataset, vae, vectors
from torch import Tensor

from lucid import data, nn
from lucid.models import VAE, VAEConfig
from lucid.training import Settings, loop
from lucid.training import profile as measured
from lucid.training.profile import Profile, _Watch

MODULE = importlib.import_module("lucid.training.profile")  # in the room its function has the name


def shares(profile: Profile) -> dict[str, float]:
    return {phase.name: phase.share for phase in profile.phases}


def of(model: VAE, source: Any = None, steps: int = 10, **settings: Any) -> Profile:
    chosen = Settings.of(**{"batch_size": 32, "precision": "float32", **settings})
    return measured(model, source or dataset(), chosen, steps=steps)


@pytest.mark.parametrize("settings", [{}, {"accumulate": 2}, {"recompute": True}, {"ema": 0.9}], ids=str)
def test_the_parts_of_a_step_add_up_to_it(settings: dict[str, Any]) -> None:
    model = vae()
    profile = of(model, **settings)
    names = ["data", "encoders.0", "decoders.0", "sampling and densities", "backward pass"]
    assert list(shares(profile)) == [*names, "gradient norm and optimizer", "the loop itself"]
    assert sum(shares(profile).values()) == pytest.approx(1.0)
    assert sum(phase.seconds for phase in profile.phases) == pytest.approx(profile.seconds, rel=0.05)
    assert all(phase.seconds > 0 for phase in profile.phases)
    assert profile.parameters == sum(p.numel() for p in model.parameters())
    assert (profile.device, profile.precision) == ("cpu", "float32")
    assert profile.peak_bytes > 10_000_000
    assert profile.examples_per_second > 0


def test_every_network_has_a_line() -> None:
    config = VAEConfig(
        encoders=[nn.Linear(6, 8), nn.Linear(4, 6)],
        decoders=[nn.Sequential(nn.Linear(4, 6), nn.Sigmoid()), nn.Linear(3, 4)],
        priors=[nn.Linear(3, 8)],
        reconstruction_loss="bce",
    )
    names = list(shares(of(VAE(config), data.load(vectors().sigmoid()))))
    assert names[:6] == ["data", "encoders.0", "encoders.1", "decoders.0", "decoders.1", "priors.0"]


def test_time_is_put_down_where_it_was_spent() -> None:
    class Slowly(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002  its name in torch
            time.sleep(0.02)
            return super().forward(input)

    profile = of(VAE(VAEConfig(encoders=[nn.Linear(6, 6)], decoders=[Slowly(3, 6)])), steps=5)
    assert shares(profile)["decoders.0"] > 0.5
    seconds = {phase.name: phase.seconds for phase in profile.phases}
    assert 0.02 < seconds["decoders.0"] < 0.06


def test_data_that_is_slow_to_read_is_noted() -> None:
    class SlowData(torch.utils.data.IterableDataset[Tensor]):
        def __iter__(self) -> Iterator[Tensor]:
            for row in vectors(64):
                time.sleep(0.001)
                yield row

    profile = of(vae(), data.load(SlowData(), validation=0, test=0), steps=4)
    assert shares(profile)["data"] > 0.5
    assert any("reading the data takes a large part: workers= reads ahead" in note for note in profile.notes)


def test_a_small_network_and_a_neglected_precision_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "has_bfloat16", lambda _: True)
    assert any("leave the precision to auto" in note for note in of(vae(), precision="float32").notes)
    for precision in ("auto", "bf16-mixed"):
        assert not any("precision" in note for note in of(vae(), precision=precision).notes)


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_of_the_watch_is_left(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[loop.Loop] = []
    plain = loop.Loop.advance

    def advance(self: loop.Loop, writer: Any, until: int) -> None:
        kept.append(self)
        plain(self, writer, until)
        if fails and until == 10 + 2 * 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop.Loop, "advance", advance)
    model = vae()
    state = torch.get_rng_state()
    try:
        of(model, steps=3)
    except KeyboardInterrupt:
        assert fails
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    for name in ("terms", "backward", "apply"):
        assert name not in vars(kept[0].update)
    assert "portions" not in vars(kept[0])
    assert torch.equal(torch.get_rng_state(), state)


def test_a_length_that_is_not_one_is_refused() -> None:
    with pytest.raises(ValueError, match="steps must be at least 1; received 0"):
        of(vae(), steps=0)


def test_it_trains_as_training_does() -> None:
    """However long the run: no validation, and no end, is within what is measured."""
    model = vae()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    of(model, steps=2, validate_every=1, early_stopping=1)
    assert not any(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_time_spent_within_an_inner_name_is_not_the_outer_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(100))
    monkeypatch.setattr(MODULE.time, "perf_counter", lambda: float(next(now) ** 2))
    watch = _Watch(torch.device("cpu"))
    watch.start("outer")  # 0
    watch.start("inner")  # 1
    watch.stop()  # 4
    watch.start("inner")  # 9
    watch.stop()  # 16
    watch.stop()  # 25
    assert watch.seconds == {"outer": 1.0 + 5.0 + 9.0, "inner": 3.0 + 7.0}

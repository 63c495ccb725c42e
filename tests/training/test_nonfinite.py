"""Tracing a value that is not finite to where it began, and training that cannot go on."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.helpers import Watcher, dataset, vae, vectors
from tests.training.updates import Spoiling
from torch import Tensor

from lucid import data, nn
from lucid.models import VAE, VAEConfig
from lucid.training import NonFiniteLossError, Run, StalledTrainingError, fit
from lucid.training.nonfinite import explain


def stream() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class Failing(nn.Module):
    """A layer whose output is what `at` says at some of its calls."""

    def __init__(self, inputs: int, outputs: int, at: Callable[[int], float | None]) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.at = at
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        out = self.linear(x)
        if self.training:
            value = self.at(self.calls)
            self.calls += 1
            if value is not None:
                out = torch.cat([out[:, :-1], torch.full_like(out[:, -1:], value)], 1)
        return out


def failing(at: Callable[[int], float | None]) -> VAE:
    return VAE(
        VAEConfig(encoders=[nn.Sequential(nn.Linear(6, 8), nn.SiLU(), nn.Linear(8, 6))], decoders=[Failing(3, 6, at)])
    )


# Where it began


def test_the_first_in_the_order_of_computation_is_named() -> None:
    """A decoder that is broken too is not reached: what it is given is broken already."""
    model = vae().eval()
    with torch.no_grad():
        model.encoders[0][0].weight.fill_(1e38)  # type: ignore[index]
        model.decoders[0][0].weight.fill_(1e38)  # type: ignore[index]
    culprit = explain(model, vectors(5), stream())
    assert culprit.what.startswith("the output of encoders.0.0 (Linear), ")
    assert culprit.what.endswith(" of 80 values")
    assert not culprit.lasting


def test_data_and_parameters_come_before_everything_and_last() -> None:
    x = vectors(5)
    x[2, 3], x[4, 4] = math.nan, math.inf
    model = vae().eval()
    assert explain(model, x, stream()) == ("the data: 2 of 30 values of the batch", True)
    with torch.no_grad():
        model.decoders[0][2].weight[0, 0] = math.inf  # type: ignore[index]
    assert explain(model, vectors(5), stream()) == ("the parameter decoders.0.2.weight, before this step", True)


def test_where_every_value_is_finite_it_is_the_gradient() -> None:
    culprit = explain(vae(), vectors(5), stream())
    assert culprit == ("the gradient: every value up to the loss is finite", False)


def test_looking_leaves_the_model_alone() -> None:
    encoder = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 6))
    model = VAE(VAEConfig(encoders=[encoder], decoders=[nn.Linear(3, 6)])).train()
    model(vectors(8))  # it knows its shapes
    before = {name: value.clone() for name, value in model.state_dict().items()}
    explain(model, vectors(8) + 3, stream())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


# Left out, told, and gone on


def test_a_batch_that_is_not_finite_is_left_out_told_once_and_written_down(tmp_path: Path) -> None:
    """The trace computes the batch again, so call 8 and 9 are batch 8, and both fail; 10 is the next."""
    watcher = Watcher(lambda _step: None)
    model = failing(lambda call: math.inf if call in (8, 9) else None)
    result = fit(model, dataset(), steps=30, log_every=5, out=tmp_path, progress=watcher, precision="float32")
    assert (result.steps, result.skipped) == (30, 1)
    # 160 examples in batches of 128 and 32; one column of six is infinite.
    (message,) = watcher.messages
    assert message.startswith("step 8: the update was left out, since its gradient is not finite. First non-finite: ")
    assert message.endswith("the output of decoders.0 (Failing), 128 of 768 values")
    assert result.notes == ("1 of 30 updates were left out as exceptional",)
    lines = [line for line in Run(tmp_path).metrics() if line["split"] == "train"]
    assert [line["skipped"] for line in lines] == [0, 1, 1, 1, 1, 1]
    # What is left out is not in the means either.
    assert all(math.isfinite(line["loss"]) for line in lines)


def test_a_streak_is_told_once_and_the_next_one_again() -> None:
    watcher = Watcher(lambda _step: None)
    bad = {*range(5, 9), *range(15, 18)}
    result = fit(vae(), dataset(), steps=30, progress=watcher, objective=Counted(bad), max_skips=10)
    assert result.skipped == 7
    assert [message.split(":")[0] for message in watcher.messages] == ["step 5", "step 15"]


class Counted(Spoiling):
    """Not finite at some steps of training."""

    def __init__(self, bad: set[int]) -> None:
        super().__init__()
        self.bad = bad
        self.now = -1

    def beta(self, step: int) -> float:
        self.now = step
        return 1.0

    def __call__(self, record: Any, beta: Any) -> Any:
        self.factors = iter([math.nan if self.now in self.bad else 1.0])
        return super().__call__(record, beta)


def test_the_progress_shows_how_many_were_left_out() -> None:
    shown: list[int] = []

    class Counter(Watcher):
        def update(self, step: int, averages: Any, beta: float, examples_per_second: float, skipped: int) -> None:
            shown.append(skipped)

    fit(vae(), dataset(), steps=8, objective=Counted({2, 3, 6}), progress=Counter(lambda _step: None))
    assert shown == [0, 0, 1, 2, 2, 2, 3, 3]


# Training that cannot go on


def test_a_loss_that_stays_broken_ends_the_run_and_names_its_first_step(tmp_path: Path) -> None:
    model = failing(lambda call: math.nan if call >= 12 else None)
    with pytest.raises(NonFiniteLossError, match=r"since step 12; .* the output of decoders\.0 \(Failing\)") as error:
        fit(model, dataset(), steps=60, max_skips=9, out=tmp_path, progress=False, precision="float32")
    assert (error.value.step, error.value.culprit.split(",")[0]) == (12, "the output of decoders.0 (Failing)")
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("where", ["data", "parameter"])
def test_what_no_later_step_can_do_without_ends_the_run_at_once(where: str) -> None:
    model = vae()
    if where == "parameter":
        with torch.no_grad():
            model.encoders[0][3].bias[0] = math.nan  # type: ignore[index]
        with pytest.raises(NonFiniteLossError, match=r"the parameter encoders\.0\.3\.bias, before this step") as error:
            fit(model, dataset(), steps=60, progress=False)
    else:
        x = vectors(64)
        x[:, 2] *= 1e30  # finite, and its square is not
        with pytest.raises(NonFiniteLossError) as error:
            fit(model, data.load(x, validation=0, test=0), steps=60, max_skips=3, progress=False)
    assert error.value.step == 0


def test_a_run_without_a_single_update_is_not_a_result() -> None:
    """Shorter than `max_skips`, it would otherwise return a model that has not trained."""
    with pytest.raises(NonFiniteLossError, match="since step 0; no such update was made") as error:
        fit(vae(), dataset(), steps=20, max_skips=100, objective=Spoiling([math.inf] * 1000), progress=False)
    assert error.value.step == 0


def test_gradients_that_never_come_down_again_stall_training() -> None:
    """From step 30 on each is a hundred times longer than the last: no running mean follows that."""
    factors = [1.0] * 30 + [100.0 ** (step + 1) for step in range(12)]
    words = r"since step 30: 10 gradients one after another were not finite, or more than 10 times as long"
    with pytest.raises(StalledTrainingError, match=words) as error:
        fit(vae(), dataset(), steps=60, max_skips=10, objective=Spoiling(factors), progress=False, precision="float64")
    assert error.value.step == 30


def test_a_lasting_rise_of_the_gradients_is_lived_through() -> None:
    factors = [1.0] * 60 + [100.0] * 1000
    result = fit(vae(), dataset(), steps=160, objective=Spoiling(factors), progress=False, validate_every=1000)
    assert 5 <= result.skipped <= 15


def test_without_a_limit_there_are_words_for_it_too() -> None:
    assert "10 times" in str(StalledTrainingError(3, 7, 10.0))


def test_a_stall_without_a_limit_has_words() -> None:
    """Of a process without rows of its own: nothing there can be traced."""
    assert "not finite" in str(StalledTrainingError(3, 7, None))


def test_a_validation_loss_that_is_not_finite_ends_the_run() -> None:
    class Exploding(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002  its name in torch
            return super().forward(input) if self.training else super().forward(input) * math.inf

    model = VAE(VAEConfig(encoders=[nn.Linear(6, 6)], decoders=[Exploding(3, 6)]))
    with pytest.raises(NonFiniteLossError, match="the validation loss, after a finite training loss"):
        fit(model, dataset(), steps=5, progress=False)

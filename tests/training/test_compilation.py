"""Whether the step is compiled: the decision from measured times, and a compiled run."""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.helpers import Watcher, dataset, same_weights, vae, vectors
from tests.training.updates import portion, same, snapshot, update_of

from lucid import data, nn
from lucid.models import VAE, VAEConfig
from lucid.objectives import ELBO, Linear
from lucid.training import Run, compilation, fit
from lucid.training.compilation import long_enough, worth_compiling
from lucid.training.update import Update

PORTION = portion(vectors(16))


@pytest.fixture(autouse=True)
def warnings_of_the_compiler() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its own, about its imports
        yield


@pytest.fixture
def messages() -> list[str]:
    return []


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Steps take the given seconds, plain and compiled, and compiling takes none."""

    def set_times(plain: float, compiled: float) -> None:
        def seconds(update: Update, _portion: object, times: int = 3) -> float:
            return plain if update.compiled is None else compiled

        def compile_update(update: Update, _portion: object) -> None:
            update.compiled, update.compiled_shape = update.step, PORTION.x.shape

        monkeypatch.setattr(compilation, "_seconds", seconds)
        monkeypatch.setattr(compilation, "warm_up", compile_update)

    return set_times


@pytest.mark.parametrize(("compiled", "kept"), [(0.5, True), (0.94, True), (0.96, False), (1.2, False)])
def test_what_is_measured_to_be_faster_is_kept(compiled: float, kept: bool, timed: Any, messages: list[str]) -> None:
    timed(1.0, compiled)
    update = update_of(vae().train())
    assert worth_compiling(update, PORTION, 6000, messages.append) is kept
    assert update.compiled is None
    assert messages[0] == "the run will take about 100 min: trying if a compiled step is faster"
    verdict = "it is used" if kept else "it is not used"
    said = rf"compiling took \d+ s; the compiled step takes {compiled:.2f} of the time: {verdict}"
    assert re.fullmatch(said, messages[1])


def test_a_short_run_is_not_worth_the_trial(timed: Any, messages: list[str]) -> None:
    timed(0.1, 0.0)
    assert not worth_compiling(update_of(vae().train()), PORTION, 11_999, messages.append)
    assert messages == []
    assert worth_compiling(update_of(vae().train()), PORTION, 12_001, messages.append)
    assert [long_enough(steps) for steps in (1999, 2000)] == [False, True]


@pytest.mark.parametrize("where", ["compiling", "running"])
def test_where_the_compiler_fails_the_step_runs_as_it_is(
    where: str, timed: Any, messages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    timed(1.0, 0.5)

    def fails(*_: Any, **_more: Any) -> Any:
        raise RuntimeError("InvalidCxxCompiler: no compiler\nand a long tale")

    if where == "compiling":
        monkeypatch.setattr(compilation, "compile_update", fails)
    else:
        monkeypatch.setattr(compilation, "compile_update", lambda update, _: setattr(update, "compiled", fails))
    update = update_of(vae().train())
    update.compiled_shape = PORTION.x.shape
    assert not worth_compiling(update, PORTION, 10_000, messages.append)
    assert update.compiled is None
    expected = "the step cannot be compiled here, and runs as it is: InvalidCxxCompiler: no compiler"
    assert messages[1:] == [expected]


def test_the_trial_leaves_the_run_where_it_was(timed: Any, messages: list[str]) -> None:
    """Not the statistics of normalisation either: else a run would depend on whether something was measured."""
    encoder = nn.Sequential(nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8), nn.Linear(8, 6))
    update = update_of(VAE(VAEConfig(encoders=[encoder], decoders=[nn.Linear(3, 6)])).train())
    before = snapshot(update)
    state = update.guard.state()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compilation, "_LONG", 0.0)
        patch.setattr(compilation, "compile_update", lambda update, _: setattr(update, "compiled", None))
        worth_compiling(update, PORTION, 6000, messages.append)
    assert [name for name in same(before, snapshot(update)) if name != "latent_shapes"] == []
    assert update.guard.state() == state


def test_a_run_that_is_short_is_not_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def measured(*_: Any) -> bool:
        raise AssertionError("measured")

    monkeypatch.setattr("lucid.training.loop.worth_compiling", measured)
    fit(vae(), dataset(), steps=3, out=tmp_path, progress=False)
    assert Run(tmp_path).description["training"]["compile"] is False


def test_what_was_decided_is_not_decided_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A resumed run computes as the run began, whatever would be measured now."""
    asked: list[int] = []

    def decide(update: Update, first: Any, steps: int, tell: Any) -> bool:
        asked.append(steps)
        return True

    def eager(update: Update, first: Any) -> None:
        update.compiled, update.compiled_shape = lambda x, betas, **more: update.step(x, betas, **more), first.x.shape

    monkeypatch.setattr("lucid.training.loop.worth_compiling", decide)
    monkeypatch.setattr(compilation, "compile_update", eager)
    monkeypatch.setattr("lucid.training.loop.long_enough", lambda _: True)
    settings: dict[str, Any] = {"out": tmp_path, "progress": False, "batch_size": 32}
    told = Watcher(lambda _step: None)
    fit(vae(), dataset(), steps=4, **settings | {"progress": told})
    assert not told.messages  # an instant is not worth a word
    assert (asked, Run(tmp_path).description["training"]["compile"]) == ([4], True)
    fit(vae(), dataset(), steps=8, resume=True, **settings)
    assert (asked, Run(tmp_path).description["training"]["compile"]) == ([4], True)


def test_what_compiling_cost_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0])
    monkeypatch.setattr(compilation.time, "perf_counter", lambda: next(times, 42.0))
    told: list[str] = []
    encoder = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 6))
    update = update_of(VAE(VAEConfig(encoders=[encoder], decoders=[nn.Linear(3, 6)])).train())
    monkeypatch.setattr(compilation, "compile_update", lambda *_: None)
    before = encoder[1].running_mean.clone()  # type: ignore[operator, union-attr]
    compilation.warm_up(update, PORTION, told.append)
    assert told == ["compiling the step took 42 s"]
    assert torch.equal(before, encoder[1].running_mean)  # type: ignore[arg-type]


@pytest.fixture
def compiler() -> Iterator[None]:
    if not shutil.which("g++"):
        pytest.skip("torch.compile needs a C++ compiler, g++")
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.usefixtures("compiler")
def test_a_compiled_run_learns_and_resumes_exactly(tmp_path: Path) -> None:
    """Batches of 32 of 144 examples: the last, of 16, is computed as it is. β is another at each step."""
    source = data.load(vectors(180))
    settings: dict[str, Any] = {"steps": 40, "batch_size": 32, "learning_rate": 0.02, "warmup": 5, "compile": True}
    settings |= {"objective": ELBO(Linear(steps=40)), "validate_every": 13, "precision": "float32"}
    graphs = torch._dynamo.utils.counters["stats"]
    graphs.clear()
    unbroken = fit(vae(), source, progress=False, out=tmp_path / "a", **settings)
    assert graphs["unique_graphs"] == 1  # one shape; the small last batch and β on its way make no others
    held = source.test.tensor()
    assert float(unbroken.model.elbo(held, num_samples=50)) > float(vae().eval().elbo(held, num_samples=50)) + 0.3

    def stop(step: int) -> None:
        if step == 17:
            raise KeyboardInterrupt

    more: dict[str, Any] = {"out": tmp_path / "b", **settings}
    with pytest.raises(KeyboardInterrupt):
        fit(vae(), source, checkpoint_seconds=0.0, progress=Watcher(stop), **more)
    resumed = fit(vae(seed=9), source, resume=True, progress=False, **more)
    assert same_weights(unbroken.model, resumed.model)

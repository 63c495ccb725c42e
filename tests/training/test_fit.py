"""Training: it learns, it is reproducible, it stops where it should and says why."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.helpers import Watcher, dataset, same_weights, vae, vectors
from torch import Tensor

import lucid
from lucid import data, nn
from lucid.models import VAE, VAEConfig
from lucid.objectives import ELBO, Linear
from lucid.training import NonFiniteLossError, Run, fit
from lucid.training.randomness import Randomness


def quiet(model: VAE, source: Any, **more: Any) -> Any:
    return fit(model, source, progress=False, **more)


def sgd(parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.01)


def test_learns() -> None:
    model, split = vae().eval(), dataset().test.tensor()
    before = float(model.elbo(split, num_samples=100))
    result = quiet(model, dataset(), steps=200, learning_rate=0.01)
    assert float(model.elbo(split, num_samples=100)) > before + 0.5
    assert (result.steps, result.interrupted, model.training) == (200, False, False)
    assert model.protocol == dataset().protocol


def test_one_step_is_one_step_of_the_optimizer_on_the_loss_of_get_loss() -> None:
    """A step through the engine changes the weights exactly as the same step written by hand."""
    source = data.load(vectors(64), validation=0, test=0)
    ours, by_hand = vae(), vae()
    quiet(
        ours,
        source,
        steps=1,
        batch_size=64,
        warmup=0,
        decay="none",
        learning_rate=0.01,
        precision="float32",
        optimizer=sgd,
    )
    randomness = Randomness(0, torch.device("cpu"), 0)
    with randomness.borrowed():
        randomness.at("train", 0)  # dropout's stream, and that of the draws
        x = next(source.train.batches(64, seed=0))
        eps = torch.randn(64, 3, generator=randomness.noise)
        mu, logvar = by_hand.encoders[0](x).chunk(2, 1)
        recon = by_hand.decoders[0](mu + (0.5 * logvar).exp() * eps)
        nll = 0.5 * (x - recon).square().sum(1) + 3 * math.log(2 * math.pi)
        kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1)
        (nll + kl).mean().backward()
    sgd(by_hand.parameters()).step()
    for mine, theirs in zip(ours.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_seed_decides_everything_and_the_callers_stream_is_untouched() -> None:
    first, second, other = vae(), vae(), vae()
    state = torch.get_rng_state()
    quiet(first, dataset(), steps=20, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    quiet(second, dataset(), steps=20, seed=3)
    quiet(other, dataset(), steps=20, seed=4)
    assert same_weights(first, second)
    assert not same_weights(first, other)


@pytest.mark.parametrize("stop_at", [1, 7, 8, 20, 33])
def test_an_interrupted_run_resumes_as_if_it_had_not_been(stop_at: int, tmp_path: Path) -> None:
    """Step 8 is the end of a pass over the data (160 examples in batches of 20)."""
    run: dict[str, Any] = {"steps": 40, "batch_size": 20, "validate_every": 10, "log_every": 4}
    unbroken = quiet(vae(), dataset(), **run)

    watcher = Watcher(lambda step: os.kill(os.getpid(), signal.SIGINT) if step == stop_at else None)
    stopped = fit(vae(), dataset(), out=tmp_path, progress=watcher, **run)
    assert (stopped.steps, stopped.interrupted) == (stop_at, True)
    assert watcher.messages == [f"stopped after step {stop_at} of 40; --resume {tmp_path} goes on"]

    resumed = quiet(vae(seed=9), dataset(), out=tmp_path, resume=True, **run)
    assert same_weights(unbroken.model, resumed.model)
    assert (resumed.best_loss, resumed.best_step) == (unbroken.best_loss, unbroken.best_step)


def test_the_metrics_of_a_resumed_run_are_those_of_the_unbroken_one(tmp_path: Path) -> None:
    run: dict[str, Any] = {"steps": 24, "batch_size": 20, "validate_every": 8, "log_every": 6}
    quiet(vae(), dataset(), out=tmp_path / "a", **run)
    watcher = Watcher(lambda step: os.kill(os.getpid(), signal.SIGINT) if step == 11 else None)
    fit(vae(), dataset(), out=tmp_path / "b", progress=watcher, **run)
    quiet(vae(), dataset(), out=tmp_path / "b", resume=True, **run)
    timed = ("seconds", "examples_per_second")

    def lines(folder: str) -> list[dict[str, Any]]:
        return [{k: v for k, v in line.items() if k not in timed} for line in Run(tmp_path / folder).metrics()]

    assert lines("a") == lines("b")


def test_a_resumed_run_may_be_longer_and_nothing_else(tmp_path: Path) -> None:
    quiet(vae(), dataset(), out=tmp_path, steps=5)
    assert quiet(vae(), dataset(), out=tmp_path, steps=9, resume=True).steps == 9
    with pytest.raises(ValueError, match=r"cannot be resumed with other batch_size \(was 128, now 64\)"):
        quiet(vae(), dataset(), out=tmp_path, steps=12, batch_size=64, resume=True)
    with pytest.raises(ValueError, match=r"cannot be resumed with other data: its split \(was split 160/20/20"):
        quiet(vae(), dataset(300), out=tmp_path, steps=12, resume=True)


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path: Path) -> None:
    quiet(vae(), dataset(), out=tmp_path, steps=2)
    with pytest.raises(FileExistsError, match="already holds a run: resume it"):
        quiet(vae(), dataset(), out=tmp_path, steps=2)


def test_the_best_weights_are_kept_not_the_last(tmp_path: Path) -> None:
    """A learning rate that destroys the model half-way: what is returned and saved is from before."""
    model = vae()
    result = quiet(
        model,
        dataset(),
        steps=60,
        validate_every=10,
        out=tmp_path,
        optimizer=_breaking_after(30),
        decay="none",
        warmup=0,
    )
    assert result.best_step <= 30
    with torch.no_grad():
        again = -float(model.elbo(dataset().validation.tensor(), num_samples=200))
    assert again == pytest.approx(result.best_loss, rel=0.05)
    assert same_weights(lucid.load(tmp_path / "model"), model)


def _breaking_after(steps: int) -> Callable[[Iterable[Tensor]], torch.optim.Optimizer]:
    class Breaking(torch.optim.Adam):
        done = 0

        def step(self, closure: Any = None) -> Any:
            self.done += 1
            if self.done > steps:
                for group in self.param_groups:
                    for parameter in group["params"]:
                        parameter.data.add_(1.0)
            return super().step(closure)

    return lambda parameters: Breaking(parameters, lr=0.01)


def test_the_beginning_of_a_warmup_does_not_win() -> None:
    """At β = 0 the loss is lowest while the bound is worst: best is judged at the β of the end."""
    model = vae()
    result = quiet(
        model, dataset(), steps=300, validate_every=25, learning_rate=0.01, objective=ELBO(Linear(steps=300, end=2.0))
    )
    assert result.best_step > 200


def test_a_run_that_ends_before_its_schedule_says_so() -> None:
    watcher = Watcher(lambda _step: None)
    model = vae(beta_schedule=Linear(steps=100))
    result = fit(model, dataset(), steps=26, progress=watcher)
    expected = "the β schedule needs 100 steps and the run has 26: it ends at β = 0.25 in the place of 1"
    assert result.notes == (expected,)
    assert watcher.messages == [f"note: {expected}"]
    assert int(model.beta_step) <= 26
    assert fit(vae(beta_schedule=Linear(steps=20)), dataset(), steps=26, progress=False).notes == ()


def test_the_models_own_beta_step_goes_with_training() -> None:
    model = vae(beta_schedule=Linear(steps=100))
    quiet(model, data.load(vectors(64), validation=0, test=0), steps=7)
    assert int(model.beta_step) == 7
    assert model.current_beta() == pytest.approx(0.07)


@pytest.mark.parametrize(
    ("broken", "culprit"),
    [
        ("encoders.0.0", r"the output of encoders\.0\.0 \(Linear\), \d+ of \d+ values"),
        ("decoders.0.2", r"the output of decoders\.0\.2 \(Linear\), \d+ of \d+ values"),
    ],
)
def test_a_non_finite_loss_names_the_first_module_before_the_update(broken: str, culprit: str) -> None:
    model = vae()
    with torch.no_grad():
        model.get_submodule(broken).weight.fill_(1e38)  # type: ignore[union-attr]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(NonFiniteLossError, match=culprit) as error:
        quiet(model, dataset(), steps=5)
    assert error.value.step == 0
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name])


def test_a_non_finite_parameter_is_named() -> None:
    model = vae()
    with torch.no_grad():
        model.decoders[0][2].bias[1] = math.nan  # type: ignore[index]
    with pytest.raises(NonFiniteLossError, match=r"the parameter decoders\.0\.2\.bias, before this step"):
        quiet(model, dataset(), steps=5)


def test_a_density_that_overflows_from_finite_outputs_is_named() -> None:
    model = vae()
    with torch.no_grad():
        model.decoders[0][2].bias.fill_(3e30)  # type: ignore[index, union-attr]
    with pytest.raises(NonFiniteLossError, match=r"−log p\(x\|z\), from finite decoder outputs as large as [23]"):
        quiet(model, dataset(), steps=5)


def test_mixed_precision_leaves_data_and_densities_in_float32() -> None:
    """Rounded to bfloat16, 255 levels would collapse to fewer; the encoder must be the first to see half precision."""
    seen: dict[str, Tensor] = {}

    class Watching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(256, 8)

        def forward(self, x: Tensor) -> Tensor:
            seen["x"], out = x.detach().clone(), self.linear(x)
            seen["out"] = out.detach()
            return out

    grid = torch.arange(256, dtype=torch.uint8).repeat(32, 1)
    model = VAE(VAEConfig(encoders=[Watching()], decoders=[nn.Linear(4, 256)], reconstruction_loss="bce"))
    losses: list[Tensor] = []

    class Recording(ELBO):
        def __call__(self, record: Any, beta: Any) -> Any:
            terms = super().__call__(record, beta)
            losses.append(terms.loss.detach())
            return terms

    quiet(
        model, data.load(grid, levels=256, validation=0, test=0), steps=1, precision="bf16-mixed", objective=Recording()
    )
    assert torch.equal(seen["x"][0], torch.arange(256) / 255)
    assert seen["out"].dtype == torch.bfloat16
    assert losses[0].dtype == torch.float32


def test_bfloat16_reaches_the_same_bound() -> None:
    bounds = []
    for precision in ("float32", "bf16-mixed"):
        model = vae()
        quiet(model, dataset(400), steps=300, learning_rate=0.01, precision=precision)
        with torch.no_grad():
            bounds.append(model.elbo(dataset(400).test.tensor(), num_samples=100))
    assert float(bounds[0]) == pytest.approx(float(bounds[1]), abs=3 * float(bounds[0].standard_error))


def test_double_precision() -> None:
    model = vae()
    quiet(model, dataset(), steps=2, precision="float64")
    assert all(parameter.dtype == torch.float64 for parameter in model.parameters())


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a device that is there")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="device 'cuda' is not available here; there is: cpu"):
        quiet(vae(), dataset(), steps=1, device="cuda")


def test_arguments_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="model must be a model of lucid's"):
        quiet(nn.Linear(2, 2), dataset(), steps=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="resume needs out"):
        quiet(vae(), dataset(), steps=1, resume=True)
    with pytest.raises(FileNotFoundError, match="is not a run: there is no such folder"):
        quiet(vae(), dataset(), steps=1, resume=True, out=tmp_path / "nothing")


def test_without_a_validation_split_the_last_weights_are_kept(tmp_path: Path) -> None:
    result = quiet(vae(), data.load(vectors(64), validation=0, test=0), steps=3, out=tmp_path)
    assert (result.best_step, result.validation) == (-1, None)
    assert same_weights(lucid.load(tmp_path / "model"), result.model)


def test_the_metrics_file_holds_means_over_examples(tmp_path: Path) -> None:
    """One pass over 160 examples in batches of 100 and 60: each example counts once, not each batch."""
    model = vae()
    quiet(model, dataset(), out=tmp_path, steps=2, batch_size=100, log_every=2, learning_rate=1e-12, warmup=0)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    train, validation = lines
    assert [train["split"], validation["split"]] == ["train", "validation"]
    assert train["loss"] == pytest.approx(-train["elbo"])
    assert train["elbo"] == pytest.approx(-train["reconstruction"] - sum(train["kl"]))
    assert train["step"] == 2
    assert train["epoch"] == 1.0
    model.train()
    exact = [-model.elbo(x, num_samples=400).per_example.detach() for x in dataset().train.batches(100)]
    assert train["loss"] == pytest.approx(float(torch.cat(exact).mean()), rel=0.05)


def test_tensorboard_files_are_written_when_asked(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    quiet(vae(), dataset(), out=tmp_path, steps=2, tensorboard=True)
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_a_stream_trains_for_the_steps_it_is_given() -> None:
    class Stream(torch.utils.data.IterableDataset[Tensor]):
        def __iter__(self) -> Any:
            return iter(vectors(100))

    stream = data.load(Stream(), validation=0, test=0)
    result = quiet(vae(), stream, steps=30, batch_size=16)
    assert result.steps == 30
    with pytest.raises(ValueError, match="stream of unknown length: give steps"):
        quiet(vae(), stream, epochs=3)


@pytest.mark.parametrize("precision", ["float32", "bf16-mixed"])
def test_a_run_on_draws_made_at_each_visit_resumes_exactly(precision: str, tmp_path: Path) -> None:
    """Dynamic binarisation and mixed precision: the draws of a visit are a function of seed, pass and batch."""
    pixels = torch.randint(0, 256, (100, 6), generator=torch.Generator().manual_seed(2)).to(torch.uint8)
    source = data.load(pixels, levels=256, binarisation="dynamic")
    run: dict[str, Any] = {"steps": 15, "batch_size": 32, "validate_every": 4, "precision": precision}
    unbroken = quiet(vae(reconstruction_loss="bce"), source, **run)
    watcher = Watcher(lambda step: os.kill(os.getpid(), signal.SIGINT) if step == 5 else None)
    stopped = fit(vae(reconstruction_loss="bce"), source, out=tmp_path, progress=watcher, **run)
    assert stopped.interrupted
    resumed = quiet(vae(seed=9, reconstruction_loss="bce"), source, out=tmp_path, resume=True, **run)
    assert same_weights(unbroken.model, resumed.model)


@pytest.mark.parametrize("precision", ["float64", "bf16-mixed"])
def test_a_non_finite_loss_is_traced_in_the_precision_it_happened_in(precision: str) -> None:
    model = vae()
    if precision == "float64":
        model = model.double()
    with torch.no_grad():
        model.get_submodule("decoders.0.2").weight.fill_(1e300 if precision == "float64" else 1e38)  # type: ignore[union-attr]
    with pytest.raises(NonFiniteLossError, match=r"First non-finite: (the output of decoders\.0|−log p)"):
        quiet(model, dataset(), steps=2, precision=precision)

"""One update: clipping, parts of a batch, what is left out, and that a device is never waited for."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from tests.training.helpers import vae, vectors
from tests.training.updates import Spoiling, optimizer_of, portion, same, snapshot, update_of
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lucid import nn
from lucid.data import Portion
from lucid.models import VAE, VAEConfig
from lucid.training.average import WeightAverage
from lucid.training.window import Window

X = vectors(32)
paths = pytest.mark.parametrize("on_device", [False, True], ids=["host", "device"])


def fused_sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, fused=True)


def deterministic(normalised: bool = False, **config: Any) -> VAE:
    """Without dropout, whose masks depend on how a batch is divided."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        norm = [nn.BatchNorm1d(8)] if normalised else []
        # No bias before a normalisation: its gradient is rounding noise, and Adam would make steps of it.
        encoder = nn.Sequential(nn.Linear(6, 8, bias=not normalised), *norm, nn.SiLU(), nn.Linear(8, 6))
        return VAE(VAEConfig(encoders=[encoder], decoders=[nn.Linear(3, 6)], **config)).train()


# Clipping


@paths
@pytest.mark.parametrize("clip", [0.1, 1.0, 1e6])
def test_clipping_is_that_of_torch(clip: float, on_device: bool) -> None:
    ours, theirs = vae().train(), vae().train()
    update = update_of(ours, optimizer=fused_sgd, clip=clip, on_device=on_device)
    update(portion(X), 1.0, 0)
    by_hand = update_of(theirs)
    by_hand.gradients(portion(X), 1.0, 0)
    length = torch.nn.utils.clip_grad_norm_(theirs.parameters(), clip)
    fused_sgd(theirs.parameters()).step()
    assert (clip < 1e6) == (float(length) > clip)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        # PyTorch divides by the norm + 1e-6.
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-7)


# Parts of a batch


@pytest.mark.parametrize("parts", [2, 3, 32, 40])
def test_a_batch_in_parts_makes_the_update_of_the_whole(parts: int) -> None:
    """32 rows do not divide by 3; 40 parts of which 8 are empty are 32."""
    whole, divided = deterministic().double(), deterministic().double()
    settings: dict[str, Any] = {"precision": "float64", "optimizer": fused_sgd, "batch_size": 64}
    for model, more in ((whole, {}), (divided, {"accumulate": parts})):
        update = update_of(model, **settings, **more)
        counted = update(portion(X.double()), 0.7, 3)
        assert sum(part.examples for part in counted) == len(X)
    for mine, other in zip(whole.parameters(), divided.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-12)


def test_portions_of_several_processes_make_the_gradient_of_the_whole() -> None:
    """Each weighs its rows by their number and the number of processes, and their gradients are averaged."""
    model = deterministic().double()
    update = update_of(model, precision="float64")
    update.gradients(portion(X.double()), 1.0, 0)
    whole = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    together = [torch.zeros_like(gradient) for gradient in whole]
    update._engine.of = 3
    for begin, end in ((0, 10), (10, 32), (32, 32)):
        update.gradients(Portion(X.double()[begin:end], begin, 32), 1.0, 0)
        for total, parameter in zip(together, model.parameters(), strict=True):
            assert parameter.grad is not None  # every process has something to exchange
            total += parameter.grad / 3
    torch.testing.assert_close(together, whole, rtol=1e-9, atol=1e-12)


def test_the_parts_of_a_batch_have_dropout_masks_of_their_own() -> None:
    masks: list[Tensor] = []
    model = vae().train()
    model.encoders[0][2].register_forward_hook(lambda _m, _x, out: masks.append(out.detach() == 0))  # type: ignore[index]
    update_of(model, accumulate=2, batch_size=len(X)).gradients(portion(X), 1.0, 0)
    assert not torch.equal(*masks)


# What is left out


def spoilt(factor: float) -> Spoiling:
    """Thirty good losses, then a spoilt one, then good ones."""
    return Spoiling([1.0] * 30 + [factor])


@paths
@pytest.mark.parametrize("factor", [math.nan, math.inf, 1e6], ids=["nan", "inf", "spike"])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_an_update_that_is_left_out_changes_nothing(factor: float, clip: float | None, on_device: bool) -> None:
    model = deterministic(normalised=True)
    update = update_of(model, objective=spoilt(factor), clip=clip, on_device=on_device)
    for number in range(30):
        update(portion(X), 1.0, number)
    before = snapshot(update)
    assert any(".exp_avg" in name for name in before)
    # Other rows than before, so that statistics of normalisation would change.
    update(portion(3 * X + 1), 1.0, 30)
    update.guard.read()
    assert (update.guard.skipped, update.guard.broken) == (1, 0 if factor == 1e6 else 1)
    assert [name for name in same(before, snapshot(update)) if "num_batches" not in name] == []
    update(portion(X), 1.0, 31)
    changed = same(before, snapshot(update))
    assert {"encoders.0.0.weight", "encoders.0.1.running_mean"} < set(changed)


@paths
def test_an_update_that_is_left_out_is_not_among_the_batches_normalisation_has_seen(on_device: bool) -> None:
    """With `momentum=None` the statistics are plain means, and this count is their denominator."""
    model = deterministic(normalised=True)
    update = update_of(model, objective=Spoiling([math.nan]), on_device=on_device)
    update(portion(X), 1.0, 0)
    assert int(model.encoders[0][1].num_batches_tracked) == 0  # type: ignore[index]


@paths
@pytest.mark.parametrize("added", [math.inf, math.nan])
def test_a_loss_that_is_not_finite_is_left_out_though_its_gradient_is(added: float, on_device: bool) -> None:
    update = update_of(deterministic(), objective=Spoiling(added=added), on_device=on_device)
    before = snapshot(update)
    update(portion(X), 1.0, 0)
    update.guard.read()
    assert (update.guard.skipped, update.guard.broken) == (1, 1)
    after = snapshot(update)
    assert [name for name in same(before, after) if name.endswith(("weight", "bias"))] == []
    assert all(not value.any() for name, value in after.items() if name.startswith("optimizer"))


@paths
def test_one_part_that_is_not_finite_spoils_the_batch(on_device: bool) -> None:
    update = update_of(deterministic(), objective=Spoiling([1.0, math.inf]), accumulate=3, on_device=on_device)
    before = snapshot(update)
    update(portion(X), 1.0, 0)
    update.guard.read()
    assert update.guard.broken == 1
    assert [name for name in same(before, snapshot(update)) if name.endswith(("weight", "bias"))] == []


# The path that looks at nothing


@pytest.mark.parametrize("precision", ["float32", "float64", "bf16-mixed"])
@pytest.mark.parametrize("clip", [None, 3.0])
def test_what_a_device_decides_is_what_the_host_decides(clip: float | None, precision: str) -> None:
    """Fifty updates with spikes and NaN among them: the same are left out, and the weights come out the same."""
    factors = [1.0] * 50
    factors[3], factors[25], factors[26], factors[40], factors[41] = math.nan, 1e4, 1e4, math.inf, 0.01
    made: list[dict[str, Tensor]] = []
    guards: list[dict[str, Any]] = []
    for on_device in (False, True):
        model = deterministic(normalised=True)
        more: dict[str, Any] = {"clip": clip, "accumulate": 2, "precision": precision}
        doubled = [factor for factor in factors for _ in range(2)]
        update = update_of(model, objective=Spoiling(doubled), on_device=on_device, skip=5.0, **more)
        dtype = next(model.parameters()).dtype
        for number in range(50):
            update(portion(X.to(dtype)), 0.5, number)
        made.append({name: value for name, value in snapshot(update).items() if "num_batches" not in name})
        guards.append(update.guard.state())
    assert guards[0]["skipped"] == 4
    assert guards[0] == guards[1] | {"mean": pytest.approx(guards[1]["mean"], rel=1e-3, abs=1e-3)}
    tolerance = {"float32": 1e-3, "float64": 1e-6, "bf16-mixed": 5e-2}[precision]
    for name, value in made[0].items():
        torch.testing.assert_close(
            value, made[1][name], rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


class NoLook(TorchDispatchMode):
    """Refuses whatever would make the host wait for a device: reading a number, and copying one there."""

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal", "is_nonzero", "lift_fresh")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name.startswith(self.WAITING) and "not_equal" not in name:
            raise AssertionError(f"{func} makes the host wait")
        indices = [x for arg in args if isinstance(arg, list | tuple) for x in arg if isinstance(x, Tensor)]
        if name.startswith("index") and any(x.dtype == torch.bool for x in indices):
            raise AssertionError(f"{func} with a mask makes the host wait")
        return func(*args, **(kwargs or {}))


@pytest.fixture
def as_on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU the bounds of densities look whether they are needed, since that is cheap there."""
    monkeypatch.setattr("lucid.distributions.bounds._plainly_inside", lambda _h: False)


def one_update(update: Any, number: int) -> None:
    window, average = Window(), WeightAverage(update._inner.model, 0.9)
    for counted in update(portion(X), 0.5, number):
        window.add(counted.terms, counted.examples)
    average.update(number)


@pytest.mark.usefixtures("as_on_a_device")
@pytest.mark.parametrize(
    "more",
    [{}, {"clip": 1.0, "skip": None}, {"accumulate": 3}, {"recompute": True}, {"precision": "bf16-mixed"}],
    ids=str,
)
def test_nothing_of_an_update_waits_for_the_device(more: dict[str, Any]) -> None:
    models = [
        vae().train(),
        deterministic(normalised=True, reconstruction_loss="bce"),
        VAE(
            VAEConfig(
                encoders=[nn.Linear(6, 8), nn.Linear(4, 6)],
                decoders=[nn.Sequential(nn.Linear(4, 6), nn.Sigmoid()), nn.Linear(3, 4)],
                priors=[nn.Linear(3, 8)],
            )
        ),
    ]
    for model in models:
        update = update_of(model, on_device=True, **more)
        one_update(update, 0)  # the optimizer makes its slots
        with NoLook():
            one_update(update, 1)


@pytest.mark.usefixtures("as_on_a_device")
def test_the_watch_for_waiting_sees_the_host_look() -> None:
    update = update_of(vae().train())
    one_update(update, 0)
    with NoLook(), pytest.raises(AssertionError, match="_local_scalar_dense"):
        one_update(update, 1)


@pytest.mark.usefixtures("as_on_a_device")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own, about its imports
def test_a_compiled_update_does_not_wait_for_the_device_either() -> None:
    update = update_of(vae().train(), on_device=True)
    one_update(update, 0)
    update.compiled, update.compiled_shape = update.step, X.shape
    with NoLook():
        one_update(update, 1)


@pytest.mark.parametrize("fused", [True, False])
def test_only_an_optimizer_that_can_leave_an_update_out_itself_decides_on_the_device(fused: bool) -> None:
    """The host reads nothing where it need not, and never hands an update to one that would make it regardless."""
    model = deterministic()
    update = update_of(model, optimizer=lambda p: torch.optim.AdamW(p, fused=fused))
    assert update._on_host  # a CPU's numbers are free to read
    assert hasattr(optimizer_of(update), "_step_supports_amp_scaling") is fused


def test_statistics_are_read_once_a_batch_and_not_shared_with_their_copy() -> None:
    update = update_of(deterministic(normalised=True))
    kept = copy.copy(update._kept)
    update(portion(X), 1.0, 0)
    assert all(a is b for a, b in zip(kept, update._kept, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(update._kept, update._buffers, strict=True))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own, about its imports
def test_a_compiled_update_is_only_for_batches_of_its_shape() -> None:
    update = update_of(vae().train())
    shapes: list[torch.Size] = []

    def compiled(x: Tensor, betas: Any, condition: Tensor | None = None) -> Any:
        shapes.append(x.shape)
        return update.step(x, betas)

    update.compiled, update.compiled_shape = compiled, X.shape
    for x in (X, X[:7], X):
        update(portion(x), 1.0, 0)
    assert shapes == [X.shape, X.shape]

"""Where the time of a training step goes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from lucid.models import LatentModel
from lucid.objectives import Objective, objective_of
from lucid.training.host import keep_large_blocks, without_denormals
from lucid.training.loop import Loop
from lucid.training.metrics import MetricsWriter
from lucid.training.networks import networks_of
from lucid.training.precision import has_bfloat16
from lucid.training.progress import Silent
from lucid.training.settings import Settings

if TYPE_CHECKING:
    from lucid.data import Dataset

__all__ = ["Phase", "Profile", "profile"]

_WARM_UP = 10
_ENDLESS = 10**9
_DENSITIES = "sampling and densities"


@dataclass(frozen=True)
class Phase:
    """A part of the step.

    Attributes:
        name: What is done in it.
        seconds: A step's time in it, on average.
        share: Of the whole step.
    """

    name: str
    seconds: float
    share: float


@dataclass(frozen=True)
class Profile:
    """Where the time of a training step goes.

    Attributes:
        phases: The parts, in the order of the step; their shares add up to 1.
        seconds: Of a step, with the watch that took these times.
        examples_per_second: Without the watch.
        peak_bytes: Most memory held: on a CUDA device the device's, else the process's.
        parameters: Numbers that are trained.
        device: Where it computed.
        precision: In what.
        notes: What stands out, and what to do about it.
    """

    phases: tuple[Phase, ...]
    seconds: float
    examples_per_second: float
    peak_bytes: int
    parameters: int
    device: str
    precision: str
    notes: tuple[str, ...]


def profile(
    model: LatentModel,
    data: Dataset,
    settings: Settings | None = None,
    *,
    objective: Objective | None = None,
    steps: int = 50,
) -> Profile:
    """Train some steps and measure the parts of each; the weights change as they do in training.

    On a CUDA device every part is waited for, so that it bears its own time; a step without the watch is faster.

    Args:
        model: The model.
        data: What it is trained on.
        settings: As for `fit`.
        objective: As for `fit`.
        steps: Steps that are measured.

    Example:
        >>> import lucid
        >>> from lucid import models
        >>> data = lucid.data.load("digits")
        >>> result = profile(models.create("mlp", data, size=1), data, steps=5)
        >>> [phase.name for phase in result.phases][:2], round(sum(phase.share for phase in result.phases), 6)
        (['data', 'encoders.0'], 1.0)
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1; received {steps}")
    # A run without an end, and without a validation in the part that is measured.
    settings = replace(settings or Settings(), epochs=None, steps=_ENDLESS, validate_every=_ENDLESS)
    objective = objective or objective_of(model)
    more: dict[str, Any] = {"out": None, "progress": Silent(), "tensorboard": False, "description": {}}
    loop = Loop(model, data, settings, objective, None, **more)
    keep_large_blocks()
    with loop.randomness.borrowed(), without_denormals(), MetricsWriter(None) as writer:
        loop.advance(writer, _WARM_UP)
        plain = _timed(loop, lambda: loop.advance(writer, _WARM_UP + steps))
        watch = _Watch(loop.engine.device)
        with _watched(loop, watch):
            total = _timed(loop, lambda: loop.advance(writer, _WARM_UP + 2 * steps))
    return _result(loop, watch.seconds, total / steps, plain / steps, steps)


def _timed(loop: Loop, work: Callable[[], None]) -> float:
    _wait(loop.engine.device)
    started = time.perf_counter()
    work()
    _wait(loop.engine.device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


class _Watch:
    """Adds up the time spent under each name; time spent under an inner name is not the outer one's."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = {}
        self._device = device
        self._open: list[tuple[str, float]] = []

    def start(self, name: str) -> None:
        _wait(self._device)
        now = time.perf_counter()
        if self._open:
            self._add(self._open[-1], now)
        self._open.append((name, now))

    def stop(self) -> None:
        _wait(self._device)
        now = time.perf_counter()
        self._add(self._open.pop(), now)
        if self._open:
            self._open[-1] = (self._open[-1][0], now)

    def _add(self, opened: tuple[str, float], now: float) -> None:
        name, since = opened
        self.seconds[name] = self.seconds.get(name, 0.0) + now - since

    def around(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """`work`, timed."""

        def timed(*args: Any, **more: Any) -> Any:
            self.start(name)
            try:
                return work(*args, **more)
            finally:
                self.stop()

        return timed


@contextmanager
def _watched(loop: Loop, watch: _Watch) -> Generator[None]:
    """The parts of the loop and the layers of the model's networks are timed within it."""
    update: Any = loop.update
    places: list[tuple[Any, str, str]] = [
        (update, "terms", _DENSITIES),
        (update, "backward", "backward pass"),
        (update, "apply", "gradient norm and optimizer"),
    ]
    for owner, method, name in places:
        setattr(owner, method, watch.around(name, getattr(owner, method)))
    whole: Any = loop
    whole.portions = lambda portions=loop.portions: _timed_items(portions(), watch)
    hooks = [
        hook
        for name, network in networks_of(loop.model).items()
        for layer in network.modules()
        if next(layer.children(), None) is None  # what a model may run one by one
        for hook in (
            layer.register_forward_pre_hook(lambda *_, name=name: watch.start(name)),
            layer.register_forward_hook(lambda *_: watch.stop()),
        )
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for owner, method, _ in places:
            delattr(owner, method)
        del whole.portions


def _timed_items(items: Iterator[Any], watch: _Watch) -> Iterator[Any]:
    fetch = watch.around("data", lambda: next(items, None))
    return iter(fetch, None)


def _result(loop: Loop, seconds: dict[str, float], total: float, plain: float, steps: int) -> Profile:
    networks = list(networks_of(loop.model))
    order = ["data", *networks, _DENSITIES, "backward pass", "gradient norm and optimizer"]
    taken = {name: seconds[name] / steps for name in order if name in seconds}
    taken["the loop itself"] = max(0.0, total - sum(taken.values()))
    device = loop.engine.device
    shares = {name: value / sum(taken.values()) for name, value in taken.items()}
    return Profile(
        phases=tuple(Phase(name, value, shares[name]) for name, value in taken.items()),
        seconds=total,
        examples_per_second=loop.settings.batch_size / plain,
        peak_bytes=_peak(device),
        parameters=sum(p.numel() for p in loop.model.parameters() if p.requires_grad),
        device=str(device),
        precision=loop.engine.precision,
        notes=tuple(_notes(shares, loop)),
    )


def _notes(shares: dict[str, float], loop: Loop) -> Iterator[str]:
    if shares["data"] > 0.15:
        yield "reading the data takes a large part: workers= reads ahead, and data held in memory needs none of it"
    if shares["the loop itself"] > 0.2:
        yield "the networks are so small that the loop around them counts: a larger batch size uses the device better"
    if shares.get(_DENSITIES, 0.0) > 0.4:
        yield "sampling and densities take longer than the networks: a wider network costs little more"
    asked = loop.settings.precision
    if asked == "float32" and has_bfloat16(loop.engine.device):
        yield "the device computes in bfloat16, which makes larger networks faster: leave the precision to auto"


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

"""Whether a run's step is compiled: as the user says, or as a measurement does."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from statistics import median

import torch
from torch import Tensor

from lucid.data import Portion
from lucid.training.update import Update

__all__ = ["compile_update", "long_enough", "warm_up", "worth_compiling"]

_LONG = 20 * 60.0
"""Seconds a run must take for compiling, which takes about one minute, to be tried."""
_MANY = 2_000
"""Steps below which not even the length of the run is estimated."""
_GAIN = 0.95


def long_enough(steps: int) -> bool:
    """Whether a run has so many steps that compiling them is worth a thought."""
    return steps >= _MANY


def worth_compiling(update: Update, portion: Portion, steps: int, tell: Callable[[str], None]) -> bool:
    """Measure gradients as they are and compiled; no weight or statistic is changed. `update` is left as it was.

    Args:
        update: Of the run.
        portion: A full batch.
        steps: Of the run.
        tell: Told what was measured.
    """
    with _statistics_kept(update):
        return _faster_compiled(update, portion, steps, tell)


def warm_up(update: Update, portion: Portion, tell: Callable[[str], None]) -> None:
    """Compile the step before training begins, and tell what that cost; no weight or statistic is changed."""
    started = time.perf_counter()
    compile_update(update, portion)
    with _statistics_kept(update):
        update.gradients(portion, 1.0, 0)
    seconds = time.perf_counter() - started
    if seconds >= 1:
        tell(f"compiling the step took {seconds:.0f} s")


@contextmanager
def _statistics_kept(update: Update) -> Generator[None]:
    """The statistics of normalisation, and their counts, are afterwards what they were."""
    buffers: list[Tensor] = [b for b in update.step.buffers() if b.is_floating_point() or b.dim() == 0]
    kept = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, before in zip(buffers, kept, strict=True):
            buffer.copy_(before)


def _faster_compiled(update: Update, portion: Portion, steps: int, tell: Callable[[str], None]) -> bool:
    plain = _seconds(update, portion)
    if plain * steps < _LONG:
        return False
    tell(f"the run will take about {plain * steps / 60:.0f} min: trying if a compiled step is faster")
    started = time.perf_counter()
    try:
        compile_update(update, portion)
        update.gradients(portion, 1.0, 0)
        seconds = time.perf_counter() - started
        # In turn, since the speed of a shared computer drifts.
        pairs = [(_seconds(update, portion, 1), _plainly(update, portion)) for _ in range(5)]
    except Exception as error:  # noqa: BLE001  whatever a compiler fails with, the step runs without it
        tell(f"the step cannot be compiled here, and runs as it is: {_first_line(error)}")
        return False
    finally:
        update.compiled = None
    ratio = median(fast / slow for fast, slow in pairs)
    kept = ratio < _GAIN
    tell(
        f"compiling took {seconds:.0f} s; the compiled step takes {ratio:.2f} of the time: "
        f"{'it is used' if kept else 'it is not used'}"
    )
    return kept


def compile_update(update: Update, portion: Portion) -> None:
    """Have batches of this one's shape computed by a compiled step; others, such as a small last one, are not.

    On a CUDA device the compiled step is captured in graphs, so that it costs one launch in the place of hundreds. It
    draws from PyTorch's global stream: other numbers than the plain one, the same each time.
    """
    captured = portion.x.device.type == "cuda"
    update.compiled = torch.compile(update.step, dynamic=False, mode="reduce-overhead" if captured else None)
    update.compiled_shape = portion.x[: update.rows_of_part].shape


def _plainly(update: Update, portion: Portion) -> float:
    compiled, update.compiled = update.compiled, None
    try:
        return _seconds(update, portion, 1)
    finally:
        update.compiled = compiled


def _seconds(update: Update, portion: Portion, times: int = 3) -> float:
    """Median time of a gradient; the first is not counted."""
    taken: list[float] = []
    for _ in range(times + 1):
        started = time.perf_counter()
        update.gradients(portion, 1.0, 0)
        if portion.x.device.type == "cuda":
            torch.cuda.synchronize(portion.x.device)
        taken.append(time.perf_counter() - started)
    return median(taken[1:])


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]

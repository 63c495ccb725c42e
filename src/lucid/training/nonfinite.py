"""Training that cannot go on: where a loss stopped being finite, or that no update is made any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lucid.distributions import Stream
from lucid.models import LatentModel, draws, drive
from lucid.models.condition import told

__all__ = ["Culprit", "NonFiniteLossError", "StalledTrainingError", "explain"]


class NonFiniteLossError(ArithmeticError):
    """The loss or its gradient was NaN or infinite, and did not become finite again; no such update was made.

    Attributes:
        step: The first training step of them, counted from 0.
        culprit: What was found to hold the first non-finite value.
    """

    def __init__(self, step: int, culprit: str) -> None:
        super().__init__(
            f"the loss or its gradient is not finite since step {step}; no such update was made. First non-finite: "
            f"{culprit}. A smaller learning rate, or data scaled to a range near 1, is the usual cure"
        )
        self.step = step
        self.culprit = culprit


class StalledTrainingError(ArithmeticError):
    """Every update is left out, for its gradient is far longer than the typical one.

    Attributes:
        step: The first training step of them, counted from 0.
    """

    def __init__(self, step: int, streak: int, skip: float | None) -> None:
        long = "" if skip is None else f", or more than {skip:g} times as long as the typical one"
        super().__init__(
            f"no update was made since step {step}: {streak} gradients one after another were not finite{long}. "
            "A smaller learning rate or clip= is the usual cure; skip= sets the limit, max_skips= how many may be left "
            "out"
        )
        self.step = step


class Culprit(NamedTuple):
    """The first non-finite value of a training step.

    Attributes:
        what: Where it was found.
        lasting: Whether it is in the data or in a parameter, so that no later step can do without it.
    """

    what: str
    lasting: bool = False


def explain(model: LatentModel, x: Tensor, stream: Stream, condition: Tensor | None = None) -> Culprit:
    """Name the first non-finite value of a training step, in the order in which things are computed.

    Args:
        model: In training.
        x: The batch.
        stream: Where its draws came from, in the same state.
        condition: What a conditional model was told of each example.
    """
    bad = x.isinf() if model.likelihood.takes_missing else ~x.isfinite()
    if bad.any():
        return Culprit(f"the data: {int(bad.sum())} of {x.numel()} values of the batch", lasting=True)
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            return Culprit(f"the parameter {name}, before this step", lasting=True)
    found: list[str] = []
    hooks = [module.register_forward_hook(_look(name, found)) for name, module in model.named_modules() if name]
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    try:
        with torch.no_grad():
            record = drive(model.walk(x, check=False, **told(condition)), draws(stream))
    finally:
        for hook in hooks:
            hook.remove()
        for name, value in model.named_buffers():
            value.copy_(buffers[name])
    if found:
        return Culprit(found[0])
    for level, kl in enumerate(record.kl()):
        if not kl.isfinite().all():
            return Culprit(f"the KL of level {level}, from finite network outputs")
    if not record.reconstruction().isfinite().all():
        largest = float(record.params.abs().max())
        return Culprit(
            f"−log p(x|z), from finite decoder outputs as large as {largest:.3g} and data as large as "
            f"{float(x.abs().max()):.3g}"
        )
    return Culprit("the gradient: every value up to the loss is finite")


def _look(name: str, found: list[str]) -> Callable[[nn.Module, object, object], None]:
    def hook(module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and not output.isfinite().all():
            bad = int((~output.isfinite()).sum())
            found.append(f"the output of {name} ({type(module).__name__}), {bad} of {output.numel()} values")

    return hook

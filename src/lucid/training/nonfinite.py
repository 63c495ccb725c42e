"""Where a loss stopped being finite: the first module, parameter or level that holds NaN or inf."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lucid.models import draws, drive
from lucid.training.step import TrainingStep

__all__ = ["NonFiniteLossError", "explain"]


class NonFiniteLossError(ArithmeticError):
    """The loss was NaN or infinite; the update was not made.

    Attributes:
        step: The training step, counted from 0.
        culprit: What was found to hold the first non-finite value.
    """

    def __init__(self, step: int, value: float, culprit: str) -> None:
        super().__init__(
            f"the loss became {value} at step {step}; the update was not made. First non-finite: {culprit}. A smaller "
            "learning rate, or data scaled to a range near 1, is the usual cure"
        )
        self.step = step
        self.culprit = culprit


def explain(step: TrainingStep, x: Tensor, drawn_from: Tensor) -> str:
    """Name the first non-finite value of a training step, in the order in which things are computed.

    Args:
        step: The step whose loss was not finite.
        x: Its batch.
        drawn_from: The state of the step's generator before it, so that the walk is repeated with the same draws.
    """
    model = step.model
    if not x.isfinite().all():
        return f"the data: {int((~x.isfinite()).sum())} of {x.numel()} values of the batch"
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            return f"the parameter {name}, before this step"
    found: list[str] = []
    hooks = [module.register_forward_hook(_look(name, found)) for name, module in model.named_modules() if name]
    try:
        with torch.no_grad():
            step.generator.set_state(drawn_from)
            record = drive(model.walk(x, check=False), draws(step.generator))
    finally:
        for hook in hooks:
            hook.remove()
    if found:
        return found[0]
    for level, kl in enumerate(record.kl()):
        if not kl.isfinite().all():
            return f"the KL of level {level}, from finite network outputs"
    if not record.reconstruction().isfinite().all():
        largest = float(record.params.abs().max())
        return (
            f"−log p(x|z), from finite decoder outputs as large as {largest:.3g} and data as large as "
            f"{float(x.abs().max()):.3g}"
        )
    return "no single value: the terms are finite, their sum is not"


def _look(name: str, found: list[str]) -> Callable[[nn.Module, object, object], None]:
    def hook(module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and not output.isfinite().all():
            bad = int((~output.isfinite()).sum())
            found.append(f"the output of {name} ({type(module).__name__}), {bad} of {output.numel()} values")

    return hook

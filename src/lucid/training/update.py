"""One update of the weights: gradients of a batch, their judgement, and the optimizer's step."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from lucid.data import Portion, Share
from lucid.distributions import Rows
from lucid.models.checks import check_input
from lucid.objectives import Terms
from lucid.training.engine import OWN_BUFFERS, Engine, gradient_norm
from lucid.training.guard import DeviceGuard, HostGuard
from lucid.training.optimizers import FusedAdamW, decides_on_device
from lucid.training.randomness import Randomness
from lucid.training.recompute import recomputing
from lucid.training.settings import Settings
from lucid.training.step import TrainingStep

__all__ = ["Counted", "Update", "stand_in"]


class Counted(NamedTuple):
    """Terms of the loss, and how many examples they are the mean of."""

    terms: Terms
    examples: int


class Update:
    """Updates the weights from a batch at a time.

    Where the optimizer can leave an update out by itself, told by a tensor on the device, no number is read from the
    device: the host runs ahead. On a CPU, where reading is free, and for other optimizers, the host decides.

    Args:
        step: The model and the objective, as `engine.distribute` gave them.
        inner: The same before it was distributed.
        optimizer: Of the model's parameters.
        engine: Where it computes.
        settings: Of the run.
        randomness: Its streams.

    Attributes:
        step: What is called for the terms of a batch.
        guard: What was left out.
        scaler: Of the loss, in fp16.
        rows_of_part: Examples that are computed at once.
        left_out: Whether the last update was, as far as the host knows.
        compiled: What is called in the place of `step` for batches of `compiled_shape`, if anything.
    """

    def __init__(
        self,
        step: Callable[..., list[Terms]],
        inner: TrainingStep,
        optimizer: Optimizer,
        engine: Engine,
        settings: Settings,
        randomness: Randomness,
    ) -> None:
        self.step: Any = step
        self._inner = inner
        self._optimizer = optimizer
        self._engine = engine
        self._randomness = randomness
        self._parts = settings.accumulate
        self.rows_of_part = -(-settings.batch_size // (engine.of * settings.accumulate))
        self._clip = settings.clip
        self._recompute = settings.recompute
        self._parameters = [p for p in inner.model.parameters() if p.requires_grad]
        # Statistics, as of batch normalisation: a batch that is left out must leave them alone too.
        # And so must the state of an objective.
        own = {f"model.{name}" for name in OWN_BUFFERS}
        self._buffers = [buffer for name, buffer in inner.named_buffers() if name not in own]
        self._kept = [buffer.clone() for buffer in self._buffers]
        self._spare: Portion | None = None
        self._seeds: dict[float, Tensor] = {}
        device = engine.device
        self.scaler = GradScaler(device.type) if engine.precision == "fp16-mixed" else None
        self.left_out = False
        self._on_host = device.type != "cuda" or self.scaler is not None or not decides_on_device(optimizer)
        self.guard = HostGuard(settings.skip) if self._on_host else DeviceGuard(settings.skip, device)
        self.compiled: Callable[..., list[Terms]] | None = None
        self.compiled_shape: torch.Size | None = None

    def __call__(self, portion: Portion, beta: float, number: int, *, check: bool = False) -> list[Counted]:
        """Update the weights, or leave that out.

        Args:
            portion: This process's rows of the batch.
            beta: Weight of the KL.
            number: Number of the training step: it decides the draws.
            check: Whether to look at the values of the batch.

        Returns:
            The terms of each part of the batch, on the device.
        """
        if self._buffers:
            torch._foreach_copy_(self._kept, self._buffers)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        counted = self.gradients(portion, beta, number, check=check)
        self.apply()
        return counted

    # Gradients

    def gradients(self, portion: Portion, beta: float, number: int, *, check: bool = False) -> list[Counted]:
        """Leave the gradient of the whole batch's mean loss in the parameters' `grad`."""
        for parameter in self._parameters:  # what zero_grad does, without its profiling
            parameter.grad = None
        # As large as those of a full batch, and as many in every process.
        parts = -(-max(1, -(-portion.whole // self._engine.of)) // self.rows_of_part)
        if parts == 1:
            return [self._part(portion, beta, number, 0, check)]
        counted: list[Counted] = []
        for part in range(parts):
            here = portion.cut(*Share(part, parts).rows(len(portion.x)))
            with self._engine.accumulating(self.step, part == parts - 1):
                counted.append(self._part(here, beta, number, part, check))
        return counted

    def _part(self, portion: Portion, beta: float, number: int, part: int, check: bool) -> Counted:
        examples, whole = len(portion.x), portion.whole
        if examples == 0:
            # Every process takes part in every exchange: without rows of its own, with a row that counts nothing.
            portion = self._spare or stand_in(portion)
        elif self._spare is None and (self._engine.of > 1 or self._parts > 1):
            self._spare = stand_in(portion)
        self._randomness.at("train", number, part=part)
        x, condition = portion.x, portion.condition
        terms = self.terms(x, portion.first if examples else 0, whole, beta, check, condition)
        self.backward(terms.loss, examples * self._engine.of / whole)
        return Counted(terms, examples)

    def terms(
        self, x: Tensor, first: int, whole: int, beta: float, check: bool, condition: Tensor | None = None
    ) -> Terms:
        """The objective on rows `first` … of a batch of `whole`, with the draws these rows have in it."""
        with self._engine.autocast(), recomputing(self._inner.model) if self._recompute else nullcontext():
            if self.compiled is not None and x.shape == self.compiled_shape:
                if check:  # which a compiled walk leaves out
                    check_input(x, self._inner.model, self._inner.model.likelihood)
                if x.device.type == "cuda":
                    torch.compiler.cudagraph_mark_step_begin()
                return self.compiled(x, [torch.full((), beta, device=x.device)], condition=condition)[0]
            noise = self._randomness.noise
            stream = noise if whole == len(x) else Rows(noise, first, whole)
            return self.step(x, [beta], stream, check, condition)[0]

    def backward(self, loss: Tensor, weight: float) -> None:
        """Add the gradient of `weight` times the loss to the parameters' `grad`."""
        # A loss that is not finite may have finite gradients. It is made to spoil them, in every process, so that the
        # length of the gradient tells all of them alike.
        if self._on_host:
            seed = self._seed(weight if math.isfinite(loss.item()) else math.nan, loss)
        else:
            seed = torch.where(loss.detach().isfinite(), weight, math.nan)
        loss.backward(seed if self.scaler is None else self.scaler.scale(seed))

    def _seed(self, weight: float, loss: Tensor) -> Tensor:
        seed = self._seeds.get(weight)
        if seed is None:
            seed = torch.full_like(loss, weight, requires_grad=False)
            if not math.isnan(weight) and len(self._seeds) < 100:
                self._seeds[weight] = seed
        return seed

    # The step of the optimizer

    def apply(self) -> None:
        """Judge the gradient, and have the optimizer make its step or not."""
        if self.scaler is not None:
            self.scaler.unscale_(self._optimizer)
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        norm = gradient_norm(gradients)
        if isinstance(self.guard, DeviceGuard):
            self._optimizer.found_inf = self.guard.leaves_out(norm)  # pyright: ignore[reportAttributeAccessIssue]
            scale = torch.ones_like(norm) if self._clip is None else (norm / self._clip).clamp(min=1)
            self._optimizer.grad_scale = scale.float()  # pyright: ignore[reportAttributeAccessIssue]
            self._optimizer.step()
            for buffer, kept in zip(self._buffers, self._kept, strict=True):
                buffer.copy_(torch.where(self._optimizer.found_inf > 0, kept, buffer))  # pyright: ignore[reportAttributeAccessIssue]
            return
        assert isinstance(self.guard, HostGuard)
        length = norm.item()
        self.left_out = self.guard.leaves_out(length)
        if self.left_out:
            if self._buffers:
                torch._foreach_copy_(self._buffers, self._kept)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        else:
            if self._clip is not None and length > self._clip:
                torch._foreach_mul_(gradients, self._clip / length)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
            # Where a parameter has no gradient, the optimizer must look which have.
            if isinstance(self._optimizer, FusedAdamW) and len(gradients) == len(self._parameters):
                self._optimizer.quick_step()
            else:
                self._optimizer.step()
        if self.scaler is not None:
            self.scaler.update()


def stand_in(portion: Portion) -> Portion:
    """One row to compute with where a process needs any: a copy of the first of these, or zeros if there is none."""

    def one(rows: Tensor) -> Tensor:
        return rows[:1].clone() if len(rows) else rows.new_zeros((1, *rows.shape[1:]))

    condition = None if portion.condition is None else one(portion.condition)
    return Portion(one(portion.x), portion.first, portion.whole, condition)

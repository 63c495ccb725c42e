"""The training loop: batches in, updates, validation, checkpoints, and a way out at any moment."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor
from torch.nn import Module

from lucid.data import Portion, tells_labels
from lucid.models import LatentModel
from lucid.objectives import Objective, Schedule, figures_of
from lucid.training.average import WeightAverage
from lucid.training.compilation import long_enough, warm_up, worth_compiling
from lucid.training.engine import Engine, gathered
from lucid.training.exceptional import ExceptionalUpdates
from lucid.training.host import keep_large_blocks, without_denormals
from lucid.training.identity import describe_optimizer, describe_run, refuse_other_run
from lucid.training.keeper import Keeper
from lucid.training.metrics import MetricsWriter
from lucid.training.nonfinite import NonFiniteLossError
from lucid.training.optimizers import OptimizerFactory, make_optimizer
from lucid.training.progress import Progress, Silent
from lucid.training.randomness import Randomness
from lucid.training.result import FitResult
from lucid.training.run import Run, RunFolder
from lucid.training.settings import Settings
from lucid.training.signals import StopSignal
from lucid.training.state import Position, RunState
from lucid.training.step import TrainingStep
from lucid.training.units import Units, count_units
from lucid.training.update import Update
from lucid.training.validation import measure
from lucid.training.window import Averages, Window

if TYPE_CHECKING:
    from lucid.data import Dataset, Split

__all__ = ["Loop"]

_AGREE_EVERY = 16
"""Steps after which several processes ask each other whether to stop or to save."""


class Loop:
    """One run of training, from its first step or from a checkpoint to its last step or an interruption.

    Args:
        model: The model.
        data: What it is trained on.
        settings: How.
        objective: What is minimised.
        optimizer: Makes the optimizer from the parameters; None is what the settings name.
        out: Folder of the run, or None.
        progress: Who is told how it goes.
        tensorboard: Whether to write event files too.
        description: More to write into run.json.
    """

    def __init__(
        self,
        model: LatentModel,
        data: Dataset,
        settings: Settings,
        objective: Objective,
        optimizer: OptimizerFactory | None,
        *,
        out: Path | None,
        progress: Progress,
        tensorboard: bool,
        description: dict[str, Any],
    ) -> None:
        self.data = data
        self.settings = settings
        # Training changes the state of one that has any: the user's own is left as it is.
        self.objective = objective = copy.deepcopy(objective) if isinstance(objective, Module) else objective
        self.tensorboard = tensorboard
        self.total_steps = settings.total_steps(data.train.size)
        self._validate_every = settings.steps_between_validations(data.train.size)
        self.final_beta = objective.beta(max(self.total_steps - 1, _length(objective)))
        if settings.early_stopping is not None and data.validation.size == 0:
            raise ValueError("early_stopping waits for validations, and the data has no validation part")
        self._told = tells_labels(model, data.train, data.validation)
        self._compiles = bool(getattr(objective, "compiles", True))
        if settings.compile is True and not self._compiles:
            raise ValueError(
                f"{type(objective).__name__} takes gradients within the step, which cannot be compiled: leave compile "
                "at auto"
            )
        self.engine = Engine(settings, model)
        self.progress = progress if self.engine.main else Silent()
        self.description = describe_run(model, data, settings, objective, self.engine, description)

        model.protocol = data.protocol
        self.given = model
        self.model = cast("LatentModel", self.engine.place(model))
        self.randomness = Randomness(settings.seed, self.engine.device, self.engine.rank)
        if isinstance(objective, Module):
            objective.to(self.engine.device)
        self.step = TrainingStep(self.model, objective)
        self.distributed = self.engine.distribute(self.step, self.model)
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        if not parameters:
            raise ValueError("the model has no parameter that requires a gradient: there is nothing to train")
        self.optimizer = make_optimizer(parameters, settings) if optimizer is None else optimizer(parameters)
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self.description["identity"]["optimizer"] = describe_optimizer(self.optimizer)
        self.update = Update(self.distributed, self.step, self.optimizer, self.engine, settings, self.randomness)
        self.average = None if settings.ema is None else WeightAverage(self.model, settings.ema)

        self.position = Position()
        self.window = Window()
        self.best: dict[str, Tensor] = {}
        state = objective if isinstance(objective, Module) else None
        self.state = RunState(self.model, state, self.optimizer, self.update, self.average, self.position, self.best)
        self.validation: Averages | None = None
        self.stop = StopSignal()
        self._stopping = False
        self._clock = time.perf_counter()
        parts = (self.update, self.model, self.engine, settings, self.randomness)
        self.exceptional = ExceptionalUpdates(*parts, tell=self.progress.message)
        self.warnings: list[str] = []
        self.out = out
        self.keeper = (
            None if out is None else Keeper(RunFolder(out), self.state, model, self.engine, settings, self._warn)
        )
        self._unsaved: str | None = None

    # The run as a whole

    def run(self, *, resume: bool) -> FitResult:
        """Train to the end, or until interrupted."""
        keep_large_blocks()
        with ExitStack() as stack:
            stack.enter_context(self.engine.running())
            # The first process decides: the others may look only after it has begun to write.
            (resume,) = self.engine.any([resume and self.engine.main])
            before = None
            if self.out is not None and resume:
                before = Run(self.out).description
                refuse_other_run(before, self.description, self.out)
            if self.keeper is not None:
                stack.enter_context(self.keeper.holding())
            stack.enter_context(self.randomness.borrowed())
            stack.enter_context(without_denormals())
            stack.enter_context(self.stop)
            self._begin(before)
            notes = self._foresee()
            with self._writer() as writer:
                self.progress.begin(self.position.step, self.total_steps)
                try:
                    self.advance(writer, self.total_steps)
                finally:
                    self.progress.end()
            self._conclude()
            return self._result(notes)

    def advance(self, writer: MetricsWriter, until: int) -> None:
        """Train until `until` steps are done, or an interruption."""
        position = self.position
        self.step.train()
        self._clock = time.perf_counter()
        while position.step < until and not self._ended:
            before = position.batch
            for portion in self.portions():
                self._update(portion, writer)
                if position.step >= until or self._ended:
                    break
            else:
                if before == 0 and position.batch == 0:
                    raise ValueError(
                        "the training data gave no batch: it is empty, or a stream that can be read only once"
                    )
                position.epoch += 1
                position.batch = 0

    @property
    def _ended(self) -> bool:
        return self._stopping or self.position.stopped

    def portions(self) -> Iterator[Portion]:
        """This process's rows of the batches of the present pass that are still to come."""
        position = self.position
        return self.data.train.portions(
            self.settings.batch_size,
            device=self.engine.device,
            seed=self.settings.seed,
            epoch=position.epoch,
            start=position.batch,
            share=self.engine.share,
            condition=self._told,
        )

    def _update(self, portion: Portion, writer: MetricsWriter) -> None:
        position, settings = self.position, self.settings
        beta = self.objective.beta(position.step)
        factor = settings.learning_rate_at(position.step, self.total_steps) / settings.learning_rate
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        portion = portion._replace(x=portion.x.to(self.engine.dtype))
        # Every example is looked at once, on the first pass.
        for counted in self.update(portion, beta, position.step, check=position.epoch == 0):
            self.window.add(counted.terms, counted.examples)
        if self.update.guard.streak:
            self.exceptional.consider(portion, position.step)
        if self.average is not None and not self.update.left_out:
            self.average.update(position.step)
        self._count_beta_step()
        position.step += 1
        position.batch += 1
        position.seconds += time.perf_counter() - self._clock  # the wait for the batch is in it
        self._tell(writer, beta)
        self._clock = time.perf_counter()

    def _tell(self, writer: MetricsWriter, beta: float) -> None:
        position = self.position
        at_the_end = position.step == self.total_steps
        validating = at_the_end or position.step % self._validate_every == 0
        if self.progress.wants_update():
            self.update.guard.read()
            skipped = self.update.guard.skipped
            shown = figures_of(self.objective, beta)["beta"]
            self.progress.update(position.step, self.window.averages(), shown, self._speed(), skipped)
        if validating or position.step % self.settings.log_every == 0:
            self.update.guard.read()
            writer.write("train", self.window.averages(self.engine.sum), **self._where(beta))
            self.window = Window()
        if validating:
            self.exceptional.refuse_untrained(position.step)
        if validating and self.data.validation.size != 0:
            self._validate(writer, beta)
        stop, save = self._agreed(self.stop.received, self.keeper is not None and self.keeper.due)
        self._stopping |= stop
        if save:
            self._save()

    def _agreed(self, stop: bool, save: bool) -> tuple[bool, bool]:
        """What all processes do: what any of them was told to, or the first one's clock says."""
        if self.engine.of == 1:
            return stop, save
        if self.position.step % _AGREE_EVERY and self.position.step != self.total_steps:
            return False, False
        stop, save = self.engine.any([stop, save and self.engine.main])
        return stop, save

    # Validation

    def _validate(self, writer: MetricsWriter, beta: float) -> None:
        position = self.position
        with nullcontext() if self.average is None else self.average.in_place():
            now, at_the_end = self.measure(self.data.validation, [beta, self.final_beta])
            units = self._count_units()
            better = math.isfinite(at_the_end.loss) and (
                position.best_loss is None or at_the_end.loss < position.best_loss
            )
            if better:
                self.best.clear()
                self.best |= {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.validation = now
        found = {"active_units": units.active, "latent_units": units.total}
        writer.write("validation", now, **self._where(beta), **found)
        self.progress.units(units.active, units.total)
        if not math.isfinite(at_the_end.loss):
            raise NonFiniteLossError(position.step, "the validation loss, after a finite training loss")
        if better:
            position.best_loss, position.best_step, position.stale = at_the_end.loss, position.step, 0
            position.final_beta = self.final_beta
            return
        position.stale += 1
        if self.settings.early_stopping is not None and position.stale >= self.settings.early_stopping:
            position.stopped = True

    def measure(self, split: Split, betas: Sequence[float]) -> list[Averages]:
        """The objective over a split at several β, every example once, with the same draws each time."""
        self.engine.align(self.model)
        return measure(
            self.distributed,
            self.step,
            self.model,
            split,
            betas,
            engine=self.engine,
            randomness=self.randomness,
            batch_size=self.settings.batch_size,
        )

    def _count_units(self) -> Units:
        return count_units(
            self.distributed,
            self.step,
            self.model,
            self.data.validation,
            engine=self.engine,
            batch_size=self.settings.batch_size,
        )

    # The run folder

    def _writer(self) -> MetricsWriter:
        path = self.out if self.engine.main else None
        return MetricsWriter(path, tensorboard=self.tensorboard, keep_until=self.position.step, tell=self._warn)

    def _warn(self, text: str) -> None:
        """Say it now, if anyone looks, and at the end."""
        self.warnings.append(text)
        self.progress.message(text)

    def _begin(self, before: dict[str, Any] | None) -> None:
        """Take up the run in the folder, as it was described before, or leave there what it takes to begin again."""
        self._compile(None if before is None else before["training"].get("compile"))
        if self.keeper is None:
            return
        if before is None:
            self.keeper.begin(self.description)
        elif self.keeper.take_up(self.description):
            # The sums of all processes are in it: the others begin at nought.
            sums = self.position.window
            self.window = Window(sums if self.engine.main else [0.0] * len(sums))
            self.exceptional.resume()
            if self.position.final_beta not in (None, self.final_beta):
                # Losses at different β cannot be compared: the best is sought anew.
                self.position.best_loss, self.position.stale = None, 0
                self._warn("the β with which the schedule ends is another now: the best model is chosen anew from here")
            patience = self.settings.early_stopping  # which may be longer now
            self.position.stopped = patience is not None and self.position.stale >= patience

    def _compile(self, before: Any) -> None:
        """Have the step compiled, if that was said, decided when the run began, or is decided now by measuring."""
        wanted = self.settings.compile if self.settings.compile != "auto" or before is None else bool(before)
        if wanted == "auto" and (self.engine.of > 1 or not self._compiles or not long_enough(self.total_steps)):
            wanted = False
        if wanted:
            portion = next(self.portions())
            portion = portion._replace(x=portion.x.to(self.engine.dtype))
            if wanted == "auto":
                wanted = worth_compiling(self.update, portion, self.total_steps, self.progress.message)
            if wanted:
                warm_up(self.update, portion, self.progress.message)
        self.description["training"]["compile"] = wanted

    def _save(self) -> None:
        if self.keeper is not None:
            self._sum_up()
            self.keeper.save()

    def _sum_up(self) -> None:
        self.engine.align(self.model)
        sums = self.window.state()
        self.position.window = self.engine.sum(sums) if sums else []

    def _conclude(self) -> None:
        if self.keeper is None:
            return
        self._sum_up()
        finished = self.position.stopped or self.position.step >= self.total_steps
        self._unsaved = self.keeper.conclude(self.description, finished=finished)
        if self._unsaved is not None:
            self._warn(self._unsaved)

    # What the user is told

    def _foresee(self) -> list[str]:
        needed = _length(self.objective)
        if self.total_steps >= needed:
            return []
        dial = getattr(self.objective, "dial", "β")
        last, meant = self.objective.beta(self.total_steps - 1), self.objective.beta(needed)
        note = (
            f"the {dial} schedule needs {needed} steps and the run has {self.total_steps}: it ends at "
            f"{dial} = {last:.3g} in the place of {meant:.3g}"
        )
        self.progress.message(f"note: {note}")
        return [note]

    def _result(self, notes: list[str]) -> FitResult:
        position = self.position
        self.given.load_state_dict(gathered(self.state.best_or_last(), wanted=True))
        self.given.eval()
        out = self.out
        notes = [*notes, *self.warnings]
        interrupted = position.step < self.total_steps and not position.stopped
        if interrupted:
            where = "nothing was saved: give out= to keep runs" if out is None else f"--resume {out} goes on"
            notes = [*notes, f"stopped after step {position.step} of {self.total_steps}; {where}"]
            self.progress.message(notes[-1])
        if position.stopped:
            notes = [*notes, f"stopped early after step {position.step}: no better since step {position.best_step}"]
        self.update.guard.read()
        skipped = self.update.guard.skipped
        if skipped:
            notes = [*notes, f"{skipped} of {position.step} updates were left out as exceptional"]
        return FitResult(
            model=self.given,
            steps=position.step,
            total_steps=self.total_steps,
            seconds=position.seconds,
            best_loss=math.inf if position.best_loss is None else position.best_loss,
            best_step=position.best_step,
            validation=self.validation,
            interrupted=interrupted,
            notes=tuple(notes),
            out=out,
            saved=self._unsaved is None,
            skipped=skipped,
            signal=self.stop.number,
        )

    def _where(self, beta: float) -> dict[str, Any]:
        position = self.position
        size = self.data.train.size
        epoch = position.step / self.settings.steps_per_epoch(size) if size else position.epoch
        return {
            "step": position.step,
            "epoch": round(epoch, 4),
            **figures_of(self.objective, beta),
            "learning_rate": self.settings.learning_rate_at(position.step - 1, self.total_steps),
            "skipped": self.update.guard.skipped,
            "examples_per_second": round(self._speed(), 1),
            "seconds": round(position.seconds, 3),
        }

    def _speed(self) -> float:
        """Examples per second over the whole run."""
        return self.position.step * self.settings.batch_size / max(self.position.seconds, 1e-9)

    def _count_beta_step(self) -> None:
        """Keep the model's own β step in step, so that `get_loss` goes on where training stopped."""
        beta_step = getattr(self.model, "beta_step", None)
        if isinstance(beta_step, Tensor):
            beta_step += 1


def _length(objective: Objective) -> int:
    """Steps the objective's schedule needs; 0 if it does not say."""
    schedule = getattr(objective, "schedule", None)
    return schedule.num_steps if isinstance(schedule, Schedule) else 0

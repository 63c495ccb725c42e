"""The training loop: batches in, updates, validation, checkpoints, and a way out at any moment."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import lucid
from lucid import io
from lucid.models import LatentModel, evaluating
from lucid.objectives import Objective, Schedule, Terms
from lucid.training.checkpoint import Position, load_checkpoint, save_checkpoint
from lucid.training.engine import make_engine
from lucid.training.metrics import Averages, MetricsWriter, Window
from lucid.training.nonfinite import NonFiniteLossError, explain
from lucid.training.progress import Progress
from lucid.training.result import FitResult, OptimizerFactory
from lucid.training.run import Run, RunFolder
from lucid.training.settings import Settings
from lucid.training.step import TrainingStep

if TYPE_CHECKING:
    from lucid.data import Dataset, Split

__all__ = ["Loop"]


class Loop:
    """One run of training, from its first step or from a checkpoint to its last step or an interruption.

    Args:
        model: The model.
        data: What it is trained on.
        settings: How.
        objective: What is minimised.
        optimizer: Makes the optimizer from the parameters.
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
        optimizer: OptimizerFactory,
        *,
        out: Path | None,
        progress: Progress,
        tensorboard: bool,
        description: dict[str, Any],
    ) -> None:
        self.model = model
        self.data = data
        self.settings = settings
        self.objective = objective
        self.progress = progress
        self.tensorboard = tensorboard
        self.folder = None if out is None else RunFolder(out)
        self.total_steps = settings.total_steps(data.train.size)
        self.final_beta = objective.beta(max(self.total_steps, _length(objective)))
        self.description = {
            **description,
            "data": data.source,
            "training": asdict(settings),
            "protocol": asdict(data.protocol),
            "versions": {"lucid": lucid.__version__, "torch": torch.__version__},
        }
        self.engine = make_engine(settings)
        self.generator = torch.Generator(self.engine.device).manual_seed(settings.seed)
        self.step = TrainingStep(model, objective, self.generator)
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        _, self.optimizer = self.engine.setup(self.step, optimizer(self.parameters))
        self.dtype = next(model.parameters()).dtype
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        model.protocol = data.protocol

        self.position = Position()
        self.window = Window()
        self.best: dict[str, Tensor] = {}
        self.validation: Averages | None = None
        self._stop = False
        self._saved_at = time.monotonic()

    # The run as a whole

    def run(self, *, resume: bool) -> FitResult:
        """Train to the end, or until interrupted."""
        self._prepare_folder(resume)
        with self._own_randomness(), self._stopping_at_interrupt():
            if resume:
                self._restore()
            notes = self._foresee()
            keep = self.position.step
            with MetricsWriter(self._path(), tensorboard=self.tensorboard, keep_until=keep) as writer:
                self.progress.begin(self.position.step, self.total_steps)
                try:
                    self.advance(writer, self.total_steps)
                finally:
                    self.progress.end()
            self._save()
        return self._result(notes)

    def advance(self, writer: MetricsWriter, until: int) -> None:
        """Train until `until` steps are done, or an interruption."""
        position = self.position
        self.model.train()
        while position.step < until and not self._stop:
            before = position.batch
            for x in self._batches():
                self._update(x, writer)
                if position.step >= until or self._stop:
                    break
            else:
                if before == 0 and position.batch == 0:
                    raise ValueError(
                        "the training data gave no batch: it is empty, or a stream that can be read only once"
                    )
                position.epoch += 1
                position.batch = 0

    def _batches(self) -> Iterator[Tensor]:
        position = self.position
        return self.data.train.batches(
            self.settings.batch_size,
            device=str(self.engine.device),
            seed=self.settings.seed,
            epoch=position.epoch,
            start=position.batch,
        )

    def _update(self, x: Tensor, writer: MetricsWriter) -> None:
        started = time.perf_counter()
        position, settings = self.position, self.settings
        beta = self.objective.beta(position.step)
        factor = settings.learning_rate_at(position.step, self.total_steps) / settings.learning_rate
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        drawn_from = self.generator.get_state()
        # Every example is looked at once, on the first pass.
        terms = self._terms(x, [beta], check=position.epoch == 0)[0]
        loss = terms.loss.item()
        if not math.isfinite(loss):
            with self.engine.autocast():
                culprit = explain(self.step, x.to(self.dtype), drawn_from)
            raise NonFiniteLossError(position.step, loss, culprit)
        for parameter in self.parameters:  # what zero_grad does, without its profiling
            parameter.grad = None
        self.engine.backward(terms.loss)
        self.optimizer.step()
        self._count_beta_step()
        self.window.add(terms, len(x))
        position.step += 1
        position.batch += 1
        position.seconds += time.perf_counter() - started
        self._tell(writer, beta)

    def _terms(self, x: Tensor, betas: list[float], *, check: bool = False) -> list[Terms]:
        # Fabric's wrapper of a module walks through all arguments and results in Python, 2 % of a small network's step.
        # On one device, all that it adds is this context and this conversion.
        with self.engine.autocast():
            return self.step(x.to(self.dtype), betas, check)

    def _tell(self, writer: MetricsWriter, beta: float) -> None:
        position = self.position
        validating = position.step % self._validate_every() == 0 or position.step == self.total_steps
        if self.progress.wants_update():
            self.progress.update(position.step, self.window.averages(), beta, self._speed())
        if validating or position.step % self.settings.log_every == 0:
            writer.write("train", self.window.averages(), **self._where(beta))
            self.window = Window()
        if validating and self._validates():
            self._validate(writer, beta)
            if time.monotonic() - self._saved_at >= self.settings.checkpoint_seconds:
                self._save()

    # Validation

    def _validates(self) -> bool:
        return self.data.validation.size != 0

    def _validate(self, writer: MetricsWriter, beta: float) -> None:
        now, at_the_end = self._measure(self.data.validation, [beta, self.final_beta])
        self.validation = now
        writer.write("validation", now, **self._where(beta))
        if not math.isfinite(at_the_end.loss):
            raise NonFiniteLossError(
                self.position.step, at_the_end.loss, "the validation loss, after a finite training loss"
            )
        if at_the_end.loss < self.position.best_loss:
            self.position.best_loss, self.position.best_step = at_the_end.loss, self.position.step
            self.best = {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def _measure(self, split: Split, betas: list[float]) -> list[Averages]:
        """The objective over a split at several β, every example once, with the same draws each time."""
        windows = [Window() for _ in betas]
        self.step.generator = torch.Generator(self.engine.device).manual_seed(self.settings.seed)
        try:
            with evaluating(self.model):
                for x in split.batches(self.settings.batch_size, device=str(self.engine.device)):
                    for window, terms in zip(windows, self._terms(x, betas), strict=True):
                        window.add(terms, len(x))
        finally:
            self.step.generator = self.generator
        return [window.averages() for window in windows]

    # The folder

    def _path(self) -> Path | None:
        return None if self.folder is None else self.folder.path

    def _prepare_folder(self, resume: bool) -> None:
        if self.folder is None:
            return
        if not resume:
            if self.folder.description.exists():
                raise FileExistsError(
                    f"{self.folder.path} already holds a run: resume it (--resume {self.folder.path}), "
                    "or choose another folder"
                )
            self.folder.path.mkdir(parents=True, exist_ok=True)
            io.write_json(self.folder.description, self.description)
            return
        self._check_same_run(Run(self.folder.path).description)
        io.write_json(self.folder.description, self.description)

    def _check_same_run(self, before: Any) -> None:
        """A resumed run may be longer; nothing else about it may differ."""
        now = json.loads(json.dumps(self.description))
        differing = [name for name in ("data", "protocol") if before.get(name) != now.get(name)]
        for name, value in now["training"].items():
            free = name in ("epochs", "steps", "log_every", "checkpoint_seconds", "device")
            if not free and before["training"].get(name) != value:
                differing.append(f"{name} (was {before['training'].get(name)}, now {value})")
        if differing:
            raise ValueError(
                f"the run in {self._path()} cannot be resumed with other {', '.join(differing)}: "
                "only its length may change"
            )

    def _restore(self) -> None:
        assert self.folder is not None
        if not self.folder.checkpoint.exists():
            return
        optimizer = self.optimizer.optimizer
        self.position, self.best = load_checkpoint(self.folder.checkpoint, self.model, optimizer, self.generator)
        self.window = Window(self.position.window)

    def _save(self) -> None:
        """Write the checkpoint, then the artefact of the best model."""
        if self.folder is None:
            return
        self.position.window = self.window.state()
        save_checkpoint(
            self.folder.checkpoint, self.position, self.model, self.best, self.optimizer.optimizer, self.generator
        )
        with self._best_weights():
            io.save(self.model, self.folder.model, self.model.figures)
        self._saved_at = time.monotonic()

    @contextmanager
    def _best_weights(self) -> Generator[None]:
        """The model with its best weights; afterwards with those in training."""
        if not self.best:
            yield
            return
        current = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.best)
        try:
            yield
        finally:
            self.model.load_state_dict(current)

    # What the user is told

    def _foresee(self) -> list[str]:
        needed = _length(self.objective)
        if self.total_steps >= needed:
            return []
        note = (
            f"the β schedule needs {needed} steps and the run has {self.total_steps}: it ends at "
            f"β = {self.objective.beta(self.total_steps - 1):.3g} in the place of {self.objective.beta(needed):.3g}"
        )
        self.progress.message(f"note: {note}")
        return [note]

    def _result(self, notes: list[str]) -> FitResult:
        position = self.position
        if self.best:
            self.model.load_state_dict(self.best)
        self.model.eval()
        interrupted = position.step < self.total_steps
        if interrupted:
            where = (
                "nothing was saved: give out= to keep runs"
                if self._path() is None
                else f"--resume {self._path()} goes on"
            )
            notes = [*notes, f"stopped after step {position.step} of {self.total_steps}; {where}"]
            self.progress.message(notes[-1])
        return FitResult(
            model=self.model,
            steps=position.step,
            total_steps=self.total_steps,
            seconds=position.seconds,
            best_loss=position.best_loss,
            best_step=position.best_step,
            validation=self.validation,
            interrupted=interrupted,
            notes=tuple(notes),
            out=self._path(),
        )

    def _where(self, beta: float) -> dict[str, float]:
        position = self.position
        epoch = (
            position.step / self.settings.steps_per_epoch(self.data.train.size)
            if self.data.train.size
            else position.epoch
        )
        rate = self.settings.learning_rate_at(position.step - 1, self.total_steps)
        return {
            "step": position.step,
            "epoch": round(epoch, 4),
            "beta": beta,
            "learning_rate": rate,
            "examples_per_second": round(self._speed(), 1),
            "seconds": round(position.seconds, 3),
        }

    def _speed(self) -> float:
        return self.position.step * self.settings.batch_size / max(self.position.seconds, 1e-9)

    def _validate_every(self) -> int:
        if self.settings.validate_every is not None:
            return self.settings.validate_every
        size = self.data.train.size
        return max(50, self.settings.steps_per_epoch(size)) if size else 1000

    def _count_beta_step(self) -> None:
        """Keep the model's own β step in step, so that `get_loss` goes on where training stopped."""
        beta_step = getattr(self.model, "beta_step", None)
        if isinstance(beta_step, Tensor):
            beta_step += 1

    # Randomness and signals

    @contextmanager
    def _own_randomness(self) -> Generator[None]:
        """Seed PyTorch's global stream, which dropout reads, for this run alone; the caller's is put back."""
        devices = [self.engine.device] if self.engine.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.settings.seed)  # noqa: TID251  inside the fork alone
            yield

    @contextmanager
    def _stopping_at_interrupt(self) -> Generator[None]:
        """The first Ctrl-C ends training after the current step; a second one is Python's own."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def stop(_signum: int, _frame: object) -> None:
            self._stop = True
            signal.signal(signal.SIGINT, before)

        signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def _length(objective: Objective) -> int:
    """Steps the objective's schedule needs; 0 if it does not say."""
    schedule = getattr(objective, "schedule", None)
    return schedule.num_steps if isinstance(schedule, Schedule) else 0

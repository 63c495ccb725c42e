"""lucid: `fit` into a run folder as it comes, with metrics, checks, checkpoints and progress bar."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lucid import data, models, training
from training_loops.turns import Setting, Turns
from training_loops.workloads import LEARNING_RATE, Workload


class AfterEachStep(training.ProgressBar):
    """The progress bar, which is asked after each step; calls `done` then."""

    def __init__(self, done: Turns) -> None:
        super().__init__()
        self.done = done
        self.steps, self.loss = 0, float("nan")

    def wants_update(self) -> bool:
        self.steps += 1
        held = self.done.held
        self.done(lambda: self.loss)
        self._next += self.done.held - held  # drawn so often a second of training, not of waiting
        return super().wants_update()

    def update(self, step: int, averages: Any, *more: Any) -> None:
        assert step == self.steps, f"the loop has done {step} steps and asked {self.steps} times"
        self.loss = averages.loss
        super().update(step, averages, *more)

    def message(self, text: str) -> None:
        self.done.notes.append(text)
        super().message(text)


def train(workload: Workload, examples: Tensor, done: Turns, setting: Setting, **settings: Any) -> None:
    """`lucid.training.fit`; `settings` are what a contestant's name says, all else is as it comes.

    No contestant validates, so all of the data is for training.
    """
    parts = workload.parts()
    config = models.VAEConfig(
        encoders=parts.encoders,
        decoders=parts.decoders,
        priors=parts.priors or None,
        reconstruction_loss="bce",
        hierarchical_kl=False,  # every level at its full weight: the loss is −ELBO, as the others'
    )
    training.fit(
        models.VAE(config),
        data.load(examples, levels=2, validation=0, test=0),
        out=setting.folder / "run",
        progress=AfterEachStep(done),
        steps=setting.run_steps,
        batch_size=workload.batch,
        learning_rate=LEARNING_RATE,
        device=setting.device,
        **settings,
    )

"""What a run leaves in its folder, so that nothing is lost: the description, checkpoints, and the best model."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from lucid import io
from lucid.models import LatentModel
from lucid.training.checkpoints import Checkpoints
from lucid.training.engine import Engine, gathered
from lucid.training.lock import RunLock
from lucid.training.run import RunFolder
from lucid.training.settings import Settings
from lucid.training.state import RunState

__all__ = ["Keeper"]


class Keeper:
    """Keeps a run in its folder. Every process has one, since sharded weights are gathered from all; the first writes.

    Args:
        folder: Of the run.
        state: Everything of the run that changes.
        model: As the user gave it, which the artefact describes.
        engine: Where the run computes.
        settings: Of the run.
        tell: Told in one line what the user should know.
    """

    def __init__(
        self,
        folder: RunFolder,
        state: RunState,
        model: LatentModel,
        engine: Engine,
        settings: Settings,
        tell: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self._state = state
        self._model = model
        self._engine = engine
        self._tell = tell
        self._seconds = settings.checkpoint_seconds
        self._checkpoints = Checkpoints(folder.checkpoints, keep=settings.keep_checkpoints, tell=tell)
        self._saved_at = time.monotonic()
        self._failing = False

    @contextmanager
    def holding(self) -> Generator[None]:
        """The folder is this run's alone within it; at the end, whatever is being written is waited for."""
        if not self._engine.main:
            yield
            return
        with RunLock(self.folder.path), self._checkpoints:
            self.folder.remove_leftovers()
            yield

    @property
    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return time.monotonic() - self._saved_at >= self._seconds

    # The beginning

    def take_up(self, description: dict[str, Any]) -> bool:
        """Put the run back to its newest checkpoint; False if there is none yet."""
        checkpoint = self._checkpoints.newest()
        if checkpoint is not None:
            self._state.restore(checkpoint.tensors, checkpoint.said)
            (gone,) = self._engine.any([self._engine.main and not self.folder.model.exists()])
            if gone:
                self._state.position.artefact_step = -1
        self._describe(description)
        return checkpoint is not None

    def begin(self, description: dict[str, Any]) -> None:
        """Make the folder a run.

        Raises:
            FileExistsError: If it is one.
        """
        if self._engine.main:
            if self.folder.description.exists():
                raise FileExistsError(
                    f"{self.folder.path} already holds a run: resume it (--resume {self.folder.path}), "
                    "or choose another folder"
                )
            self._checkpoints.clear()
        # The first weights come before the description, which makes the folder a run: so a run can always be resumed.
        self.save(wait=True)
        self._describe(description)

    def _describe(self, description: dict[str, Any]) -> None:
        if self._engine.main:
            io.write_json(self.folder.description, description)
        self._engine.wait_for_main()

    # Saving

    def save(self, *, wait: bool = False) -> None:
        """Write a checkpoint, and the artefact of the best model where there is a new one; every process must ask.

        Args:
            wait: Return when all is on the disk.

        Raises:
            OSError: With `wait`: something could not be written. Without, the user is told, and it is tried again the
                next time.
        """
        position = self._state.position
        # The artefact comes first: a checkpoint must not say that a model is written which a kill then prevents.
        if position.step and (position.best_step != position.artefact_step or not self._state.best):
            self._save_model(wait)
        tensors, said = self._state.captured(wanted=self._engine.main)
        if self._engine.main:
            self._checkpoints.save(position.step, tensors, said, wait=wait)
        self._saved_at = time.monotonic()

    def _save_model(self, must: bool) -> None:
        weights = gathered(self._state.best_or_last(), wanted=self._engine.main)
        problem: OSError | None = None
        if self._engine.main:
            try:
                io.save(self._model, self.folder.model, self._model.figures, weights=weights)
            except OSError as error:
                problem = error
                if not self._failing and not must:
                    self._tell(f"the model could not be written ({error}); training goes on, and it is tried again")
        # All processes must agree on what is written, since all take part in writing it again.
        (self._failing,) = self._engine.any([problem is not None])
        if self._failing and must:
            raise problem or OSError("the first process could not write the model")
        if not self._failing:
            self._state.position.artefact_step = self._state.position.best_step

    # The end

    def conclude(self, description: dict[str, Any], *, finished: bool) -> str | None:
        """Save everything, and then say in the run's description whether it has come to its end.

        Returns:
            What went wrong, if the disk did not take it: the weights are in memory, and whoever called has them.
        """
        position = self._state.position
        try:
            self.save(wait=True)
            if finished and self._engine.main:
                end = {"step": position.step, "stopped_early": position.stopped}
                io.write_json(self.folder.description, {**description, "finished": end})
        except OSError as error:
            return f"the end of the run could not be saved: {error}. What was saved before is safe"
        return None

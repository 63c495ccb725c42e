"""What is made of updates that were left out: told, traced to where they went wrong, or the end of the run."""

from __future__ import annotations

from collections.abc import Callable

from lucid.data import Portion
from lucid.distributions import Rows
from lucid.models import LatentModel
from lucid.training.engine import Engine
from lucid.training.guard import DeviceGuard
from lucid.training.nonfinite import Culprit, NonFiniteLossError, StalledTrainingError, explain
from lucid.training.randomness import Randomness
from lucid.training.settings import Settings
from lucid.training.update import Update

__all__ = ["ExceptionalUpdates"]


class ExceptionalUpdates:
    """Looks at what the guard of the updates has counted.

    Args:
        update: What counts.
        model: In training.
        engine: Where it computes.
        settings: Of the run.
        randomness: Of the run.
        tell: Told in one line what the user should know.
    """

    def __init__(
        self,
        update: Update,
        model: LatentModel,
        engine: Engine,
        settings: Settings,
        randomness: Randomness,
        tell: Callable[[str], None],
    ) -> None:
        self._update = update
        self._model = model
        self._engine = engine
        self._settings = settings
        self._randomness = randomness
        self._tell = tell
        self._explained, self._explained_from = 0, -1
        self._culprit = "not found in the rows of this process"

    def resume(self) -> None:
        """What an earlier process counted, it has told."""
        self._explained = self._update.guard.broken

    def consider(self, portion: Portion, step: int) -> None:
        """After an update was left out: say where it went wrong, and whether training can go on.

        Args:
            portion: Its batch.
            step: Its number.

        Raises:
            NonFiniteLossError: If the data or a parameter is not finite, or too many in a row were left out.
            StalledTrainingError: If too many in a row were left out for their length.
        """
        guard, settings = self._update.guard, self._settings
        guard.read()
        first = step + 1 - guard.streak
        lost = guard.streak >= settings.max_skips
        if guard.broken > self._explained and len(portion.x) and (first != self._explained_from or lost):
            self._explained, self._explained_from = guard.broken, first
            culprit = self._traced(portion, step, ongoing=lost)
            if culprit.lasting or lost:
                raise NonFiniteLossError(first, culprit.what)
            self._culprit = culprit.what
            if self._update.scaler is None:  # which tries how large its scale may be
                self._tell(
                    f"step {first}: the update was left out, since its gradient is not finite. First non-finite: "
                    f"{culprit.what}"
                )
        elif lost:
            raise StalledTrainingError(first, guard.streak, settings.skip)

    def _traced(self, portion: Portion, step: int, *, ongoing: bool) -> Culprit:
        if self._engine.sharded:
            return Culprit("not looked for, since the weights are sharded")
        if isinstance(self._update.guard, DeviceGuard) and not ongoing:
            return Culprit("not looked for: it was in an earlier batch, and the device was not waited for")
        self._randomness.at("train", step)
        noise = Rows(self._randomness.noise, portion.first, portion.whole)
        with self._engine.autocast():
            return explain(self._model, portion.x, noise, portion.condition)

    def refuse_untrained(self, steps: int) -> None:
        """A run whose every update was left out has not trained.

        Args:
            steps: Training steps done.

        Raises:
            NonFiniteLossError, StalledTrainingError: If that is so.
        """
        guard = self._update.guard
        guard.read()
        if guard.streak and guard.skipped >= steps:
            if guard.broken:
                raise NonFiniteLossError(0, self._culprit)
            raise StalledTrainingError(0, guard.streak, self._settings.skip)

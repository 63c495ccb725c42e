"""What training came to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lucid.models import LatentModel
from lucid.training.window import Averages

__all__ = ["FitResult"]


@dataclass(frozen=True)
class FitResult:
    """What training came to.

    Attributes:
        model: The model, holding the weights with the least validation loss, in evaluation mode.
        steps: Training steps done.
        total_steps: Training steps asked for.
        seconds: Time spent training.
        best_loss: Least validation loss, at the β the schedule ends with, nats per example; infinite without
            validation.
        best_step: Steps done when it was measured; −1 without validation.
        validation: Validation averages when last measured, nats per example.
        interrupted: Whether it was stopped before its last step.
        notes: What the user should know, in words: a schedule that did not finish, how to go on.
        out: The run folder, if there is one.
        saved: Whether everything is in the run folder; not where the disk was full at the end.
        skipped: Updates that were left out as exceptional.
        signal: The signal that stopped it; 0 without one.
    """

    model: LatentModel
    steps: int
    total_steps: int
    seconds: float
    best_loss: float
    best_step: int
    validation: Averages | None
    interrupted: bool
    notes: tuple[str, ...]
    out: Path | None
    saved: bool = True
    skipped: int = 0
    signal: int = 0

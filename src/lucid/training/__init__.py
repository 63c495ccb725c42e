"""The training loop, its settings, and the folder a run leaves."""

from __future__ import annotations

from lucid.training.fit import fit
from lucid.training.metrics import Averages
from lucid.training.nonfinite import NonFiniteLossError
from lucid.training.progress import Progress, ProgressBar, Silent
from lucid.training.result import FitResult
from lucid.training.run import Run, RunFolder
from lucid.training.settings import PRECISIONS, Settings

__all__ = [
    "PRECISIONS",
    "Averages",
    "FitResult",
    "NonFiniteLossError",
    "Progress",
    "ProgressBar",
    "Run",
    "RunFolder",
    "Settings",
    "Silent",
    "fit",
]

"""The training loop, its settings, and the folder a run leaves."""

from __future__ import annotations

from lucid.training.engine import is_main_process, was_restarted
from lucid.training.fit import fit
from lucid.training.lock import RunInUseError
from lucid.training.nonfinite import NonFiniteLossError, StalledTrainingError
from lucid.training.profile import Phase, Profile, profile
from lucid.training.progress import Progress, ProgressBar, Silent
from lucid.training.result import FitResult
from lucid.training.run import Finished, Run, RunFolder
from lucid.training.settings import PRECISIONS, Settings
from lucid.training.window import Averages

__all__ = [
    "PRECISIONS",
    "Averages",
    "Finished",
    "FitResult",
    "NonFiniteLossError",
    "Phase",
    "Profile",
    "Progress",
    "ProgressBar",
    "Run",
    "RunFolder",
    "RunInUseError",
    "Settings",
    "Silent",
    "StalledTrainingError",
    "fit",
    "is_main_process",
    "profile",
    "was_restarted",
]

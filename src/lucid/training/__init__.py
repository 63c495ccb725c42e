"""The training loop, its settings, and the folder a run leaves."""

from __future__ import annotations

from lucid.training.engine import evaluating_together, is_main_process, was_restarted
from lucid.training.fit import fit
from lucid.training.fit_prior import FittedPrior, fit_prior
from lucid.training.identity import describe_objective
from lucid.training.introduce import Rescheduled, introduction, level_weight
from lucid.training.lock import RunInUseError
from lucid.training.nonfinite import NonFiniteLossError, StalledTrainingError
from lucid.training.profile import Phase, Profile, profile
from lucid.training.progress import Progress, ProgressBar, Silent
from lucid.training.recipe import BUDGETS, Figure, Finding, Recipe, Source, read_recipe
from lucid.training.result import FitResult
from lucid.training.run import Finished, Run, RunFolder
from lucid.training.settings import PRECISIONS, Settings
from lucid.training.trials import Trial, Trials, fresh_copy
from lucid.training.window import Averages

__all__ = [
    "BUDGETS",
    "PRECISIONS",
    "Averages",
    "Figure",
    "Finding",
    "Finished",
    "FitResult",
    "FittedPrior",
    "NonFiniteLossError",
    "Phase",
    "Profile",
    "Progress",
    "ProgressBar",
    "Recipe",
    "Rescheduled",
    "Run",
    "RunFolder",
    "RunInUseError",
    "Settings",
    "Silent",
    "Source",
    "StalledTrainingError",
    "Trial",
    "Trials",
    "describe_objective",
    "evaluating_together",
    "fit",
    "fit_prior",
    "fresh_copy",
    "introduction",
    "is_main_process",
    "level_weight",
    "profile",
    "read_recipe",
    "was_restarted",
]

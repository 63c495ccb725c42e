"""The folder a run leaves: what is in it, and opening it again."""

from __future__ import annotations

import importlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lucid import io
from lucid.io.files import remove_leftovers
from lucid.io.folders import previous_of
from lucid.models import LatentModel
from lucid.training.metrics import read_metrics

if TYPE_CHECKING:
    from lucid.data import Dataset
    from lucid.objectives import Objective

__all__ = ["Run", "RunFolder"]


@dataclass(frozen=True)
class RunFolder:
    """Where everything of a run lies.

    Args:
        path: The folder.
    """

    path: Path

    @property
    def description(self) -> Path:
        """The resolved description of the run: data, model, training, versions."""
        return self.path / "run.json"

    @property
    def metrics(self) -> Path:
        """One line of figures at a time."""
        return self.path / "metrics.jsonl"

    @property
    def model(self) -> Path:
        """The artefact of the best model."""
        return self.path / "model"

    @property
    def checkpoints(self) -> Path:
        """The folder of the last few checkpoints; each holds the best weights too."""
        return self.path / "checkpoints"

    @property
    def evaluation(self) -> Path:
        """Figures on the test split."""
        return self.path / "evaluation.json"

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / "report.html"

    def remove_leftovers(self) -> None:
        """Remove what a killed training process left unfinished here; for who holds the `RunLock`.

        (Checkpoints see to their own folder. Evaluations and pages may be in the making beside a training.)
        """
        remove_leftovers(self.path, re.escape(self.description.name) + "|" + re.escape(self.model.name))
        previous = previous_of(self.model)
        if self.model.exists() and previous.exists():
            shutil.rmtree(previous)
        # The library of safetensors writes to a file of its own before it gives it the name it was told.
        for path in self.checkpoints.glob(".tmp??????"):
            path.unlink(missing_ok=True)


class Finished(NamedTuple):
    """How a run came to its end.

    Attributes:
        step: Training steps done.
        stopped_early: Whether it stopped for want of progress.
    """

    step: int
    stopped_early: bool


class Run:
    """A run folder, opened.

    Args:
        folder: The folder that `fit(out=…)` or `lucid train --out` wrote.

    Raises:
        FileNotFoundError: If there is no run in the folder.
        ValueError: If its description is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = RunFolder(Path(folder))
        if not self.folder.description.is_file():
            if (self.folder.path / "config.json").is_file():
                raise FileNotFoundError(
                    f"{folder} is not a run: it holds a model alone, without its data and its training. `lucid info`, "
                    "`sample`, `evaluate` and what else takes a model can use it"
                )
            there = "there is no such folder" if not self.folder.path.exists() else "it holds no run.json"
            raise FileNotFoundError(f"{folder} is not a run: {there}. `lucid train DATA --out {folder}` makes one")
        description = io.read_json(self.folder.description)
        if not isinstance(description, dict):
            raise ValueError(f"{self.folder.description} does not describe a run: it must hold a JSON object")
        self.description: dict[str, Any] = description

    def model(self) -> LatentModel:
        """The best model, in evaluation mode."""
        if not self.folder.model.exists():
            raise FileNotFoundError(f"{self.folder.path} has no model yet: it was stopped early. Go on with --resume")
        # Objectives register the schedules that a model's description may name.
        importlib.import_module("lucid.objectives")
        model = io.load(self.folder.model)
        if not isinstance(model, LatentModel):
            raise ValueError(f"{self.folder.model} holds a {type(model).__name__}, not a model of lucid's")
        return model

    def objective(self) -> Objective | None:
        """What it minimised; None where that was made in Python of parts that cannot be made again from words."""
        # Registers the classes that a description may name.
        importlib.import_module("lucid.objectives")
        said = self.description.get("objective")
        try:
            built: Any = None if said is None else io.build(said)
        except ValueError:
            return None
        return built if hasattr(built, "beta") else None

    def finished(self) -> Finished | None:
        """How it came to its end; None before that."""
        said = self.description.get("finished")
        return Finished(int(said["step"]), bool(said["stopped_early"])) if isinstance(said, dict) else None

    def dataset(self) -> Dataset:
        """The data it was trained on, read again the same way.

        Raises:
            ValueError: If it was trained on data that exists in memory only.
        """
        from lucid import data

        said = self.description.get("data")
        if not isinstance(said, dict):
            raise ValueError(
                f"the run in {self.folder.path} was trained on data given from Python: pass that data again, "
                "there is no file to read it from"
            )
        return data.load(**said)

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        return read_metrics(self.folder.metrics)

    def evaluation(self) -> dict[str, Any] | None:
        """The figures of the last evaluation; None before the first."""
        return io.read_json(self.folder.evaluation) if self.folder.evaluation.is_file() else None

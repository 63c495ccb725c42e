"""A run's folder, read: everything its page is made from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lucid.data import Dataset
from lucid.evaluation import Evaluation
from lucid.models import LatentModel
from lucid.report.curves import Metrics

__all__ = ["Opened", "open_run"]


@dataclass(frozen=True)
class Opened:
    """What a page is made from.

    Attributes:
        model: The best model by validation loss.
        dataset: The data it was trained on.
        metrics: The lines of metrics.jsonl.
        evaluation: What evaluation.json holds; None if the run has not been evaluated.
        description: What run.json holds.
    """

    model: LatentModel
    dataset: Dataset
    metrics: Metrics
    evaluation: Evaluation | None
    description: Mapping[str, Any]


def open_run(folder: str | os.PathLike[str], dataset: Dataset | None = None) -> Opened:
    """Read a run's folder.

    Args:
        folder: What training wrote.
        dataset: The data, where it was given from Python and the folder cannot name it; None reads it again.

    Raises:
        FileNotFoundError: If it is not the folder of a run, or has no model yet.
        ValueError: If a file in it is damaged, or the data exists in memory only.
    """
    from lucid.training import Run  # loads the training engine, which a page made from objects does not need

    run = Run(os.fspath(folder))
    evaluation = run.evaluation()
    return Opened(
        model=run.model(),
        dataset=run.dataset() if dataset is None else dataset,
        metrics=run.metrics(),
        evaluation=None if evaluation is None else Evaluation.from_json(evaluation),
        description=run.description,
    )

"""`fit`: trains a model on data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lucid.models import LatentModel
from lucid.objectives import Objective, objective_of
from lucid.training.loop import Loop
from lucid.training.optimizers import OptimizerFactory
from lucid.training.progress import Progress, ProgressBar, Silent
from lucid.training.result import FitResult
from lucid.training.run import RunFolder
from lucid.training.settings import Settings

if TYPE_CHECKING:
    from lucid.data import Dataset

__all__ = ["fit"]


def fit(
    model: LatentModel,
    data: Dataset | Any,
    *,
    out: str | Path | None = None,
    settings: Settings | None = None,
    objective: Objective | None = None,
    optimizer: OptimizerFactory | str | None = None,
    resume: bool | Literal["auto"] = False,
    progress: bool | Progress = True,
    tensorboard: bool = False,
    description: Mapping[str, Any] | None = None,
    **more: Any,
) -> FitResult:
    """Train a model on data, and leave it with the weights that did best on the validation split.

    Best is the least validation loss under the same objective, with β as its schedule leaves it at the end: losses at
    different β cannot be compared, and the easy beginning of a warm-up must not win.

    Ctrl-C finishes the step, saves, and returns with `interrupted` set. With `out`, the run can then be resumed: from
    the last checkpoint it goes on as if it had not stopped.

    Args:
        model: Any model of lucid's.
        data: A `lucid.data.Dataset`, or anything `lucid.data.load` takes: an array, a tensor, a DataFrame, a path.
        out: Folder of the run; None keeps nothing on disk.
        settings: How to train; single settings may be given by name instead, `fit(model, data, epochs=20)`.
        objective: What is minimised; None is what the model's own configuration states.
        optimizer: The setting of that name, "adamw" or "adamax", or what makes one from the parameters.
        resume: Go on with the run in `out`; "auto" does so if there is one, and begins one if there is none.
        progress: Whether to show a bar on stderr, or who is told instead.
        tensorboard: Whether to write TensorBoard event files into the run folder too.
        description: More to write into run.json, such as how the model was made.
        more: Fields of `Settings`.

    Raises:
        NonFiniteLossError: If the loss becomes NaN or infinite; before the update, and saying where it began.
        FileExistsError: If `out` already holds a run, and `resume` was not asked for.
        ValueError: If a setting is wrong, or a resumed run differs in more than its length.
        TypeError: If `model` is not a model of lucid's, or a setting's name is unknown.

    Example:
        >>> import torch, lucid.models as models, lucid.nn as nn
        >>> model = models.VAE(models.VAEConfig(encoders=[nn.Linear(6, 4)], decoders=[nn.Linear(2, 6)]))
        >>> result = fit(model, torch.randn(200, 6), steps=10, progress=False)
        >>> result.steps, result.interrupted
        (10, False)
    """
    from lucid import data as data_room

    if not isinstance(model, LatentModel):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"model must be a model of lucid's, such as lucid.models.VAE; received {type(model).__name__}")
    if isinstance(optimizer, str):
        more, optimizer = {**more, "optimizer": optimizer}, None
    if settings is not None and more:
        raise TypeError(f"give settings, or single settings by name, not both; received settings and {', '.join(more)}")
    settings = settings or Settings.of(**more)
    if resume and out is None:
        raise ValueError("resume needs out, the folder of the run to go on with")
    if resume == "auto":
        resume = out is not None and RunFolder(Path(out)).description.exists()
    dataset = data if isinstance(data, data_room.Dataset) else data_room.load(data)
    loop = Loop(
        model,
        dataset,
        settings,
        objective or objective_of(model),
        optimizer,
        out=None if out is None else Path(out),
        progress=_progress(progress),
        tensorboard=tensorboard,
        description=dict(description or {}),
    )
    return loop.run(resume=resume)


def _progress(progress: bool | Progress) -> Progress:
    if isinstance(progress, bool):
        return ProgressBar() if progress else Silent()
    return progress

"""A model from the folder a user names: a run's, or the artefact's own."""

from __future__ import annotations

from pathlib import Path

import lucid
from lucid.models import DataProtocol, LatentModel
from lucid.training import Run

__all__ = ["is_model_alone", "open_model", "protocol_of"]


def is_model_alone(folder: str) -> bool:
    """Whether the folder is a model's and no run's."""
    path = Path(folder)
    return (path / "config.json").exists() and not (path / "run.json").exists()


def open_model(folder: str) -> LatentModel:
    """The model in a run's folder, or in a model's.

    Raises:
        FileNotFoundError: If the folder is neither.
        ValueError: If the model is damaged, or needs modules that only Python can give.
    """
    path = Path(folder)
    if (path / "run.json").exists():
        return Run(path).model()
    if not (path / "config.json").exists():
        what = "there is no such folder" if not path.exists() else "it holds neither run.json nor config.json"
        raise FileNotFoundError(f"{folder} is neither a run nor a model: {what}")
    model = lucid.load(path)
    if not isinstance(model, LatentModel):
        raise ValueError(f"{folder} holds a {type(model).__name__}, not a model of lucid's")
    return model


def protocol_of(model: LatentModel, folder: str) -> DataProtocol:
    """How the model's data was prepared.

    Raises:
        ValueError: If the model does not say.
    """
    if model.protocol is None:
        raise ValueError(
            f"the model in {folder} does not say how its data was prepared: it was saved without a protocol. "
            "Set model.protocol in Python and save it again"
        )
    return model.protocol

"""What must hold of an artefact's files before a model is made from them: each fault with an error of its own."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor, nn

from lucid.io.files import read_json
from lucid.io.tensors import tensor_shapes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = [
    "CONFIG",
    "FORMAT",
    "SCHEMA",
    "WEIGHTS",
    "check_fits",
    "checked_config",
    "checked_weights",
    "is_artefact",
    "rebuilt_buffers",
    "sha256_of",
]

FORMAT = "lucid-artefact"
SCHEMA = 1
CONFIG = "config.json"
WEIGHTS = "model.safetensors"


def is_artefact(folder: Path) -> bool:
    """Whether a folder is one that `save` wrote; False where its config.json cannot be read as one."""
    try:
        config = read_json(folder / CONFIG)
    except (FileNotFoundError, ValueError):
        return False
    return isinstance(config, dict) and cast("dict[str, object]", config).get("format") == FORMAT


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def rebuilt_buffers(model: nn.Module) -> dict[str, Tensor]:
    """The buffers that are not in the state dict: the constructor makes them anew."""
    state = model.state_dict()
    return {name: item for name, item in model.named_buffers(remove_duplicate=False) if name not in state}


def _own_file(folder: Path, name: str) -> Path:
    file = folder / name
    if file.is_symlink():
        raise ValueError(f"{str(file)!r} is a symbolic link; an artefact holds its own files")
    if not file.exists():
        inner = folder / "model"
        hint = f"; did you mean {str(inner)!r}?" if (inner / name).exists() else ""
        raise FileNotFoundError(f"{str(folder)!r} is not a whole artefact: it has no {name}{hint}")
    if not file.is_file():
        raise ValueError(f"{str(file)!r} is not a regular file")
    return file


_SHAPE: dict[str, type | tuple[type, ...]] = {
    "model": dict,
    "figures": dict,
    "weights": dict,
    "frozen": list,
    "buffer_dtypes": dict,
    "protocol": (dict, type(None)),
}


def checked_config(folder: Path) -> dict[str, Any]:
    """The content of config.json, once it is certain that this lucid can read it."""
    file = _own_file(folder, CONFIG)
    found: object = read_json(file)
    if not isinstance(found, dict) or cast("dict[str, Any]", found).get("format") != FORMAT:
        raise ValueError(f"{str(file)!r} is JSON, but not the configuration of a lucid artefact (format {FORMAT!r})")
    config = cast("dict[str, Any]", found)
    schema = config.get("schema")
    if type(schema) is not int or schema < 1:
        raise ValueError(f"{str(file)!r} has schema {schema!r}; it should be a positive integer")
    if schema > SCHEMA:
        raise ValueError(
            f"{str(file)!r} has schema {schema}, and this lucid reads up to {SCHEMA}; it was written by lucid "
            f"{str(config.get('lucid'))[:40]!r}: upgrade lucid-vae"
        )
    for key, kind in _SHAPE.items():
        if key not in config or not isinstance(config[key], kind):
            raise ValueError(f"{str(file)!r} is damaged: its {key!r} is missing or of the wrong kind")
    if not all(isinstance(name, str) for name in config["frozen"]):
        raise ValueError(f"{str(file)!r} is damaged: its 'frozen' should list names")
    return config


def checked_weights(folder: Path, said: dict[str, Any]) -> Path:
    """The weights file, once it is certain that it is the one config.json was written with."""
    name, size, digest = said.get("file"), said.get("bytes"), said.get("sha256")
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]{0,200}", name, re.ASCII):
        raise ValueError(
            f"{CONFIG} names the weights {str(name)[:80]!r}; it must be the plain name of a file beside it"
        )
    file = _own_file(folder, name)
    actual = file.stat().st_size
    if actual != size:
        raise ValueError(
            f"{str(file)!r} holds {actual} bytes where {CONFIG} says {size!r}: it was cut short, or belongs to another "
            "model"
        )
    if sha256_of(file) != digest:
        raise ValueError(
            f"{str(file)!r} does not have the SHA-256 that {CONFIG} says: it is damaged, or belongs to another model; "
            "copy the artefact again from its source"
        )
    return file


def check_fits(model: object, weights: Path, given: Sequence[str]) -> None:
    """Compare the names and shapes of a model without weights with the header of the file."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"{CONFIG} describes a {type(model).__name__}, not a model")
    saved = tensor_shapes(weights)
    built = {name: item.shape for name, item in cast("dict[str, Tensor]", model.state_dict()).items()}
    differing = [
        f"{name!r} is {tuple(saved[name])} in the file and {tuple(built[name])} in the model"
        for name in sorted(built.keys() & saved.keys())
        if built[name] != saved[name]
    ]
    absent = [f"{name!r} is not in the file" for name in sorted(built.keys() - saved.keys())]
    left = [f"{name!r} is in the file alone" for name in sorted(saved.keys() - built.keys())]
    if differing or absent or left:
        listed = "; ".join((*differing[:3], *absent[:3], *left[:3]))
        others = len(differing) + len(absent) + len(left) - len(listed.split("; "))
        listed += f"; and {others} more" if others else ""
        whose = f"with the {', '.join(given)} you passed, the model" if given else f"the model that {CONFIG} describes"
        raise ValueError(f"{whose} does not fit the weights in {str(weights)!r}: {listed}")

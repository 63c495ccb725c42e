"""One description of a run, from a file, the command line, or both."""

from __future__ import annotations

import argparse
import json
import tomllib
from pathlib import Path
from typing import Any

from lucid.cli.errors import UsageError

__all__ = ["described", "overriding"]

SECTIONS = ("data", "model", "training")
_RESULTS = ("protocol", "identity", "finished", "launch", "versions", "lucid")
"""What a run.json says that a new run finds out by itself."""


def described(path: str | None) -> dict[str, dict[str, Any]]:
    """The sections of a description file, empty ones included.

    Args:
        path: A .toml file, or the run.json that an earlier run left; None describes nothing.

    Raises:
        UsageError: If the file is neither, or holds other sections.
    """
    if path is None:
        return {name: {} for name in SECTIONS}
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"there is no file {path}: --config takes a .toml file, or the run.json of an earlier run")
    if file.suffix not in (".toml", ".json"):
        raise UsageError(f"--config takes a .toml file, or the run.json of an earlier run; received {path}")
    said = _parse(file)
    unknown = [
        name
        for name in said
        if name not in (*SECTIONS, "protocol", "identity", "finished", "launch", "versions", "lucid")
    ]
    if unknown:
        raise UsageError(f"{path} has unknown sections {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    for name in SECTIONS:
        if not isinstance(said.get(name, {}), dict):
            raise UsageError(f"the section {name} of {path} must be a table of settings; received {said[name]!r}")
    return {name: dict(said.get(name, {})) for name in SECTIONS}


def _parse(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        said = tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read as {'TOML' if file.suffix == '.toml' else 'JSON'}: {error}") from error
    if not isinstance(said, dict):
        raise UsageError(f"{file} must describe a run in sections {', '.join(SECTIONS)}")
    return said


def overriding(section: dict[str, Any], args: argparse.Namespace, names: dict[str, str]) -> dict[str, Any]:
    """A section with what the command line said put over it.

    Args:
        section: What a file said.
        args: The parsed command line; None stands for "not said".
        names: From the name of the command line's argument to the name of the setting.
    """
    said = {setting: getattr(args, argument) for argument, setting in names.items()}
    return {**section, **{setting: value for setting, value in said.items() if value is not None}}

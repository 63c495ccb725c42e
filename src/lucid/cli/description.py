"""One description of a run, from a file, the command line, or both."""

from __future__ import annotations

import argparse
import json
import tomllib
from pathlib import Path
from typing import Any

from lucid.cli.errors import UsageError, as_usage
from lucid.training.recipe import Budget, located, of_budget, read_yaml, run_sections

__all__ = ["described", "overriding"]

_FILES = "a .toml file, the .yaml file of a recipe, or the run.json of an earlier run"

SECTIONS = ("data", "model", "training")
_RESULTS = ("protocol", "identity", "objective", "finished", "launch", "versions", "lucid")
"""What a run.json says that a new run finds out by itself."""


def described(path: str | None, budget: Budget | None = None) -> dict[str, dict[str, Any]]:
    """The sections of a description file, empty ones included.

    Args:
        path: A .toml file, the .yaml file of a recipe, or the run.json that an earlier run left; None describes
            nothing.
        budget: Which variant of a recipe; None is the full one.

    Raises:
        UsageError: If the file is none of these, or holds other sections.
    """
    if path is None:
        return {name: {} for name in SECTIONS}
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"there is no file {path}: --config takes {_FILES}")
    if file.suffix not in (".toml", ".json", ".yaml", ".yml"):
        raise UsageError(f"--config takes {_FILES}; received {path}")
    if budget is not None and file.suffix not in (".yaml", ".yml"):
        raise UsageError("--budget chooses a variant of a recipe, a .yaml file: leave it out")
    said = _parse(file, budget or "full")
    unknown = [
        name for name in said if name not in (*SECTIONS, *_RESULTS) or (name == "objective" and file.suffix != ".json")
    ]
    if unknown:
        raise UsageError(f"{path} has unknown sections {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    for name in SECTIONS:
        if not isinstance(said.get(name, {}), dict):
            raise UsageError(f"the section {name} of {path} must be a table of settings; received {said[name]!r}")
    return {name: dict(said.get(name, {})) for name in SECTIONS}


def _parse(file: Path, budget: Budget) -> dict[str, Any]:
    if file.suffix in (".yaml", ".yml"):
        with as_usage():
            return located(run_sections(of_budget(read_yaml(file), budget, file)))
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

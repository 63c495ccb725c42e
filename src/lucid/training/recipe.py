"""Recipes: a published protocol in a file, with the figure it is expected to reach, and whether a run reached it."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lucid.evaluation import Evaluation

__all__ = ["BUDGETS", "Budget", "Figure", "Finding", "Recipe", "Source", "read_recipe"]

Budget = Literal["full", "small"]
BUDGETS: tuple[Budget, ...] = ("full", "small")

_UNITS = {"minus_elbo": "nats", "minus_log_likelihood": "nats", "bits_per_dim": "bits/dim"}
_PACKAGE = "package:"
_KEYS = ("title", "source", "protocol", "published", "expected", "parameters", "evaluation", "small")
_EVALUATION = ("split", "num_samples", "elbo_samples", "examples", "seed")


@dataclass(frozen=True)
class Source:
    """Where a protocol was published.

    Attributes:
        title: Of the paper or project.
        year: Of its publication.
        link: Where to read it.
    """

    title: str
    year: int
    link: str


@dataclass(frozen=True)
class Figure:
    """A figure to be reached; smaller is better.

    Attributes:
        name: "minus_elbo" or "minus_log_likelihood", nats per example, or "bits_per_dim".
        value: What it was.
        tolerance: How far another run may be from it and still be the same; 0 for one that is only compared with.
        estimator: What it was found with, such as "IW-5000"; "" for the recipe's own.
        note: Whose it is.
    """

    name: str
    value: float
    tolerance: float = 0.0
    estimator: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if self.name not in _UNITS:
            raise ValueError(f"a figure is named {', '.join(_UNITS)}; received {self.name!r}")
        for what, number in (("value", self.value), ("tolerance", self.tolerance)):
            if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
                raise ValueError(f"the {what} of the figure {self.name} must be a finite number; received {number!r}")
        if self.tolerance < 0:
            raise ValueError(f"the tolerance of the figure {self.name} must not be negative; received {self.tolerance}")

    @property
    def unit(self) -> str:
        """nats, or bits/dim."""
        return _UNITS[self.name]


@dataclass(frozen=True)
class Finding:
    """A measured figure beside the one that was to be reached.

    Attributes:
        figure: The latter.
        measured: The former.

    Example:
        >>> found = Finding(Figure("minus_elbo", 80.0, tolerance=0.3), measured=79.5)
        >>> found.reached, found.reproduced
        (True, False)
    """

    figure: Figure
    measured: float

    @property
    def reached(self) -> bool:
        """Whether the run is at least as good, within the tolerance."""
        return self.measured <= self.figure.value + self.figure.tolerance

    @property
    def reproduced(self) -> bool:
        """Whether it lies within the tolerance on either side: a run far better than it should be is another run."""
        return abs(self.measured - self.figure.value) <= self.figure.tolerance


@dataclass(frozen=True)
class Recipe:
    """One budget of a recipe.

    Attributes:
        name: Of the file, without its ending.
        budget: "full", the protocol; "small", the same in minutes on two processor cores.
        title: In words.
        source: Whose protocol it is.
        protocol: What it says, and what differs here.
        run: The sections data, model, training and others, as `lucid train --config` takes them.
        evaluation: Settings of `lucid.evaluation.evaluate`, and `examples`, how many of the split (all, without).
        expected: What our own runs reached, with the tolerance; none before the first run.
        published: What others reported.
        parameters: Numbers that are trained; None where it is not said.
    """

    name: str
    budget: Budget
    title: str
    source: Source
    protocol: str
    run: dict[str, dict[str, Any]]
    evaluation: dict[str, Any]
    expected: tuple[Figure, ...]
    published: tuple[Figure, ...]
    parameters: int | None

    def compare(self, evaluation: Evaluation) -> tuple[Finding, ...]:
        """What a run found, beside what is expected."""
        return self._beside(self.expected, evaluation)

    def compare_published(self, evaluation: Evaluation) -> tuple[Finding, ...]:
        """What a run found, beside what others reported."""
        return self._beside(self.published, evaluation)

    def _beside(self, figures: tuple[Figure, ...], evaluation: Evaluation) -> tuple[Finding, ...]:
        measured = measured_figures(evaluation)
        missing = [figure.name for figure in figures if figure.name not in measured]
        if missing:
            raise ValueError(
                f"the recipe {self.name} names {missing[0]}, and there is none: {evaluation.bits_per_dim_note}"
            )
        return tuple(Finding(figure, measured[figure.name]) for figure in figures)


def measured_figures(evaluation: Evaluation) -> dict[str, float]:
    """What an evaluation says of the figures that recipes name."""
    figures = {"minus_elbo": -evaluation.elbo.value, "minus_log_likelihood": -evaluation.log_likelihood.value}
    if evaluation.bits_per_dim is not None:
        figures["bits_per_dim"] = evaluation.bits_per_dim
    return figures


def read_recipe(path: str | Path, budget: Budget = "full") -> Recipe:
    """Read a recipe.

    Args:
        path: The .yaml file.
        budget: Which variant of it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a recipe, or has no such variant; the message says what is missing.
    """
    file = Path(path)
    said = read_yaml(file)
    missing = [key for key in ("title", "source", "protocol", "data", "model", "training") if key not in said]
    if missing:
        raise ValueError(f"{path} is not a recipe: it lacks {', '.join(missing)}")
    said = of_budget(said, budget, path)
    evaluation = dict(said.get("evaluation") or {})
    unknown = [key for key in evaluation if key not in _EVALUATION]
    if unknown:
        raise ValueError(f"evaluation in {path} has {unknown[0]!r}; it takes {', '.join(_EVALUATION)}")
    try:
        return Recipe(
            name=file.stem,
            budget=budget,
            title=said["title"],
            source=Source(**said["source"]),
            protocol=said["protocol"],
            run=run_sections(said),
            evaluation=evaluation,
            expected=tuple(Figure(**figure) for figure in said.get("expected") or ()),
            published=tuple(Figure(**figure) for figure in said.get("published") or ()),
            parameters=said.get("parameters"),
        )
    except TypeError as error:
        raise ValueError(f"{path} is not a recipe: {error}") from error


def read_yaml(file: Path) -> dict[str, Any]:
    """A YAML file whose top level is a mapping.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not that.
    """
    import yaml

    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    try:
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(said, dict):
        raise ValueError(f"{file} must hold settings under names, data:, model:, training:; received {said!r}")
    return said


def of_budget(said: Mapping[str, Any], budget: Budget, where: object) -> dict[str, Any]:
    """What a recipe says for one budget: `small` replaces single settings, and what was expected of the full one.

    Raises:
        ValueError: If there is no such variant.
    """
    whole = {name: value for name, value in said.items() if name != "small"}
    if budget == "full":
        return whole
    if not isinstance(said.get("small"), Mapping):
        raise ValueError(f"{where} has no variant small")
    whole |= {"expected": (), "parameters": None}
    for name, value in said["small"].items():
        known = whole.get(name)
        whole[name] = {**known, **value} if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    # The length is told in one way, and so is the variant's.
    training, own = whole.get("training", {}), said["small"].get("training", {})
    for one, other in (("steps", "epochs"), ("epochs", "steps")):
        if one in own and other not in own:
            training.pop(other, None)
    return whole


def run_sections(said: Mapping[str, Any]) -> dict[str, Any]:
    """What of a recipe describes the run."""
    return {name: value for name, value in said.items() if name not in _KEYS}


def located(sections: Mapping[str, Any]) -> dict[str, Any]:
    """The same sections, with data that is `package:NAME/PATH` where that package is installed.

    Raises:
        ValueError: If it is not.
    """
    data: Any = sections.get("data")
    source = data.get("source") if isinstance(data, dict) else None
    if not isinstance(source, str) or not source.startswith(_PACKAGE):
        return dict(sections)
    return {**sections, "data": {**data, "source": _in_package(source.removeprefix(_PACKAGE))}}


def _in_package(place: str) -> str:
    """The path of a file that a Python package brings along."""
    package, _, inside = place.partition("/")
    found = importlib.util.find_spec(package)
    folders = () if found is None else found.submodule_search_locations or ()
    path = next((Path(folder) / inside for folder in folders if (Path(folder) / inside).is_file()), None)
    if path is None:
        raise ValueError(
            f"the data is {inside} of the Python package {package}, which is not here: pip install {package}"
        )
    return str(path)

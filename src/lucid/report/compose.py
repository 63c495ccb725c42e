"""`write_report` and `render`: the page of a run, section by section."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from lucid.data import Dataset
from lucid.evaluation import Evaluation
from lucid.io.files import whole_file
from lucid.models import LatentModel
from lucid.report import images, mixed, series, tables
from lucid.report.curves import Metrics, kept_line, training_section
from lucid.report.latents import map_section, units_section
from lucid.report.likelihood import key_figures, likelihood_section
from lucid.report.look import Look
from lucid.report.markup import Html, element
from lucid.report.page import Header, KeyFigure, Section, build_page
from lucid.report.provenance import duration, provenance_section
from lucid.report.run import open_run

__all__ = ["render", "write_report"]

_VIEWS: dict[str, ModuleType] = {"image": images, "series": series, "table": tables, "vector": tables}


class _Readings(NamedTuple):
    """How to read what a kind of data looks like; `{part}` stands for the part of the data that is shown."""

    reconstructions: str
    samples: str
    interpolations: str


_OF_TABLES = _Readings(
    reconstructions="Reconstruction against input, one panel a column, in the units of the file: on the diagonal "
    "nothing is lost. R² is the share of a column’s variance that survives.",
    samples="Rows made from latents drawn from the prior, with the noise of p(x|z). Each column should be distributed "
    "as in the data, and columns should go together as they do there.",
    interpolations="Each path leads in a straight line through the latents, from one {part} example to another. "
    "Columns should change together and stay plausible on the way.",
)
_READINGS = {
    "image": _Readings(
        reconstructions="Images of the {part} part, each above its reconstruction: the mean of p(x|z) at the mean of "
        "the posterior. What is lost here is lost to the latents.",
        samples="Images made from latents drawn from the prior. At temperature 1 they show what the model believes the "
        "data to be; at 0.7 they are more typical and less varied.",
        interpolations="Each row leads in a straight line through the latents, from one image of the {part} part to "
        "another. Good latents pass through plausible images, not through a fade of the two ends.",
    ),
    "series": _Readings(
        reconstructions="Series of the {part} part, pale, under their reconstructions: the mean of p(x|z) at the mean "
        "of the posterior. What is lost here is lost to the latents.",
        samples="Series made from latents drawn from the prior. The spread of samples should follow the spread of the "
        "data at every time.",
        interpolations="Each panel leads in a straight line through the latents, from one series of the {part} part to "
        "another, from blue to orange; the strong lines are the ends.",
    ),
    "table": _OF_TABLES,
    "vector": _OF_TABLES,
}


def write_report(folder: str | os.PathLike[str], dataset: Dataset | None = None) -> Path:
    """Write `report.html` into a run's folder: one self-contained page to look at.

    Args:
        folder: What training wrote. If it has been evaluated, the page shows the figures.
        dataset: The data, where it was given to training from Python; None reads it again, as run.json describes it.

    Returns:
        Where the page is.

    Raises:
        FileNotFoundError: If it is not the folder of a run, or has no model yet.
        ValueError: If a file in it is damaged, or the data exists in memory only and is not passed.
    """
    run = open_run(folder, dataset)
    page = render(run.model, run.dataset, run.metrics, run.evaluation, run.description)
    target = Path(folder) / "report.html"
    with whole_file(target) as staging:
        staging.write_text(page, encoding="utf-8")
    return target


def render(
    model: LatentModel,
    dataset: Dataset,
    metrics: Metrics = (),
    evaluation: Evaluation | None = None,
    description: Mapping[str, Any] | None = None,
) -> str:
    """The page, from objects. The same objects give the same page.

    Args:
        model: The model.
        dataset: Its data: a protocol, and test examples with or without labels.
        metrics: Lines of metrics.jsonl; without any there is no section on training.
        evaluation: Its figures; without them there is no section on likelihood.
        description: How the run was made, as in run.json.

    Returns:
        A whole HTML document.
    """
    description = description or {}
    look = Look.at(model, dataset)
    sections = [training_section(metrics, model.figures)] if metrics else []
    sections += [*_views(look), map_section(look), units_section(look, evaluation)]
    if evaluation is not None:
        sections.append(likelihood_section(evaluation))
    sections.append(provenance_section(look, description, metrics))
    footer = "Everything is in nats per example unless it says otherwise. This page asks for nothing from anywhere."
    return build_page(_header(look, metrics, evaluation, description), sections, footer)


def _views(look: Look) -> list[Section]:
    """What the data looks like through the model, as suits its kind."""
    view = mixed if look.protocol.schema else _VIEWS[look.protocol.kind]
    readings = (reading.format(part=look.part) for reading in _READINGS[look.protocol.kind])
    reconstructions, samples, interpolations = readings
    if look.condition is not None:
        samples += f" The model is told the class: samples are of the classes of {look.part} examples, in their order."
        interpolations += " Both ends are of one class, which the model is told."
    cooled = look.protocol.kind == "image"
    return [
        Section("reconstructions", "Reconstructions", reconstructions, view.reconstructions(look)),
        Section("samples", "Samples", samples, _samples(look, view.samples, (1.0, 0.7) if cooled else (1.0,))),
        Section("interpolations", "Interpolations", interpolations, view.interpolations(look)),
    ]


def _samples(look: Look, show: Callable[[Look, float], Html], temperatures: tuple[float, ...]) -> Html:
    if len(temperatures) == 1:
        return show(look, temperatures[0])
    parts = [
        element("div", element("div", f"Temperature {t:g}", class_="panel-title"), show(look, t)) for t in temperatures
    ]
    return element("div", *parts, class_="content")


def _header(look: Look, metrics: Metrics, evaluation: Evaluation | None, description: Mapping[str, Any]) -> Header:
    name = _name(description.get("model"), type(look.model).__name__)
    meta: list[str] = []
    if evaluation is not None:
        meta.append(f"figures on {evaluation.num_examples:,} {evaluation.split} examples")
    if metrics:
        meta.append(f"trained for {_epochs(metrics[-1]['epoch'])} in {duration(metrics[-1]['seconds'])}")
    figures = _unevaluated(look, metrics) if evaluation is None else key_figures(evaluation)
    note = (
        "This run has not been evaluated yet. “lucid evaluate” measures its ELBO and log-likelihood on the test "
        "split, and “lucid report” then writes this page again."
        if evaluation is None
        else ""
    )
    subtitle = look.protocol.describe() if evaluation is None else evaluation.protocol
    return Header(f"{name} on {look.protocol.name}", subtitle, " · ".join(meta), figures, note)


def _name(described: object, otherwise: str) -> str:
    if isinstance(described, Mapping):
        return str(described.get("name") or otherwise)
    return described if isinstance(described, str) and described else otherwise


def _epochs(epochs: float) -> str:
    return "1 epoch" if epochs == 1 else f"{epochs:,.0f} epochs" if epochs >= 10 else f"{epochs:.2g} epochs"


def _unevaluated(look: Look, metrics: Metrics) -> tuple[KeyFigure, ...]:
    """What validation during training says, where there was any."""
    kept = kept_line(metrics, look.model.figures)
    if kept is None:
        return ()
    elbo = f"{kept['elbo']:,.2f}".replace("-", "−")
    return (KeyFigure("Validation ELBO", elbo, "nats", f"of the model kept, at step {kept['step']:,}"),)

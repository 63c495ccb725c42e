"""`lucid info`."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

import lucid
from lucid.cli.evaluated import provenance, unit_of
from lucid.cli.opening import open_model
from lucid.cli.words import print_lines
from lucid.evaluation import Figure
from lucid.evaluation.figure import rounded
from lucid.models import LatentModel, TopDownVAE, VAEConfig
from lucid.training import Run

__all__ = ["info"]


def info(args: argparse.Namespace) -> int:
    """Say what a run, a model, a codec or a .lucid file is; without one, what is installed."""
    if args.folder is None:
        print_lines(_installed())
        return 0
    path = Path(args.folder)
    if path.is_file():
        from lucid.cli.codec_words import described_file

        print_lines(described_file(path))
        return 0
    lines: dict[str, str] = {}
    if (path / "run.json").exists():
        run = Run(path)
        lines["run"] = str(path)
        steps = [int(line["step"]) for line in run.metrics()]
        lines["trained"] = f"{max(steps, default=0)} steps"
        objective = run.objective()
        lines["objective"] = "given from Python" if objective is None else repr(objective)
    model = open_model(args.folder)
    print_lines(lines | _described(model))
    for part, figures in model.figures.items():
        further = _further(figures.get("figures", ()))
        if further:
            print(f"\nfigures of {part}")
            print_lines(further)
    return 0


def _installed() -> dict[str, str]:
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices += [f"cuda ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return {
        "lucid": lucid.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "devices": ", ".join(devices),
        "threads": str(torch.get_num_threads()),
    }


def _described(model: LatentModel) -> dict[str, str]:
    parameters = sum(p.numel() for p in model.parameters())
    lines = {
        "model": f"{type(model).__name__}, {model.depth} latent level{'s' if model.depth > 1 else ''}",
        "parameters": f"{parameters:,}",
        "latents": _latents(model),
        "prior": _prior(model),
        "posterior": _posterior(model),
        "likelihood": repr(model.likelihood),
        "data": model.protocol.describe() if model.protocol else "not declared",
    }
    if model.condition is not None:
        lines["condition"] = model.condition.describe()
    for name, figures in model.figures.items():
        if "log_likelihood" in figures:
            lines[name] = _evaluated(figures)
    fitted = model.figures.get("fit_prior")
    if fitted is not None:
        lines["fitted prior"] = _fitted(fitted)
        lines[fitted["split"]] = lines.get(fitted["split"]) or _evaluated(fitted["after"])
    return lines


def _latents(model: LatentModel) -> str:
    """The shape of each level's latent, level 0 first; equal neighbours together."""
    if isinstance(model, TopDownVAE):
        stages = [model.config.stages[model.config.stage_of(level)] for level in range(model.depth)]
        shapes = [(stage.latents, *stage.size) for stage in stages]
    else:
        shapes = [tuple(int(n) for n in row if n > 0) for row in getattr(model, "latent_shapes", [])]
    said: list[str] = []
    for shape, same in groupby(shapes):
        many, text = len(list(same)), "×".join(str(n) for n in shape) or "not known yet"
        said.append(text if many == 1 else f"{many} of {text}")
    return ", ".join(said) or "not known"


def _prior(model: LatentModel) -> str:
    """Of the deepest latent; those of the others are always given by the deeper ones."""
    prior = getattr(model, "top_prior", None)
    return "N(0, I)" if prior is None else type(prior).__name__


def _posterior(model: LatentModel) -> str:
    config: Any = getattr(model, "config", None)
    given = config.level_posteriors() if isinstance(config, VAEConfig) else []
    return ", ".join(dict.fromkeys(type(posterior).__name__ for posterior in given)) or "DiagonalPosterior"


def _evaluated(figures: Mapping[str, Any]) -> str:
    likelihood, bits = figures["log_likelihood"], figures.get("bits_per_dim")
    return (
        f"log-likelihood {rounded(likelihood['value'], likelihood['standard_error'])} nats "
        f"({likelihood['estimator']})" + (f", {bits:.3f} bits/dim" if bits is not None else "")
    )


def _further(figures: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Every other figure of an evaluation but those of each level; `lucid evaluate` prints how to read them."""
    said = ("log-likelihood, k", "effective sample size", "bits/dim")
    found = [Figure.from_json(figure) for figure in figures if not figure["name"].startswith(said)]
    found = [one for one in found if ", level " not in one.name]
    return {
        f"  {one.name}": f"{one.rounded()} {unit_of(one)}" + (" (!)" if one.warning else "") + _by(one) for one in found
    }


def _by(figure: Figure) -> str:
    """How a figure was made: estimator, draws, examples, seed, and the day, as far as they are known."""
    draws, examples, seed = provenance(figure)
    named = ((f"{draws} draws", draws), (f"{examples} examples", examples), (f"seed {seed}", seed))
    said = [figure.estimator, *(text for text, there in named if there)]
    said += [str(figure.details["measured"])] if "measured" in figure.details else []
    return f"; {', '.join(said)}"


def _fitted(figures: Mapping[str, Any]) -> str:
    """Also of a model that was written before gains were."""
    gain = figures.get("gain")
    gained = f", {gain['value']:+.2f} ± {gain['standard_error']:.2f} nats ({gain['split']})" if gain else ""
    return f"{figures['prior']}, of the run {figures['run']}{gained}"

"""`lucid recipe`: train as a published protocol says, measure, and say whether the expected figure was reached."""

from __future__ import annotations

import argparse
import datetime as dt
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import lucid
from lucid import io
from lucid.cli.errors import UsageError, as_usage
from lucid.cli.train import model_described
from lucid.evaluation import Evaluation
from lucid.evaluation import evaluate as measure
from lucid.models import LatentModel
from lucid.training import Finding, Recipe, Run, read_recipe
from lucid.training.recipe import located

__all__ = ["recipe"]


def recipe(args: argparse.Namespace) -> int:
    """Train, or go on where it was stopped; measure; compare. 0 if every expected figure was reproduced, else 1."""
    file = _file(args.recipe)
    with as_usage():
        chosen = read_recipe(file, args.budget)
    folder = Path(args.out or f"runs/recipes/{chosen.name}-{chosen.budget}")
    print(f"{chosen.title} ({chosen.budget} budget): {chosen.source.title}, {chosen.source.year}, {chosen.source.link}")
    _check_parameters(chosen)
    stopped = _train(file, chosen, folder, args)
    if stopped:
        return stopped
    run = Run(folder)
    model = run.model()
    started = time.perf_counter()
    found = _measured(model, run, chosen, args.device)
    log = _log(chosen, run, model, found, time.perf_counter() - started, args)
    io.write_json(run.folder.evaluation, found.to_json())
    io.write_json(folder / "recipe.json", log)
    if args.log:
        Path(args.log).parent.mkdir(parents=True, exist_ok=True)
        io.write_json(args.log, log)
    return _conclude(chosen, found)


def _file(name: str) -> Path:
    """A recipe by its path, or by its name among those in ./recipes."""
    places = (Path(name), Path("recipes") / f"{name}.yaml")
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        here = ", ".join(sorted(path.stem for path in Path("recipes").glob("*.yaml")))
        raise UsageError(
            f"there is no recipe {name}; " + (f"in ./recipes there are {here}" if here else "give its file")
        )
    return found


def _train(file: Path, chosen: Recipe, folder: Path, args: argparse.Namespace) -> int:
    from lucid.cli.arguments import make_parser

    command = ["train", "--config", str(file), "--budget", chosen.budget, "--out", str(folder)]
    if (folder / "run.json").is_file():
        _refuse_other_run(chosen, Run(folder), folder)
        command = ["train", "--resume", str(folder)]
    command += ["--device", args.device] if args.device else []
    command += ["--quiet"] if args.quiet else []
    parsed = make_parser().parse_args([*command, "--no-report"])
    return int(parsed.run(parsed) or 0)


def _refuse_other_run(chosen: Recipe, run: Run, folder: Path) -> None:
    """A run that is there already must be one of this recipe as it is now: its log says so."""
    for section, settings in chosen.run.items():
        there = run.description.get(section) or {}
        for name, value in settings.items():
            elsewhere = section == "data" and name == "source"  # a path is another on each machine
            if there.get(name) != value and not elsewhere:
                raise UsageError(
                    f"the run in {folder} has another {name} ({there.get(name)}) than the recipe ({value}): choose "
                    "another --out"
                )


def _measured(model: LatentModel, run: Run, chosen: Recipe, device: str | None) -> Evaluation:
    """The evaluation that the recipe states, on its split or the first examples of it."""
    settings = dict(chosen.evaluation)
    part, examples = settings.pop("split", "test"), settings.pop("examples", None)
    split = getattr(run.dataset(), part)
    place = device if device not in (None, "auto") else "cuda" if torch.cuda.is_available() else "cpu"
    if examples is None:
        return measure(model, split, device=place, split=part, **settings)
    x, condition = split.tensor(examples), None
    if model.condition is not None:
        condition = split.required_labels()[:examples]
    return measure(model, x, device=place, split=f"{part} (first {len(x):,})", condition=condition, **settings)


def _check_parameters(chosen: Recipe) -> None:
    """Before anything is trained: a model of another size is another protocol."""
    if chosen.parameters is None:
        return
    model = model_described(located(chosen.run))
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if trained != chosen.parameters:
        raise ValueError(f"the recipe says {chosen.parameters:,} parameters, and the model has {trained:,}")


def _log(
    chosen: Recipe, run: Run, model: LatentModel, found: Evaluation, seconds: float, args: argparse.Namespace
) -> dict[str, Any]:
    """What has to be known of a run to believe it."""
    lines = run.metrics()
    device = _device(args.device)
    return {
        "recipe": chosen.name,
        "budget": chosen.budget,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "device": device,
        "threads": torch.get_num_threads(),
        "versions": {"lucid": lucid.__version__, "torch": str(torch.__version__), "python": platform.python_version()},
        "run": chosen.run,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "steps": max((int(line["step"]) for line in lines), default=0),
        "skipped": max((int(line["skipped"]) for line in lines), default=0),
        "training_seconds": round(max((float(line["seconds"]) for line in lines), default=0.0), 1),
        "evaluation_seconds": round(seconds, 1),
        "evaluation": found.to_json(),
        "expected": _described(chosen.compare(found)),
        "published": _described(chosen.compare_published(found)),
    }


def _described(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    return [
        {
            "figure": one.figure.name,
            "unit": one.figure.unit,
            "value": one.figure.value,
            "tolerance": one.figure.tolerance,
            "measured": round(one.measured, 4),
            "reached": one.reached,
        }
        for one in findings
    ]


def _device(asked: str | None) -> str:
    if asked != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{_processor()}, CPU"


def _processor() -> str:
    """Its name where the system tells it, else its architecture."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _conclude(chosen: Recipe, found: Evaluation) -> int:
    findings = chosen.compare(found)
    print(f"{found.num_examples:,} examples, split {found.split}: {found.protocol}")
    print(f"  −ELBO {-found.elbo.value:.2f} ± {found.elbo.standard_error:.2f} nats")
    best = found.log_likelihood
    print(f"  −log-likelihood {-best.value:.2f} ± {best.standard_error:.2f} nats ({best.estimator})")
    if found.bits_per_dim is not None:
        print(f"  {found.bits_per_dim:.4f} bits/dim")
    for one in chosen.compare_published(found):
        says = "reached" if one.reached else f"missed by {one.measured - one.figure.value:.4g}"
        how = f" ({one.figure.estimator})" if one.figure.estimator else ""
        print(f"published {one.figure.name} {one.figure.value:g} {one.figure.unit}{how}, {one.figure.note}: {says}")
    if not findings:
        print("no figure is expected yet: no run of this budget has been logged")
        return 0
    for one in findings:
        print(f"expected {one.figure.name} {one.figure.value:g} ± {one.figure.tolerance:g}: {_verdict(one)}")
    return 0 if all(one.reproduced for one in findings) else 1


def _verdict(one: Finding) -> str:
    if one.reproduced:
        return f"PASS, {one.measured:.4g}"
    if one.reached:
        return f"FAIL, {one.measured:.4g} is better than it should be: find out why, then write down the new figure"
    return f"FAIL, {one.measured:.4g}"

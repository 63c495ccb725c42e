"""`lucid train`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lucid import data, models
from lucid.cli.conditions import condition_of_data
from lucid.cli.counts import for_counts
from lucid.cli.description import described, overriding
from lucid.cli.errors import UsageError, as_usage
from lucid.cli.profile import print_profile
from lucid.cli.specs import (
    check_objective,
    make_likelihood,
    make_objective,
    make_posterior,
    make_prior,
    make_schedule,
)
from lucid.data import Dataset
from lucid.objectives import Objective, Schedule
from lucid.training import FitResult, Run, Settings, fit, is_main_process, profile, was_restarted

__all__ = ["model_described", "model_of", "train"]

_DATA = {
    name: name
    for name in (
        *("name", "kind", "layout", "levels", "scaling", "binarisation", "validation", "test", "labels", "key"),
        *("columns", "resize", "crop", "channels", "shuffle_buffer", "workers"),
    )
} | {"data": "source", "data_seed": "seed"}
_MODEL = {
    name: name
    for name in (
        *("size", "depth", "latents", "dropout", "likelihood", "prior", "posterior", "condition"),
        *("kl_weight", "beta_schedule", "objective"),
    )
} | {"model": "name"}
_OPTIONS = {"binarisation": "--binarise", "labels": "--label"}
_TRAINING = {
    name: name
    for name in (
        *("epochs", "steps", "batch_size", "learning_rate", "weight_decay", "warmup", "decay", "seed", "device"),
        *("optimizer", "clip", "skip", "max_skips", "ema", "accumulate", "recompute", "early_stopping"),
        *("precision", "compile", "strategy", "validate_every", "log_every", "checkpoint_seconds", "keep_checkpoints"),
    )
}
_PROFILE_STEPS = 50
_BETA = ("beta_schedule", "kl_weight")
"""What a description says of β; a schedule goes before a weight."""


def train(args: argparse.Namespace) -> int:
    """Train a model as the command line, a file, or an earlier run describes it."""
    if args.resume is not None:
        return _resume(args)
    if args.out is not None and (Path(args.out) / "run.json").is_file():
        run = Run(args.out)
        if was_restarted(run.description.get("launch")):
            return _go_on(run, args)  # the same command again, after a process was lost
    sections = described(args.config, args.budget)
    said = overriding(sections["data"], args, _DATA)
    if "source" not in said:
        raise UsageError(
            "which data? give DATA: digits, mnist, fashion-mnist, cifar10, or a path (see lucid train --help)"
        )
    if args.out is None and not args.profile:
        raise UsageError("where should the run go? give --out DIR")
    settings = _settings(_training(sections["training"], args))
    folder = Path(args.out or ".")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out must name a folder; {folder} is a file")
    if is_main_process() and not args.profile and (folder / "run.json").exists():
        raise UsageError(f"{folder} already holds a run: go on with it (--resume {folder}), or choose another --out")
    # What was not said is written down too: a later release may have other defaults.
    model_said = _with_defaults(overriding(sections["model"], args, _MODEL))
    dataset = data.load(progress=_show_download, **for_counts(said, model_said.get("likelihood")))
    if args.profile:
        model = _model(dataset, model_said, settings.seed)
        objective = _objective(model, model_said, dataset)
        return print_profile(profile(model, dataset, settings, objective=objective))
    return _fit(dataset, model_said, settings, folder, args, resume=False)


def _resume(args: argparse.Namespace) -> int:
    for name in ("out", "config", "budget", *_DATA, *_MODEL):
        if getattr(args, name) is not None:
            option = "DATA" if name == "data" else _OPTIONS.get(name, f"--{name.replace('_', '-')}")
            raise UsageError(f"--resume goes on with the run as it is: leave {option} out")
    if args.profile:
        raise UsageError("--profile measures a run that has not begun: give DATA and the model's options, not --resume")
    return _go_on(Run(args.resume), args)


def _go_on(run: Run, args: argparse.Namespace) -> int:
    """Take a run up where it was."""
    folder = run.folder.path
    said = run.description.get("model")
    if said is None:
        raise UsageError(
            f"the model of {folder} was made in Python, which alone can make it again: resume with "
            "lucid.training.fit(model, data, out=…, resume=True)"
        )
    settings = _settings(_training(dict(run.description["training"]), args))
    finished = run.finished()
    lengthened = any(getattr(args, name) is not None for name in ("steps", "epochs", "early_stopping"))
    if finished is not None and finished.stopped_early and not lengthened:
        _say(
            f"{folder} has finished: it stopped early, after step {finished.step}. --early-stopping with a greater "
            "number goes on"
        )
        return 0
    dataset = run.dataset()
    total = settings.total_steps(dataset.train.size)
    if finished is not None and finished.step >= total:
        _say(
            f"{folder} has finished: {finished.step} of {total} steps. --epochs or --steps with a greater number "
            "extends it"
        )
        return 0
    return _fit(dataset, said, settings, folder, args, resume=True)


def _say(text: str) -> None:
    if is_main_process():
        print(text)


def _training(section: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    said = overriding(section, args, _TRAINING)
    # The length is told in one way; the command line's replaces the file's.
    if args.steps is not None and args.epochs is None:
        said["epochs"] = None
    if args.epochs is not None and args.steps is None:
        said["steps"] = None
    if said.get("skip") == "none":
        said["skip"] = None
    return said


def _with_defaults(said: dict[str, Any]) -> dict[str, Any]:
    """A model's description with the defaults of its preset; an unknown preset is refused when it is made."""
    name = said.get("name", "mlp")
    preset = models.PRESETS.get(name)
    return {"name": name, **({} if preset is None else preset.defaults), **said}


def _settings(said: dict[str, Any]) -> Settings:
    with as_usage():
        return Settings.of(**said)


def _fit(
    dataset: Dataset, said: dict[str, Any], settings: Settings, folder: Path, args: argparse.Namespace, *, resume: bool
) -> int:
    model = _model(dataset, said, settings.seed)
    result = fit(
        model,
        dataset,
        out=folder,
        settings=settings,
        objective=_objective(model, said, dataset),
        resume=resume,
        progress=not args.quiet,
        tensorboard=args.tensorboard,
        description={"model": said},
    )
    return _conclude(result, folder, args)


def _model(dataset: Dataset, said: dict[str, Any], seed: int) -> models.LatentModel:
    """A preset, its weights drawn from the run's seed and from nothing else."""
    parts = {part: value for part, value in said.items() if part != "objective"}
    name = parts.pop("name")
    if name == "topdown":  # whose configuration has no β: it is the objective's
        parts = {part: value for part, value in parts.items() if part not in _BETA}
    if isinstance(parts.get("likelihood"), str):
        parts["likelihood"] = make_likelihood(parts["likelihood"], dataset.protocol)
    for part, maker in (("beta_schedule", make_schedule), ("prior", make_prior), ("posterior", make_posterior)):
        if isinstance(parts.get(part), str):
            parts[part] = maker(parts[part])
    if "condition" in parts:
        parts["condition"] = condition_of_data(parts["condition"], dataset)
    with as_usage(), torch.random.fork_rng():
        torch.manual_seed(seed)  # noqa: TID251  inside the fork alone
        return models.create(name, dataset, **parts)


def _objective(model: models.LatentModel, said: dict[str, Any], dataset: Dataset) -> Objective | None:
    """What is minimised, where something else than the model's own bound was said."""
    spec, beta = said.get("objective"), _beta(said)
    if spec is None:
        if beta is None or said["name"] != "topdown":
            return None
        spec = "elbo"
    objective = make_objective(str(spec), model, dataset.train.size, beta)
    check_objective(str(spec), objective, model, dataset)
    return objective


def _beta(said: dict[str, Any]) -> float | Schedule | None:
    """β as it was said; None where it was not."""
    beta = next((said[name] for name in _BETA if said.get(name) is not None), None)
    return make_schedule(beta) if isinstance(beta, str) else beta


def model_described(sections: Mapping[str, dict[str, Any]]) -> models.LatentModel:
    """The model that the sections of a description make of the data they name; nothing is trained."""
    said = _with_defaults(sections["model"])
    dataset = data.load(progress=_show_download, **for_counts(sections["data"], said.get("likelihood")))
    return _model(dataset, said, int(sections["training"].get("seed", 0)))


def model_of(run: Run, dataset: Dataset) -> models.LatentModel:
    """A new model, as a run's was before its first step; for a run that `lucid train` described."""
    return _model(dataset, run.description["model"], int(run.description["training"]["seed"]))


def _conclude(result: FitResult, folder: Path, args: argparse.Namespace) -> int:
    if result.interrupted:
        if args.quiet and is_main_process():
            print(f"lucid: {result.notes[-1]}", file=sys.stderr)
        return 128 + (result.signal or 2)
    if not is_main_process():
        return 0
    if not result.saved:
        return 1  # likewise
    steps = f"{result.steps} step{'s' if result.steps != 1 else ''}"
    best = f", best at step {result.best_step} with a validation loss of {result.best_loss:.2f} nats"
    print(f"trained {steps} in {result.seconds:.0f} s{best if result.best_step >= 0 else ''}")
    for note in result.notes:
        print(f"note: {note}")
    print(f"model:  {folder / 'model'}")
    if not args.no_report:
        from lucid.report import write_report

        print(f"report: {write_report(folder)}")
    return 0


def _show_download(name: str, done: int, total: int | None) -> None:
    if sys.stderr.isatty():
        share = f"{100 * done / total:.0f} %" if total else f"{done / 2**20:.1f} MiB"
        print(f"\rdownloading {name}: {share}", end="\n" if done == total else "", file=sys.stderr)

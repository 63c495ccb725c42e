"""`lucid train`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from lucid import data, models
from lucid.cli.description import described, overriding
from lucid.cli.errors import UsageError, as_usage
from lucid.cli.specs import make_likelihood, make_schedule
from lucid.data import Dataset
from lucid.training import FitResult, Run, Settings, fit

__all__ = ["train"]

_DATA = {
    name: name
    for name in (
        *("name", "kind", "layout", "levels", "scaling", "binarisation", "validation", "test", "labels", "key"),
        *("columns", "resize", "crop", "channels"),
    )
} | {"data": "source", "data_seed": "seed"}
_MODEL = {name: name for name in ("size", "latents", "dropout", "likelihood", "kl_weight", "beta_schedule")} | {
    "model": "name"
}
_OPTIONS = {"binarisation": "--binarise", "labels": "--label"}
_TRAINING = {
    name: name
    for name in (
        *("epochs", "steps", "batch_size", "learning_rate", "weight_decay", "warmup", "decay", "seed", "device"),
        *("precision", "validate_every", "log_every"),
    )
}


def train(args: argparse.Namespace) -> int:
    """Train a model as the command line, a file, or an earlier run describes it."""
    if args.resume is not None:
        return _resume(args)
    sections = described(args.config)
    said = overriding(sections["data"], args, _DATA)
    if "source" not in said:
        raise UsageError(
            "which data? give DATA: digits, mnist, fashion-mnist, cifar10, or a path (see lucid train --help)"
        )
    if args.out is None:
        raise UsageError("where should the run go? give --out DIR")
    settings = _settings(_training(sections["training"], args))
    folder = Path(args.out)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out must name a folder; {folder} is a file")
    if (folder / "run.json").exists():
        raise UsageError(f"{folder} already holds a run: go on with it (--resume {folder}), or choose another --out")
    dataset = data.load(progress=_show_download, **said)
    # What was not said is written down too: a later release may have other defaults.
    model_said = {"name": "mlp", "size": 2, "dropout": 0.1, **overriding(sections["model"], args, _MODEL)}
    return _fit(dataset, model_said, settings, folder, args, resume=False)


def _resume(args: argparse.Namespace) -> int:
    for name in ("out", "config", *_DATA, *_MODEL):
        if getattr(args, name) is not None:
            option = "DATA" if name == "data" else _OPTIONS.get(name, f"--{name.replace('_', '-')}")
            raise UsageError(f"--resume goes on with the run as it is: leave {option} out")
    run = Run(args.resume)
    said = run.description.get("model")
    if said is None:
        raise UsageError(
            f"the model of {args.resume} was made in Python, which alone can make it again: resume with "
            "lucid.training.fit(model, data, out=…, resume=True)"
        )
    before = dict(run.description["training"])
    settings = _settings(_training(before, args))
    dataset = run.dataset()
    total = settings.total_steps(dataset.train.size)
    done = max((int(line["step"]) for line in run.metrics()), default=0)
    if done >= total and run.folder.model.exists():
        print(
            f"{args.resume} has finished: {done} of {total} steps. --epochs or --steps with a greater number extends it"
        )
        return 0
    return _fit(dataset, said, settings, run.folder.path, args, resume=True)


def _training(section: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    said = overriding(section, args, _TRAINING)
    # The length is told in one way; the command line's replaces the file's.
    if args.steps is not None and args.epochs is None:
        said["epochs"] = None
    if args.epochs is not None and args.steps is None:
        said["steps"] = None
    return said


def _settings(said: dict[str, Any]) -> Settings:
    with as_usage():
        return Settings.of(**said)


def _fit(
    dataset: Dataset, said: dict[str, Any], settings: Settings, folder: Path, args: argparse.Namespace, *, resume: bool
) -> int:
    result = fit(
        _model(dataset, said, settings.seed),
        dataset,
        out=folder,
        settings=settings,
        resume=resume,
        progress=not args.quiet,
        tensorboard=args.tensorboard,
        description={"model": said},
    )
    return _conclude(result, folder, args)


def _model(dataset: Dataset, said: dict[str, Any], seed: int) -> models.VAE:
    """A preset, its weights drawn from the run's seed and from nothing else."""
    parts = dict(said)
    name = parts.pop("name")
    if isinstance(parts.get("likelihood"), str):
        parts["likelihood"] = make_likelihood(parts["likelihood"], dataset.protocol)
    if isinstance(parts.get("beta_schedule"), str):
        parts["beta_schedule"] = make_schedule(parts["beta_schedule"])
    with as_usage(), torch.random.fork_rng():
        torch.manual_seed(seed)  # noqa: TID251  inside the fork alone
        return models.create(name, dataset, **parts)


def _conclude(result: FitResult, folder: Path, args: argparse.Namespace) -> int:
    if result.interrupted:
        return 130  # the progress display has said how to go on
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

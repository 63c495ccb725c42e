"""`lucid fit-prior`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from lucid import io
from lucid.cli.errors import UsageError, as_usage
from lucid.cli.specs import make_prior
from lucid.data import Split
from lucid.evaluation import AggregateGap, Evaluation, aggregate_gap, evaluate
from lucid.models import LatentModel
from lucid.training import FittedPrior, Run
from lucid.training import fit_prior as fit

__all__ = ["fit_prior"]


class _Figures(NamedTuple):
    """What a split says of a model."""

    bounds: Evaluation
    gap: AggregateGap


def fit_prior(args: argparse.Namespace) -> int:
    """Fit a prior to a run's latents, write the model that has it, and print the figures before and after."""
    for option, value in (("--steps", args.steps), ("--num-samples", args.num_samples)):
        if value < 1:
            raise UsageError(f"{option} must be at least 1; received {value}")
    with as_usage():
        prior = make_prior(args.prior)
    out = Path(args.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} already holds something: give --out a new folder, and the run is left as it is")
    run = Run(args.folder)
    model, dataset = run.model(), run.dataset()
    split: Split = getattr(dataset, args.split)
    before = _measured(model, split, args)
    fitted = fit(model, dataset, prior=prior, steps=args.steps, seed=args.seed, progress=_tell)
    if not fitted.better:
        raise ValueError(
            f"the {_name(args)} prior is no better than the one the model has: on the {fitted.split} split it gains "
            f"{_gain(fitted)} nats. Nothing was written. Try more --steps or another --prior"
        )
    after = _measured(model, split, args)
    figures = {
        "fit_prior": {
            "run": str(args.folder),
            "data": run.description["data"],  # for who evaluates the model later
            "prior": args.prior,
            "steps": args.steps,
            "seed": args.seed,
            "split": args.split,
            "gain": {"value": fitted.gain, "standard_error": fitted.gain_error, "split": fitted.split},
            "before": {**before.bounds.to_json(), "gap": before.gap.to_json()},
            "after": {**after.bounds.to_json(), "gap": after.gap.to_json()},
        }
    }
    # Not with the figures of the model as it was: they are another model's now.
    io.save(model, out, figures)
    if args.json:
        Path(args.json).parent.mkdir(parents=True, exist_ok=True)
        io.write_json(args.json, figures["fit_prior"])
    _print(before, after, fitted, args)
    return 0


def _measured(model: LatentModel, split: Split, args: argparse.Namespace) -> _Figures:
    bounds = evaluate(model, split, num_samples=args.num_samples, seed=args.seed, split=args.split)
    return _Figures(bounds, aggregate_gap(model, split, seed=args.seed, split=args.split))


def _print(before: _Figures, after: _Figures, fitted: FittedPrior, args: argparse.Namespace) -> None:
    console = Console()
    examples = f"{before.bounds.num_examples:,} examples of the {args.split} split"
    table = Table(title=f"{before.bounds.protocol}; {examples}", title_justify="left", box=None, pad_edge=False)
    for name in ("nats per example", "before", "after"):
        table.add_column(name, justify="left" if name == "nats per example" else "right")
    k = before.bounds.log_likelihood.num_samples
    table.add_row("ELBO", str(before.bounds.elbo), str(after.bounds.elbo))
    table.add_row(f"log-likelihood, k = {k:,}", str(before.bounds.log_likelihood), str(after.bounds.log_likelihood))
    for then, now in zip(before.gap.to_table(), after.gap.to_table(), strict=True):
        table.add_row(then.name, then.value, now.value)
    console.print(table)
    lines = [
        f"Before: {before.gap.explain(remedy=False)}",
        f"On the {fitted.split} split the {_name(args)} prior gains {_gain(fitted)} nats.",
        f"model: {args.out}",
    ]
    console.print("\n" + "\n".join(lines), highlight=False, markup=False, soft_wrap=not console.is_terminal)


def _name(args: argparse.Namespace) -> str:
    return args.prior.partition(":")[0]


def _gain(fitted: FittedPrior) -> str:
    return f"{fitted.gain:+.2f} ± {fitted.gain_error:.2f}".replace("-", "−")


def _tell(done: int, total: int) -> None:
    """One line where a person is looking, replaced by the next; the last clears it."""
    if sys.stderr.isatty():
        text = "" if done == total else f"fitting the prior: step {done:,} of {total:,}"
        print(f"\r{text:<60}\r{text}", end="", file=sys.stderr, flush=True)

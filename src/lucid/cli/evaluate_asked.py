"""What the options of `lucid evaluate` ask for, checked before anything is computed."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass

import torch

from lucid.cli.errors import UsageError
from lucid.evaluation import FURTHER, Annealing
from lucid.evaluation.samples import SPACES

__all__ = ["Asked", "asked_for"]


@dataclass(frozen=True)
class Asked:
    """The options, checked.

    Attributes:
        counts: Importance draws per example, or the numbers of them to report at.
        seeds: Of the repetitions.
        also: What to measure besides the bounds.
        features: The feature space of samples.
        annealing: How to anneal; None for not at all.
        device: Where to compute; None for where the model is.
    """

    counts: int | list[int]
    seeds: tuple[int, ...]
    also: tuple[str, ...]
    features: str
    annealing: Annealing | None
    device: str | None


def asked_for(args: argparse.Namespace) -> Asked:
    """The options as they are used.

    Raises:
        UsageError: If one is out of range or not what it takes.
    """
    counts = _counts(args.num_samples)
    for option, value, least in (
        ("--seeds", args.seeds, 1),
        ("--workers", args.workers, 1),
        ("--ais", args.ais, 2),
        ("--ais-steps", args.ais_steps, 2),
        ("--ais-chains", args.ais_chains, 1),
    ):
        if value is not None and value < least:
            raise UsageError(f"{option} must be at least {least}; received {value}")
    also = tuple(part.strip() for part in (args.also or "").split(",") if part.strip())
    unknown = [name for name in also if name not in (*FURTHER, "all")]
    if unknown:
        raise UsageError(f"--also takes {', '.join(FURTHER)} or all; received {', '.join(unknown)}")
    if args.factors and not {"disentanglement", "probe", "all"} & set(also):
        raise UsageError("--factors goes with --also disentanglement, probe or all")
    if args.features and not {"samples", "all"} & set(also):
        raise UsageError("--features goes with --also samples or all")
    if args.features and args.features not in SPACES:
        raise UsageError(f"--features takes {' or '.join(SPACES)}; received {args.features}")
    seeds = tuple(range(args.seed, args.seed + args.seeds))
    return Asked(counts, seeds, also, args.features or "pixels", _annealing(args), _device(args.device))


def _annealing(args: argparse.Namespace) -> Annealing | None:
    given = {"num_steps": args.ais_steps, "num_chains": args.ais_chains, "start": args.ais_start}
    said = {name: value for name, value in given.items() if value is not None}
    if args.ais is not None:
        return Annealing(**said)
    if said:
        raise UsageError(
            "--ais-steps, --ais-chains and --ais-start say how to anneal: give --ais N, on how many examples"
        )
    return None


def _counts(said: str) -> int | list[int]:
    """What --num-samples says: one number, or several that increase."""
    try:
        counts = [int(part) for part in said.split(",")]
    except ValueError:
        raise UsageError(
            f"--num-samples takes a number of draws, or several with commas between them; received {said!r}"
        ) from None
    if min(counts) < 1:
        raise UsageError(f"--num-samples must be at least 1; received {min(counts)}")
    if sorted(set(counts)) != counts:
        raise UsageError(f"--num-samples must increase; received {said}")
    return counts[0] if len(counts) == 1 else counts


def _device(said: str | None) -> str | None:
    if said == "auto":
        said = "cuda" if torch.cuda.is_available() else "cpu"
    if said == "cuda":
        if not torch.cuda.is_available():
            raise UsageError("--device cuda: PyTorch finds no GPU here; leave it out, or give cpu")
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return said

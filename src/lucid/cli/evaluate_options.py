"""The options of `lucid evaluate`."""

from __future__ import annotations

import argparse

__all__ = ["EVALUATE", "add_evaluate_options"]

EVALUATE = """\
examples:
  lucid evaluate runs/mnist --num-samples 5000                    the bound at k = 1, 10, 100, 1000 and 5000
  lucid evaluate runs/mnist --num-samples 100,1000 --workers 4    at these, by four processes
  lucid evaluate runs/mnist --ais 100                             annealed importance sampling on 100 examples
  lucid evaluate runs/mnist --also all --factors factors.csv      representations and samples too
  lucid evaluate runs/a runs/b runs/c --seeds 3                   errors over draws, and over three trainings
  torchrun --nproc-per-node 8 -m lucid.cli evaluate runs/mnist --device cuda --num-samples 5000
"""


def add_evaluate_options(parser: argparse.ArgumentParser) -> None:
    """Every option of the command."""
    parser.add_argument(
        "folders", metavar="DIR", nargs="+", help="a run, or a model's folder; several are one table, over trainings"
    )
    parser.add_argument(
        "--data", metavar="DATA", help="what to measure a model on that is no run's (for fit-prior's: the run's data)"
    )
    parser.add_argument("--label", dest="labels", metavar="NAME", help="label column of a table, or array of an .npz")
    parser.add_argument(
        "--split", choices=["test", "validation", "train"], help="which part (test; of a file of --data, all of it)"
    )
    _estimators(parser.add_argument_group("bounds"))
    _annealing(parser.add_argument_group("annealed importance sampling"))
    _further(parser.add_argument_group("besides the bounds"))
    running = parser.add_argument_group("running")
    running.add_argument("--workers", type=int, default=1, metavar="N", help="processes; the figures are the same (1)")
    running.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], help="where to compute (cpu)")
    running.add_argument("--json", metavar="FILE", help="write the figures there too")
    running.add_argument("--no-report", action="store_true", help="do not write a run's report.html again")


def _estimators(group: argparse._ArgumentGroup) -> None:  # pyright: ignore[reportPrivateUsage]
    group.add_argument(
        "--num-samples",
        default="100",
        metavar="K",
        help="importance draws per example, reported at 1, 10, 100 … K; or the numbers to report at: 100,1000 (100)",
    )
    group.add_argument("--seed", type=int, default=0, metavar="S", help="of the draws (0)")
    group.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="repeat with N seeds, for a standard error over draws (1)"
    )


def _annealing(group: argparse._ArgumentGroup) -> None:  # pyright: ignore[reportPrivateUsage]
    group.add_argument(
        "--ais", type=int, metavar="N", help="on N examples, and, bounded from both sides, on N of the model's own"
    )
    group.add_argument("--ais-steps", type=int, metavar="T", help="steps of the annealing (500)")
    group.add_argument("--ais-chains", type=int, metavar="C", help="chains of each example (16)")
    group.add_argument(
        "--ais-start",
        choices=["prior", "posterior"],
        help="where chains begin: the prior, which owes nothing to the encoder, or q(z|x), for a shorter way (prior)",
    )


def _further(group: argparse._ArgumentGroup) -> None:  # pyright: ignore[reportPrivateUsage]
    group.add_argument(
        "--also",
        metavar="WHAT",
        help="latents, disentanglement (needs labels or --factors), samples, probe (needs labels or --factors, and a "
        "run), with commas between them; or all that can be measured",
    )
    group.add_argument(
        "--factors",
        metavar="FILE",
        help="factors of variation, a row for each example of the part, or of all parts: .csv, .parquet, .npy",
    )
    group.add_argument(
        "--features",
        metavar="SPACE",
        help="feature space of samples: pixels, or efficientnet-lite0, which needs lucid-vae[features] (pixels)",
    )

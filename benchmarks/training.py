"""Time of a training step, contestants side by side in one interleaved run.

    python benchmarks/training.py [--quick] [--workload NAME ...] [--contestant NAME ...] [--json FILE]

Every contestant trains the same networks on the same random 0/1 data, in a process of its own, until it is stopped; the
loops are in `training_loops/`, each as a user of that library writes it. They take turns of a few steps. Each turn of
a contestant comes right after one of `hand-written`, and `ratio` is the median over the rounds of the ratio of the two,
so that a machine whose speed drifts drifts for both; the quartiles beside it say how steady it was. The order within a
round is shuffled. The peak memory is that of the process, libraries included. `loss` is the mean over the later half of
the rounds, and must be about the same for all but `bare`. Progress bars are drawn where nobody sees them. A peer that
is not installed is left out, and said so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median, quantiles
from typing import NamedTuple, TypeVar

import torch
from training_loops.turns import Contestant, LeftOut, Report, Setting
from training_loops.worker import Worker
from training_loops.workloads import WORKLOADS

REFERENCE = "hand-written"

CONTESTANTS = {
    "bare": Contestant("by_hand", "bare"),
    REFERENCE: Contestant("by_hand", "hand_written"),
    "dataloader": Contestant("by_hand", "dataloader"),
    "lightning": Contestant("lightning_trainer", "train"),
    "pythae": Contestant("pythae_trainer", "train"),
    "lucid-float32": Contestant("lucid_fit", "train", {"precision": "float32", "compile": False}),
    "lucid-bf16": Contestant("lucid_fit", "train", {"precision": "bf16-mixed", "compile": False}),
    "lucid-compiled": Contestant("lucid_fit", "train", {"precision": "float32", "compile": True}),
    "lucid-default": Contestant("lucid_fit", "train"),
}

WHEN_NAMED = {"hand-written-compiled": Contestant("by_hand", "hand_written", {"compiled": True})}
"""These take part only where --contestant names them."""

Workers = dict[str, Worker]
Pair = tuple[Report, Report]
"""A turn of the reference, and the contestant's right after it."""
T = TypeVar("T")


class Row(NamedTuple):
    """What a contestant came to in a workload; times and ratios to the reference are medians over the rounds."""

    workload: str
    contestant: str
    ratio: float
    ratio_quartiles: tuple[float, float]
    milliseconds: float
    peak_mebibytes: float
    peak_ratio: float
    loss: float
    warm_up_seconds: float
    """The first turn, with the making of model and data and what is compiled."""


def measure(workload: str, contestants: list[str], rounds: int, setting: Setting) -> list[Row]:
    """Start the contestants, let them take turns, stop them."""
    setting = setting._replace(run_steps=max(setting.run_steps, (rounds + 2) * WORKLOADS[workload].steps))
    workers: Workers = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            for name in contestants:
                own = setting._replace(folder=Path(folder) / name)
                own.folder.mkdir()
                workers[name] = Worker({**CONTESTANTS, **WHEN_NAMED}[name], workload, own)
            each(workers, workload, Worker.imported)
            warm_up = each(workers, workload, Worker.warm_up)
            pairs = interleaved(workers, rounds)
        finally:
            for worker in workers.values():
                worker.dismiss()  # all at once
            for worker in workers.values():
                worker.stop()
    for name, worker in workers.items():
        for note in worker.notes:
            print(f"{workload}: {name} says: {note}")
    return [row(workload, name, pairs[name], rounds, warm_up[name]) for name in workers]


def each(workers: Workers, workload: str, action: Callable[[Worker], T]) -> dict[str, T]:
    """Do something with one worker after the other; who cannot take part is stopped, and that is said."""
    results: dict[str, T] = {}
    for name, worker in list(workers.items()):
        try:
            results[name] = action(worker)
        except LeftOut as reason:
            print(f"{workload}: {name} is left out: {reason}", flush=True)
            workers.pop(name).stop()
    return results


def interleaved(workers: Workers, rounds: int) -> dict[str, list[Pair]]:
    """The turns of each contestant, each with the reference's turn right before it."""
    pairs: dict[str, list[Pair]] = {name: [] for name in workers}
    shuffling = random.Random(0)
    others = [name for name in workers if name != REFERENCE]
    for _ in range(rounds):
        for name in shuffling.sample(others, len(others)):
            reference = workers[REFERENCE].turn()
            pairs[name].append((reference, workers[name].turn()))
            pairs[REFERENCE].append((reference, reference))
    return pairs


def row(workload: str, contestant: str, pairs: list[Pair], rounds: int, warm_up_seconds: float) -> Row:
    """The medians; and the loss after as many steps as any other's, though the reference takes more turns."""
    ratios = [own.seconds / reference.seconds for reference, own in pairs]
    low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    reference, own = pairs[-1]
    return Row(
        workload=workload,
        contestant=contestant,
        ratio=median(ratios),
        ratio_quartiles=(low, high),
        milliseconds=1000 * median(own.seconds for _, own in pairs),
        peak_mebibytes=own.peak_mebibytes,
        peak_ratio=own.peak_mebibytes / reference.peak_mebibytes,
        loss=mean(own.loss for _, own in pairs[rounds // 2 : rounds]),
        warm_up_seconds=warm_up_seconds,
    )


def show(rows: list[Row], workload: str) -> None:
    """The rows of one workload as a table."""
    chosen = WORKLOADS[workload]
    print(f"\n{workload}: {chosen.title}, batch {chosen.batch}")
    print(
        f"{'contestant':<22}{'ratio':>7}  {'quartiles':<13}"
        f"{'ms/step':>9}{'MiB':>7}{'ratio':>7}{'loss':>9}{'warm-up':>9}"
    )
    for row in rows:
        quartiles = "{:.2f} … {:.2f}".format(*row.ratio_quartiles)
        print(
            f"{row.contestant:<22}{row.ratio:>7.3f}  {quartiles:<13}{row.milliseconds:>9.2f}{row.peak_mebibytes:>7.0f}"
            f"{row.peak_ratio:>7.2f}{row.loss:>9.2f}{row.warm_up_seconds:>7.1f} s",
            flush=True,
        )


def conditions(setting: Setting) -> str:
    """What a reader of the figures must know."""
    threads = f"{setting.threads or torch.get_num_threads()} threads"
    threads += "" if setting.threads else " (PyTorch's default here)"
    device = torch.cuda.get_device_name() if setting.device == "cuda" else "CPU"
    allocator = [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD"))]
    said = f"torch {torch.__version__}, {device}, {threads} of {os.cpu_count()} processors"
    return said + (f"; the environment sets {', '.join(allocator)} for all contestants" if allocator else "")


def arguments() -> argparse.Namespace:
    """Of the command line."""
    optional = [name for name in (*CONTESTANTS, *WHEN_NAMED) if name != REFERENCE]
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few rounds, and without the workload published")
    parser.add_argument("--workload", nargs="+", choices=[*WORKLOADS], help="some of them (all)")
    parser.add_argument(
        "--contestant", nargs="+", choices=optional, help=f"some of them (all but {', '.join(WHEN_NAMED)})"
    )
    parser.add_argument("--rounds", type=int, help="turns of each contestant (40; quick: 5)")
    parser.add_argument("--run-steps", type=int, default=10_000, help="length of the run that lucid is told (10,000)")
    parser.add_argument("--threads", type=int, default=0, help="PyTorch's threads (its own default: all cores)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where to train (cpu)")
    parser.add_argument("--json", metavar="FILE", help="write the rows there too")
    return parser.parse_args()


def main() -> None:
    """Parse, measure, print."""
    args = arguments()
    setting = Setting(args.device, args.threads, Path(), args.run_steps)
    contestants = list(dict.fromkeys([REFERENCE, *(args.contestant or CONTESTANTS)]))
    workloads = args.workload or [name for name in WORKLOADS if not (args.quick and name == "published")]
    rounds = args.rounds or (5 if args.quick else 40)
    print(conditions(setting))
    rows: list[Row] = []
    for workload in workloads:
        here = measure(workload, contestants, rounds, setting)
        show(here, workload)
        rows += here
        if args.json:  # after each, since the next takes minutes
            Path(args.json).write_text(json.dumps([row._asdict() for row in rows], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

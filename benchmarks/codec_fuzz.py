"""How do .lucid files and codecs take damage? Thousands of mutated ones, each opened under limits of time and memory.

    python benchmarks/codec_fuzz.py --files 10000 --processes 2

A file may be refused with a `CodecError`, or give exactly what the original holds. Prints one line for each kind of
file, and ends with status 1 if anything else happened.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000, help="how many mutated files (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="the longest one may take (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="share them among so many (default: %(default)s)")
    args = parser.parse_args()
    if args.processes > 1:
        return _shared(args)
    sys.path.insert(0, str(ROOT))
    import torch
    from tests.codec.fuzzing import fuzz

    torch.set_num_threads(1)
    start = time.perf_counter()
    outcome = fuzz(args.files, args.seed, seconds=args.seconds)
    print(f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}, seed {args.seed}")
    for name in sorted({*outcome.refused, *outcome.unchanged}):
        print(f"{name:<16} refused {outcome.refused[name]:>6,}   as it was {outcome.unchanged[name]:>5,}")
    print(
        f"{outcome.files:,} files in {time.perf_counter() - start:.0f} s, {outcome.kept} reached new lines, slowest "
        f"{outcome.slowest:.2f} s, failures {len(outcome.failures)}"
    )
    for kind, number in Counter(failure.split(";")[0][:200] for failure in outcome.failures).most_common(20):
        print(f"  {number} × {kind}")
    return bool(outcome.failures)


def _shared(args: argparse.Namespace) -> int:
    """The same in several processes, each with seeds of its own."""
    share = -(-args.files // args.processes)
    command = [sys.executable, __file__, "--files", str(share), "--seconds", str(args.seconds)]
    running = [
        subprocess.Popen([*command, "--seed", str(args.seed + i)], env={**os.environ, "OMP_NUM_THREADS": "1"})
        for i in range(args.processes)
    ]
    return max(process.wait() for process in running)


if __name__ == "__main__":
    raise SystemExit(main())

"""Time of `import lucid` beside `import torch`, whole processes in turn.

python benchmarks/import_time.py [--rounds N]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time


def seconds(statement: str) -> float:
    """Wall time of a fresh interpreter that runs one statement."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure in pairs and print the median of their ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    seconds("import lucid")  # compiles the byte code
    pairs = [(seconds("import lucid"), seconds("import torch")) for _ in range(rounds)]
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    print(f"import lucid: {statistics.median(p[0] for p in pairs):.2f} s")
    print(f"import torch: {statistics.median(p[1] for p in pairs):.2f} s")
    print(f"median of {rounds} paired ratios: {ratio:.3f}")


if __name__ == "__main__":
    main()

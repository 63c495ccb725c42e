"""Training on an array larger than the memory that is allowed: peak memory and speed, from the file and from memory.

    python benchmarks/memory.py [--gigabytes 4] [--limit 1.5] [--steps 500] [--folder FOLDER] [--json FILE]

A .npy file of random bytes is made in FOLDER (by default the system's for temporary files) and removed at the end. A
small MLP is trained on it three times, each in a process of its own: from the file and from memory where the system
grants no more private memory than the limit (RLIMIT_DATA), and from memory without a limit. A row says the peak
resident memory, which counts mapped pages too, and the speed. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

FEATURES = 784
BATCH = 128
WARM_UP = 50
CONTESTANTS = {"file, limited": (False, True), "memory, limited": (True, True), "memory": (True, False)}
"""Whether the array is read into memory, and whether there is a limit."""


def make(path: Path, num_bytes: int) -> None:
    """Write random bytes, some at a time, as an array (examples, 784)."""
    examples = num_bytes // FEATURES
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(examples, FEATURES))
    rng = np.random.default_rng(0)
    for first in range(0, examples, 1 << 16):
        array[first : first + (1 << 16)] = rng.integers(0, 256, array[first : first + (1 << 16)].shape, dtype=np.uint8)
    array.flush()


def drop_from_cache(path: Path) -> None:
    """Make the first reading one from the disk, as with a file that no memory could hold."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def train(path: str, in_memory: bool, steps: int, limit: int) -> dict[str, Any]:
    """Load and train; what it took."""
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    from lucid import data as data_room
    from lucid import models
    from lucid.training import fit

    began = time.perf_counter()
    data = data_room.load(path, in_memory=in_memory, validation=BATCH, test=BATCH)
    loaded = time.perf_counter() - began
    model = models.create("mlp", data, size=1)
    fit(model, data, steps=WARM_UP, batch_size=BATCH, progress=False)
    began = time.perf_counter()
    fit(model, data, steps=steps, batch_size=BATCH, progress=False)
    return {
        "examples": len(data.train),
        "load_seconds": loaded,
        "examples_per_second": steps * BATCH / (time.perf_counter() - began),
        "peak_mebibytes": peak_mebibytes(),
    }


def peak_mebibytes() -> float:
    """The most memory that was resident since the program began."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the system does not say the peak of the resident memory")


def run(path: Path, contestant: str, steps: int, limit: int) -> dict[str, Any]:
    """One contestant in a process of its own."""
    in_memory, limited = CONTESTANTS[contestant]
    drop_from_cache(path)
    given = json.dumps([str(path), in_memory, steps, limit if limited else 0])
    done = subprocess.run([sys.executable, __file__, "--child", given], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        return {"contestant": contestant, "refused": lines[-1]}
    return {"contestant": contestant, **json.loads(done.stdout.splitlines()[-1])}


def main() -> None:
    """Make the file, run the contestants, print a row each, remove the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=4.0, help="size of the array (10^9 bytes)")
    parser.add_argument("--limit", type=float, default=1.5, help="memory allowed (10^9 bytes)")
    parser.add_argument("--steps", type=int, default=500, help="steps that are timed")
    parser.add_argument("--folder", help="where the file is made")
    parser.add_argument("--json", help="where the rows are written")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(train(*json.loads(args.child))))
        return
    limit = int(args.limit * 1e9)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "array.npy"
        make(path, int(args.gigabytes * 1e9))
        print(f"{path.stat().st_size / 1e9:.2f} GB, at most {limit / 1e9:.2f} GB where limited, batch {BATCH}")
        rows = [show(run(path, contestant, args.steps, limit), limit) for contestant in CONTESTANTS]
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=1))


def show(row: dict[str, Any], limit: int) -> dict[str, Any]:
    """Print a row."""
    if "refused" in row:
        print(f"{row['contestant']:<16} refused: {row['refused'][:100]}", flush=True)
        return row
    peak = row["peak_mebibytes"] * 2**20
    print(
        f"{row['contestant']:<16} peak {peak / 1e9:5.2f} GB ({'within' if peak <= limit else 'over'} the limit)  "
        f"load {row['load_seconds']:5.1f} s  {row['examples_per_second']:8.0f} examples/s",
        flush=True,
    )
    return row


if __name__ == "__main__":
    main()

"""Shards under the conditions of a long run: processes that are killed, and data larger than what may be held."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tests.data.shard_files import encoded, tar_of, tar_shards

READ = """
import os, sys, time
from pathlib import Path
from tests.data.shard_files import numbers
from lucid.data import load

folder, seen, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
split = load(folder, validation=0, test=0, levels=256, shuffle_buffer=50, workers=workers).train
# What a checkpoint does: the batch counts once its line is whole in the file.
lines = seen.read_text().splitlines(keepends=True) if seen.exists() else []
whole = [line for line in lines if line.endswith("\\n")]
seen.write_text("".join(whole))
with seen.open("a") as file:
    for x in split.batches(16, seed=7, epoch=3, start=len(whole)):
        print(*numbers(x), file=file)
        file.flush()
        os.fsync(file.fileno())
        time.sleep(0.002)
"""


def test_killed_and_resumed_nothing_is_lost_or_repeated(tmp_path: Path) -> None:
    total = tar_shards(tmp_path / "t", [130, 0, 70, 1, 199, 100])
    seen = tmp_path / "seen.txt"
    command = [sys.executable, "-c", READ, str(tmp_path / "t"), str(seen), "2"]
    kills = 0
    for attempt in range(12):
        process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
        before = seen.stat().st_size if seen.exists() else 0
        while process.poll() is None and attempt < 3:
            if seen.exists() and seen.stat().st_size > before + 300 + 100 * attempt:
                time.sleep(0.0007 * attempt)
                process.send_signal(signal.SIGKILL)
                kills += process.wait() == -signal.SIGKILL
            time.sleep(0.001)
        if process.wait() == 0:
            break
    assert kills >= 2
    found = Counter(int(number) for line in seen.read_text().splitlines() for number in line.split())
    assert found == Counter(range(total))


MEASURE = """
import resource, sys
from lucid.data import load

split = load(sys.argv[1], validation=0, test=0, levels=256, shuffle_buffer=64).train
next(split.batches(16, seed=0))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = sum(len(x) for x in split.batches(16, seed=0))
print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux alone")
@pytest.mark.parametrize("form", ["tar", "parquet"])
def test_memory_is_that_of_the_buffer_and_not_of_the_data(tmp_path: Path, form: str) -> None:
    """160 MB in 8 shards of 64 examples; a block is 20 MB, of which two may be held, with the batches read ahead."""
    import pyarrow as pa
    from pyarrow import parquet

    rng = np.random.default_rng(0)
    for shard in range(8):
        x = rng.integers(0, 256, (64, 320, 1000), np.uint8)
        if form == "tar":
            tar_of(tmp_path / f"{shard}.tar", [(f"{i}.npy", encoded(one, "npy")) for i, one in enumerate(x)])
        else:
            values = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), 320_000)
            # Decoding a row group of lists takes some fifteen times its bytes for a moment.
            parquet.write_table(pa.table({"x": values}), tmp_path / f"{shard}.parquet", row_group_size=4)
    command = [sys.executable, "-c", MEASURE, str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    rows, grown = (int(word) for word in done.stdout.split())
    assert rows == 512
    assert grown < 110 * 1024, f"{grown / 1024:.0f} MiB"

"""Files larger than memory: what is held grows with a block, not with the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from lucid.codec.inputs.array_files import npy_header

ROWS, SIZE = 20_000, (28, 28)

SCRIPT = """
import resource
import sys

from tests.codec.inputs.plain_codec import images

from lucid.codec.inputs import pack, unpack

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

folder, codec = sys.argv[1], images(size=(28, 28))
pack(codec, [folder + "/small.npy"], folder + "/small.lucid", block_examples=1000)
unpack(folder + "/small.lucid", folder + "/small-again.npy", codec=codec)
unpack(folder + "/small.lucid", folder + "/small-part.npy", codec=codec, examples=(1, 3999))
before = peak()
pack(codec, [folder + "/large.npy"], folder + "/large.lucid", block_examples=1000)
unpack(folder + "/large.lucid", folder + "/large-again.npy", codec=codec)
unpack(folder + "/large.lucid", folder + "/large-part.npy", codec=codec, examples=(1, 19_999))
print(peak() - before)
"""


def test_memory_is_bounded_by_a_block(tmp_path: Path) -> None:
    for name, rows in (("small", 4000), ("large", ROWS)):
        with (tmp_path / f"{name}.npy").open("wb") as file:
            file.write(npy_header((rows, *SIZE), np.dtype(np.uint8)))
            file.truncate(file.tell() + rows * SIZE[0] * SIZE[1])  # zeros that take no room on the disk
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=True)
    # The file takes 16 MB, its levels 125.
    assert float(done.stdout) < 40
    large, again = (tmp_path / name for name in ("large.npy", "large-again.npy"))
    assert large.read_bytes() == again.read_bytes()
    assert np.load(tmp_path / "large-part.npy", mmap_mode="r").shape == (ROWS - 2, *SIZE)

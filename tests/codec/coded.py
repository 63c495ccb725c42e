"""Run as a program: compress data with a codec and decompress a file, in the surroundings it was started in.

    python -m tests.codec.coded FOLDER THREADS

FOLDER holds x.codec, x.npy and x.lucid; what it says is the SHA-256 of the new file and of the old file's content.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import torch

import lucid.codec


def said(folder: Path) -> str:
    """The two hashes."""
    codec = lucid.codec.load(folder / "x.codec")
    made = codec.compress(np.load(folder / "x.npy"))
    back = codec.decompress((folder / "x.lucid").read_bytes())
    return " ".join(hashlib.sha256(data).hexdigest() for data in (made, np.asarray(back).tobytes()))


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]))
    sys.stdout.write(said(Path(sys.argv[1])))

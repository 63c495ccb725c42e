"""Whole codecs: the same file from any number of threads and instruction set, and each opens every other's."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.codec.small import greys
from tests.codec.surroundings import SURROUNDINGS

import lucid.codec

ROOT = Path(__file__).parents[2]
CODEC = Path(__file__).parent / "golden" / "greys.codec"
"""A chain of two levels with a learned prior, trained on such data."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made, codec, x = tmp_path_factory.mktemp("coded"), lucid.codec.load(CODEC), greys(90, 5).numpy()
    codec.save(made / "x.codec")
    np.save(made / "x.npy", x)
    (made / "x.lucid").write_bytes(codec.compress(x))
    return made


@pytest.mark.parametrize(("threads", "environment"), SURROUNDINGS)
def test_a_file_is_the_same_and_opens_elsewhere(folder: Path, threads: int, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "tests.codec.coded", str(folder), str(threads)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=True, timeout=120
    )
    made, back = done.stdout.split()
    assert made == hashlib.sha256((folder / "x.lucid").read_bytes()).hexdigest()
    assert back == hashlib.sha256(greys(90, 5).numpy().tobytes()).hexdigest()


def test_the_coded_blocks_need_the_network(folder: Path) -> None:
    """Were the data stored and not coded, equal bytes would prove nothing."""
    packed = greys(90, 5).numel() * math.log2(17) / 8  # bytes
    assert (folder / "x.lucid").stat().st_size < 0.9 * packed
